package ssh

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

const maxKeyFile = 1 << 20

// keyFile is one private key file, read once for all hosts. An encrypted key
// is unlocked when a host has accepted its public half, and once.
type keyFile struct {
	path string

	once    sync.Once
	public  ssh.PublicKey   // nil: nothing usable there
	cert    ssh.PublicKey   // from PATH-cert.pub, if any
	signer  ssh.Signer      // nil while encrypted, or where only the public half is on disk
	locked  []byte          // the encrypted file
	problem error           // why there is no public key; os.ErrNotExist for a missing file
	unlock  sync.Mutex      // guards signer of an encrypted key, and refused
	refused error           // the passphrase was not to be had
	ask     passphraseAsker // nil: nobody to ask
}

type passphraseAsker func(ctx context.Context, file string, attempt int) (*connection.Secret, error)

// load reads the file at its first use.
func (k *keyFile) load() {
	k.once.Do(func() {
		k.problem = k.read()
		if k.public != nil {
			k.problem = nil
		}
		if text, err := readFileCapped(k.path+"-cert.pub", maxKeyFile); err == nil {
			if pub, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil {
				if _, ok := pub.(*ssh.Certificate); ok {
					k.cert = pub
				}
			}
		}
	})
}

func (k *keyFile) read() error {
	// The public file is enough for a key that an agent holds.
	if text, err := readFileCapped(k.path+".pub", maxKeyFile); err == nil {
		if pub, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil {
			k.public = pub
		}
	}
	st, err := os.Stat(k.path)
	if err != nil {
		return err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) == os.Getuid() && st.Mode()&0o077 != 0 {
		k.public = nil
		return fmt.Errorf("others may read %s: chmod 600 %s", k.path, k.path)
	}
	text, err := readFileCapped(k.path, maxKeyFile)
	if err != nil {
		return err
	}
	signer, err := ssh.ParsePrivateKey(text)
	var missing *ssh.PassphraseMissingError
	switch {
	case err == nil:
		k.signer, k.public = signer, signer.PublicKey()
	case errors.As(err, &missing):
		k.locked = text
		if missing.PublicKey != nil {
			k.public = missing.PublicKey
		}
		if k.public == nil {
			return fmt.Errorf("%s is encrypted and %s.pub is missing", k.path, k.path)
		}
	default:
		// `IdentityFile key.pub` names a key that only the agent has.
		if pub, _, _, _, perr := ssh.ParseAuthorizedKey(text); perr == nil {
			k.public = pub
			return nil
		}
		return fmt.Errorf("%s: %w", k.path, err)
	}
	return nil
}

// key returns the private key, asking for the passphrase if need be.
func (k *keyFile) key(ctx context.Context) (ssh.Signer, error) {
	k.unlock.Lock()
	defer k.unlock.Unlock()
	if k.signer != nil {
		return k.signer, nil
	}
	if k.refused != nil {
		return nil, k.refused
	}
	if k.locked == nil {
		return nil, fmt.Errorf("the private half of %s is neither on disk nor in the agent", k.path)
	}
	if k.ask == nil {
		k.refused = fmt.Errorf("key %s is encrypted and nobody can be asked for its passphrase", k.path)
		return nil, k.refused
	}
	for attempt := 1; attempt <= 3; attempt++ {
		secret, err := k.ask(ctx, k.path, attempt)
		if err != nil {
			k.refused = fmt.Errorf("passphrase of %s: %w", k.path, err)
			return nil, k.refused
		}
		signer, err := ssh.ParsePrivateKeyWithPassphrase(k.locked, []byte(secret.Reveal()))
		if err == nil {
			k.signer, k.locked = signer, nil
			return signer, nil
		}
	}
	k.refused = fmt.Errorf("wrong passphrase for %s, three times", k.path)
	return nil, k.refused
}

// identity is a key that may be offered to a host.
type identity struct {
	name   string // file or agent comment, for messages
	public ssh.PublicKey
	sign   func(ctx context.Context, data []byte, algorithm string) (*ssh.Signature, error)
}

// fileSigner signs with a key file.
func fileSigner(k *keyFile) func(context.Context, []byte, string) (*ssh.Signature, error) {
	return func(ctx context.Context, data []byte, algorithm string) (*ssh.Signature, error) {
		s, err := k.key(ctx)
		if err != nil {
			return nil, err
		}
		if a, ok := s.(ssh.AlgorithmSigner); ok {
			return a.SignWithAlgorithm(rand.Reader, data, algorithm)
		}
		return s.Sign(rand.Reader, data)
	}
}

// boundSigner lets x/crypto use an identity during one handshake.
type boundSigner struct {
	identity
	ctx        context.Context
	algorithms []string
	pause      func() func()
	failed     *error // why the last signature failed
}

func (s *boundSigner) PublicKey() ssh.PublicKey { return s.public }

// Algorithms is what the key may sign with: never SHA-1 unless asked for.
func (s *boundSigner) Algorithms() []string { return s.algorithms }

func (s *boundSigner) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(nil, data, s.algorithms[0])
}

func (s *boundSigner) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	defer s.pause()() // somebody may have to type a passphrase or touch a token
	sig, err := s.sign(s.ctx, data, algorithm)
	if err != nil {
		*s.failed = err
	}
	return sig, err
}

// signatureAlgorithms are those of a key that PubkeyAcceptedAlgorithms allows.
func (e *endpoint) signatureAlgorithms(key ssh.PublicKey) []string {
	accepted := e.userKeyAlgs
	if accepted == nil {
		accepted = keyAlgorithms
	}
	format := key.Type()
	candidates := map[string][]string{
		ssh.KeyAlgoRSA:     {ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA},
		ssh.CertAlgoRSAv01: {ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSAv01},
	}[format]
	if candidates == nil {
		candidates = []string{format}
	}
	var out []string
	for _, c := range candidates {
		if slices.Contains(accepted, c) {
			out = append(out, plainAlgorithm(c))
		}
	}
	return out
}

// plainAlgorithm is the signature algorithm behind a certificate's.
func plainAlgorithm(a string) string {
	plain := map[string]string{
		ssh.CertAlgoRSAv01: ssh.KeyAlgoRSA, ssh.CertAlgoRSASHA256v01: ssh.KeyAlgoRSASHA256, ssh.CertAlgoRSASHA512v01: ssh.KeyAlgoRSASHA512,
		ssh.CertAlgoECDSA256v01: ssh.KeyAlgoECDSA256, ssh.CertAlgoECDSA384v01: ssh.KeyAlgoECDSA384, ssh.CertAlgoECDSA521v01: ssh.KeyAlgoECDSA521,
		ssh.CertAlgoED25519v01: ssh.KeyAlgoED25519, ssh.CertAlgoSKED25519v01: ssh.KeyAlgoSKED25519, ssh.CertAlgoSKECDSA256v01: ssh.KeyAlgoSKECDSA256,
	}[a]
	return cmp.Or(plain, a)
}

func samePublic(a, b ssh.PublicKey) bool {
	return a != nil && b != nil && bytes.Equal(a.Marshal(), b.Marshal())
}

// isToken reports whether a key lives in a security key, which only an agent
// can make sign.
func isToken(key ssh.PublicKey) bool {
	t := key.Type()
	return t == ssh.KeyAlgoSKED25519 || t == ssh.KeyAlgoSKECDSA256
}

func readFileCapped(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readCapped(f, limit)
}
