package agent

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sloth-runner/sloth/connection/agent/pki"
	"github.com/sloth-runner/sloth/state/disk/wholefile"
)

// Keep is a folder with what somebody needs to be known to a master: a key,
// the certificate, the master's authority, and where the master is.
type Keep struct {
	dir string
	key *ecdsa.PrivateKey
	kept
	cert      *tls.Certificate
	authority *x509.Certificate
}

// kept is the part of a Keep that is neither key nor certificate.
type kept struct {
	Name   string `json:"name"`
	Master string `json:"master"`
	Ticket string `json:"ticket,omitempty"`
}

// OpenKeep opens the folder and makes it, with a new key, where there is none.
func OpenKeep(dir string) (*Keep, error) {
	if err := pki.Folder(dir); err != nil {
		return nil, err
	}
	k := &Keep{dir: dir}
	if err := k.readKey(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(k.file("keep.json"))
	if err == nil {
		err = json.Unmarshal(text, &k.kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", k.file("keep.json"), err)
	}
	if text, err = os.ReadFile(k.file("ca.crt")); err == nil {
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, fmt.Errorf("read %s: no certificate in it", k.file("ca.crt"))
		}
		k.authority, err = x509.ParseCertificate(block.Bytes)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", k.file("ca.crt"), err)
	}
	k.cert, err = pki.ReadPair(k.file("own.crt"), k.file("own.key"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return k, nil
}

func (k *Keep) file(name string) string { return filepath.Join(k.dir, name) }

func (k *Keep) readKey() error {
	text, err := os.ReadFile(k.file("own.key"))
	if errors.Is(err, fs.ErrNotExist) {
		if k.key, err = pki.NewKey(); err != nil {
			return err
		}
		if text, err = pki.EncodeKey(k.key); err != nil {
			return err
		}
		return wholefile.Write(k.file("own.key"), text)
	}
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s holds no key: remove it and enrol again with a new token", k.file("own.key"))
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("read %s: %w", k.file("own.key"), err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("%s holds a key of another kind: remove it and enrol again with a new token", k.file("own.key"))
	}
	k.key = ec
	return nil
}

// Enrolled reports whether there is a certificate.
func (k *Keep) Enrolled() bool { return k.cert != nil }

// Name is who we are for the master.
func (k *Keep) Name() string { return k.kept.Name }

// Master is where the master was last.
func (k *Keep) Master() string { return k.kept.Master }

// Key is the fingerprint of our public key.
func (k *Keep) Key() string {
	der, err := x509.MarshalPKIXPublicKey(k.key.Public())
	if err != nil {
		return "" // impossible for a key of ours
	}
	return pki.Fingerprint(der)
}

// Request is a certificate request (DER) for our key.
func (k *Keep) Request() ([]byte, error) { return pki.Request(k.key) }

// Dialer reaches the master of this folder at address; empty: where it was.
func (k *Keep) Dialer(address string) *Dialer {
	if address == "" {
		address = k.kept.Master
	}
	return &Dialer{Address: address, Authority: k.authority, Certificate: k.cert}
}

// Store keeps a certificate (DER) and the authority that signed it.
func (k *Keep) Store(name, master string, cert []byte, authority *x509.Certificate) error {
	if err := k.Trust(authority); err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(cert)
	if err != nil {
		return fmt.Errorf("read the new certificate: %w", err)
	}
	if pki.KeyOf(leaf) != k.Key() {
		return errors.New("the master issued a certificate for another key")
	}
	if err := wholefile.Write(k.file("own.crt"), pki.EncodeCert(cert)); err != nil {
		return err
	}
	k.kept.Name, k.kept.Master = name, master
	if err := k.save(); err != nil {
		return err
	}
	k.cert, err = pki.ReadPair(k.file("own.crt"), k.file("own.key"))
	return err
}

// Trust keeps the authority of the master.
func (k *Keep) Trust(authority *x509.Certificate) error {
	if k.authority != nil && k.authority.Equal(authority) {
		return nil
	}
	if err := wholefile.Write(k.file("ca.crt"), pki.EncodeCert(authority.Raw)); err != nil {
		return err
	}
	k.authority = authority
	return nil
}

func (k *Keep) setTicket(ticket string) error {
	if k.Ticket == ticket {
		return nil
	}
	k.Ticket = ticket
	return k.save()
}

func (k *Keep) save() error {
	text, err := json.Marshal(k.kept)
	if err != nil {
		return err
	}
	return wholefile.Write(k.file("keep.json"), text)
}
