// Package vault reads what ansible-vault encrypts, formats 1.1 and 1.2: whole
// files, and single values tagged !vault.
package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Header is how everything that ansible-vault wrote begins.
const Header = "$ANSIBLE_VAULT;"

// ErrPassword is the error of data that none of the passwords opens: a wrong
// password and damaged data cannot be told apart.
var ErrPassword = errors.New("none of the vault passwords opens it, or it is damaged")

// ErrNoPassword is the error of encrypted data when no password was given.
var ErrNoPassword = errors.New("it is encrypted by ansible-vault, and no vault password was given")

// Is reports whether data looks like the output of ansible-vault.
func Is(data []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte(Header)) }

// Password opens what was encrypted with it.
type Password struct {
	// Label is the vault id; empty: any.
	Label string
	Text  string
}

// Keyring decrypts with one or more passwords, and remembers what it
// decrypted. Its methods may be called from several goroutines at once.
type Keyring struct {
	passwords []Password

	mu   sync.Mutex
	open map[[sha256.Size]byte]string
}

// NewKeyring returns a keyring; no password is allowed, then nothing opens.
func NewKeyring(passwords ...Password) *Keyring {
	return &Keyring{passwords: passwords, open: map[[sha256.Size]byte]string{}}
}

// envelope is a parsed text.
type envelope struct {
	label             string
	salt, sum, cipher []byte
}

// Decrypt returns the plain text. Errors are ErrPassword, ErrNoPassword, or say
// why data is no vault text.
func (k *Keyring) Decrypt(data []byte) (string, error) {
	e, err := parse(data)
	if err != nil {
		return "", err
	}
	if len(k.passwords) == 0 {
		return "", ErrNoPassword
	}
	id := sha256.Sum256(slices.Concat(e.salt, e.sum, e.cipher))
	k.mu.Lock()
	text, known := k.open[id]
	k.mu.Unlock()
	if known {
		return text, nil
	}
	// The password of the label first; as in Ansible the others may fit too.
	order := slices.Clone(k.passwords)
	slices.SortStableFunc(order, func(a, b Password) int { return rank(b, e.label) - rank(a, e.label) })
	for _, p := range order {
		plain, err := e.decrypt(p.Text)
		if errors.Is(err, ErrPassword) {
			continue
		}
		if err != nil {
			return "", err
		}
		k.mu.Lock()
		k.open[id] = plain
		k.mu.Unlock()
		return plain, nil
	}
	return "", ErrPassword
}

func rank(p Password, label string) int {
	if label != "" && p.Label == label {
		return 1
	}
	return 0
}

// maxText bounds one encrypted text, in bytes.
const maxText = 256 << 20

func parse(data []byte) (*envelope, error) {
	if len(data) > maxText {
		return nil, fmt.Errorf("it is larger than %d MiB", maxText>>20)
	}
	head, body, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	if !strings.HasPrefix(head, Header) {
		return nil, fmt.Errorf("it is not encrypted by ansible-vault: it does not begin with %s1.1;AES256", Header)
	}
	fields := strings.Split(strings.TrimSpace(head), ";")
	if len(fields) < 3 {
		return nil, errors.New("its first line is cut off: it must be " + Header + "VERSION;AES256")
	}
	e := &envelope{}
	switch {
	case fields[1] == "1.2" && len(fields) == 4:
		e.label = fields[3]
	case fields[1] == "1.1" || fields[1] == "1.2":
	default:
		return nil, fmt.Errorf("its format %.20q is not supported; ansible-vault rekey writes 1.1", fields[1])
	}
	if fields[2] != "AES256" {
		return nil, fmt.Errorf("its cipher %.20q is not supported; ansible-vault rekey writes AES256", fields[2])
	}
	outer, err := unhex(strings.Join(strings.Fields(body), ""))
	if err != nil {
		return nil, err
	}
	parts := bytes.Split(outer, []byte("\n"))
	if len(parts) != 3 {
		return nil, errDamaged
	}
	for i, into := range []*[]byte{&e.salt, &e.sum, &e.cipher} {
		if *into, err = unhex(string(parts[i])); err != nil {
			return nil, err
		}
	}
	if len(e.salt) < 8 || len(e.sum) != sha256.Size || len(e.cipher) == 0 {
		return nil, errDamaged
	}
	return e, nil
}

var errDamaged = errors.New("its content is cut off or damaged: it is not what ansible-vault writes")

func unhex(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, errDamaged
	}
	return b, nil
}

const iterations = 10_000

func (e *envelope) decrypt(password string) (string, error) {
	keys, err := pbkdf2.Key(sha256.New, password, e.salt, iterations, 2*32+aes.BlockSize)
	if err != nil {
		return "", fmt.Errorf("derive the vault key: %w", err)
	}
	mac := hmac.New(sha256.New, keys[32:64])
	mac.Write(e.cipher)
	if !hmac.Equal(mac.Sum(nil), e.sum) {
		return "", ErrPassword
	}
	block, err := aes.NewCipher(keys[:32])
	if err != nil {
		return "", err
	}
	plain := make([]byte, len(e.cipher))
	cipher.NewCTR(block, keys[64:]).XORKeyStream(plain, e.cipher)
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > aes.BlockSize || pad > len(plain) {
		return "", errDamaged
	}
	return string(plain[:len(plain)-pad]), nil
}
