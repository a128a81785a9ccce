package pki

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sloth-runner/sloth/state/disk/wholefile"
)

// Export is the authority in dir with its key, as PEM: for whoever seals it.
func Export(dir string) ([]byte, error) {
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	if _, err := ReadPair(certFile, keyFile); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no authority in %s: sloth master start makes one", dir)
		}
		return nil, err
	}
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(keyFile)
	return append(cert, key...), err
}

// Import puts what Export gave into dir, unless there is another authority, and
// returns its fingerprint.
func Import(dir string, text []byte) (fingerprint string, err error) {
	pair, err := tls.X509KeyPair(text, text)
	if err != nil || !pair.Leaf.IsCA {
		return "", errors.New("there is no authority with its key in it; name what sloth master export wrote")
	}
	fingerprint = KeyOf(pair.Leaf)
	if err := Folder(dir); err != nil {
		return "", err
	}
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	if have, err := ReadPair(certFile, keyFile); err == nil {
		if KeyOf(have.Leaf) == fingerprint {
			return fingerprint, nil
		}
		return "", fmt.Errorf("%s has an authority of its own, %.16s, which its agents know: use another folder with --dir, or move this one away and enrol them again", dir, KeyOf(have.Leaf))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return "", fmt.Errorf("the authority in it has a %T as its key, which cannot sign", pair.PrivateKey)
	}
	key, err := EncodeKey(signer)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(bytes.TrimSpace(text))
	// The key first, as when it is made: a certificate alone is an error.
	if err := wholefile.Write(keyFile, key); err != nil {
		return "", err
	}
	return fingerprint, wholefile.Write(certFile, EncodeCert(block.Bytes))
}
