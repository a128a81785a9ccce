package secret

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// EnvIdentity is the variable that names the file with the key to decrypt with.
const EnvIdentity = "SLOTH_AGE_IDENTITY"

// maxIdentity bounds a file with keys, in bytes.
const maxIdentity = 1 << 20

// Keys are the private keys of this person.
type Keys struct {
	// Files are looked at in order.
	Files []string
	// Must says that each of Files has to be there.
	Must bool
	// Ask asks for a passphrase, once for each file that needs one; nil: nobody
	// can be asked.
	Ask func(prompt string) (string, error)

	once       sync.Once
	identities []age.Identity
	owners     []keyOwner
	err        error
}

// keyOwner is what others encrypt to so that one of the keys opens it.
type keyOwner struct {
	file string
	line string // as in a list of recipients
}

// DefaultKeys are the file that $SLOTH_AGE_IDENTITY names; without it
// ~/.config/sloth/identity and the SSH keys of this user.
func DefaultKeys(ask func(prompt string) (string, error)) *Keys {
	if f := os.Getenv(EnvIdentity); f != "" {
		return &Keys{Files: []string{f}, Must: true, Ask: ask}
	}
	k := &Keys{Ask: ask}
	if f, err := DefaultIdentity(); err == nil {
		k.Files = append(k.Files, f)
	}
	if home, err := os.UserHomeDir(); err == nil {
		k.Files = append(k.Files, filepath.Join(home, ".ssh", "id_ed25519"), filepath.Join(home, ".ssh", "id_rsa"))
	}
	return k
}

// DefaultIdentity is $XDG_CONFIG_HOME/sloth/identity.
func DefaultIdentity() (string, error) {
	dir := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the folder for keys: %w; set %s", err, EnvIdentity)
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "sloth", "identity"), nil
}

func (k *Keys) load() ([]age.Identity, error) {
	k.once.Do(func() {
		for _, f := range k.Files {
			err := k.read(f)
			if errors.Is(err, fs.ErrNotExist) && !k.Must {
				continue
			}
			if err != nil {
				k.err = fmt.Errorf("key %s: %w", f, reason(err))
				return
			}
		}
	})
	return k.identities, k.err
}

// reason is err without the path, which the message has.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// owner is the first key that others can encrypt to; empty: there is none.
func (k *Keys) owner() (string, error) {
	if _, err := k.load(); err != nil || len(k.owners) == 0 {
		return "", err
	}
	return k.owners[0].line, nil
}

func (k *Keys) read(file string) error {
	h, err := os.Open(file)
	if err != nil {
		return err
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errors.New("it is no file")
	}
	if st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("others may read it (mode %04o), so it is no secret; chmod 600 %s, and think about a new key", st.Mode().Perm(), file)
	}
	data, err := io.ReadAll(io.LimitReader(h, maxIdentity+1))
	if err != nil {
		return err
	}
	if len(data) > maxIdentity {
		return errors.New("it is too large for a key")
	}
	switch {
	case bytes.HasPrefix(data, []byte(armor.Header)), bytes.HasPrefix(data, []byte("age-encryption.org/")):
		k.identities = append(k.identities, &sealed{file: file, data: data, ask: k.Ask})
		return nil
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN")):
		return k.readSSH(file, data)
	}
	ids, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil {
		return errors.New("it holds no key: it must be an age identity (AGE-SECRET-KEY-1…) or an SSH key")
	}
	for _, id := range ids {
		switch id := id.(type) {
		case *age.X25519Identity:
			k.owners = append(k.owners, keyOwner{file, id.Recipient().String()})
		case *age.HybridIdentity:
			k.owners = append(k.owners, keyOwner{file, id.Recipient().String()})
		}
	}
	k.identities = append(k.identities, ids...)
	return nil
}

func (k *Keys) readSSH(file string, pem []byte) error {
	id, err := agessh.ParseIdentity(pem)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return k.readLocked(file, pem, locked.PublicKey)
	}
	if err != nil {
		return errors.New("it is no SSH key that age can use: it must be of type ssh-ed25519 or ssh-rsa")
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		return err
	}
	k.identities = append(k.identities, id)
	k.owners = append(k.owners, keyOwner{file, authorized(signer.PublicKey())})
	return nil
}

// readLocked takes a key that has a passphrase: the public half says whether it
// is worth asking for.
func (k *Keys) readLocked(file string, pem []byte, public ssh.PublicKey) error {
	if public == nil {
		text, err := os.ReadFile(file + ".pub")
		if err != nil {
			return errors.New("it has a passphrase, and there is no public half beside it: ssh-keygen -y makes one")
		}
		if public, _, _, _, err = ssh.ParseAuthorizedKey(text); err != nil {
			return fmt.Errorf("its public half: %w", err)
		}
	}
	id, err := agessh.NewEncryptedSSHIdentity(public, pem, func() ([]byte, error) {
		text, err := askOnce(k.Ask, file)
		return []byte(text), err
	})
	if err != nil {
		return err
	}
	k.identities = append(k.identities, id)
	k.owners = append(k.owners, keyOwner{file, authorized(public)})
	return nil
}

func authorized(k ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

var errNobody = errors.New("it has a passphrase, and nobody can be asked for it")

func askOnce(ask func(string) (string, error), file string) (string, error) {
	if ask == nil {
		return "", errNobody
	}
	return ask("Passphrase of " + file + ": ")
}

// sealed is a file of age keys that is encrypted with a passphrase. It is opened
// when something was encrypted to a key of its kind.
type sealed struct {
	file string
	data []byte
	ask  func(string) (string, error)
	ids  []age.Identity
}

// Unwrap asks for the passphrase at first use.
func (s *sealed) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	wanted := false
	for _, st := range stanzas {
		wanted = wanted || st.Type == "X25519" || st.Type == "mlkem768x25519"
	}
	if !wanted {
		return nil, age.ErrIncorrectIdentity
	}
	if s.ids == nil {
		if err := s.open(); err != nil {
			return nil, fmt.Errorf("key %s: %w", s.file, err)
		}
	}
	for _, id := range s.ids {
		key, err := id.Unwrap(stanzas)
		if errors.Is(err, age.ErrIncorrectIdentity) {
			continue
		}
		return key, err
	}
	return nil, age.ErrIncorrectIdentity
}

func (s *sealed) open() error {
	text, err := askOnce(s.ask, s.file)
	if err != nil {
		return err
	}
	id, err := age.NewScryptIdentity(text)
	if err != nil {
		return err
	}
	plain, err := age.Decrypt(dearmored(s.data), id)
	if err != nil {
		return errors.New("the passphrase is wrong")
	}
	s.ids, err = age.ParseIdentities(io.LimitReader(plain, maxIdentity))
	return err
}

// dearmored reads both forms of age files.
func dearmored(data []byte) io.Reader {
	r := bufio.NewReader(bytes.NewReader(data))
	if head, _ := r.Peek(len(armor.Header)); string(head) == armor.Header {
		return armor.NewReader(r)
	}
	return r
}

// Generate makes a new key in file, for this user alone, and returns what
// others encrypt to. A file that is there stays as it is, and is an error.
func Generate(_ context.Context, file string) (recipient string, err error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	h, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintf(h, "# public key: %s\n%s\n", id.Recipient(), id)
	if e := h.Sync(); err == nil {
		err = e
	}
	if e := h.Close(); err == nil {
		err = e
	}
	return id.Recipient().String(), err
}
