package inventory

import (
	"bytes"
	"errors"
)

// Secrets opens what is encrypted in an inventory. The inventory itself knows
// neither how that is done nor where secrets are kept.
type Secrets interface {
	// Open gives what is behind a value: tag is "vault" and text what
	// ansible-vault wrote, or tag is "secret" and text a name. An error that is
	// ErrSealed leaves the value as it is.
	Open(tag, text string) (string, error)
	// OpenFile gives the plain text of a file that ansible-vault encrypted.
	OpenFile(data []byte) ([]byte, error)
	// Learn is told every text of such a file.
	Learn(text string)
}

// ErrSealed is the error of a value that stays encrypted until it is used.
var ErrSealed = errors.New("it cannot be opened without a password")

var vaultHeader = []byte("$ANSIBLE_VAULT;")

func encrypted(data []byte) bool { return bytes.HasPrefix(data, vaultHeader) }

// openFile decrypts f in place, if it is encrypted as a whole.
func (f *file) openFile() *Problem {
	if !encrypted(f.data) {
		return nil
	}
	if f.secrets == nil {
		return pos{f, 1, 1}.problem("give the password with --vault-password-file or --ask-vault-pass", "the file is encrypted as a whole by ansible-vault")
	}
	plain, err := f.secrets.OpenFile(f.data)
	if err != nil {
		return pos{f, 1, 1}.problem("", "the file cannot be decrypted: %v", err)
	}
	f.data, f.hidden = plain, true
	return nil
}

// sealed makes the value of a tag. With late it is opened when it is used.
func (f *file) sealed(tag, text string, late bool) (Encrypted, error) {
	e := Encrypted{kind: tag, text: text}
	if f == nil || f.secrets == nil || late {
		return e, nil
	}
	plain, err := f.secrets.Open(tag, text)
	if errors.Is(err, ErrSealed) {
		return e, nil
	}
	if err != nil {
		return e, err
	}
	e.plain, e.open = plain, true
	return e, nil
}

// reveal gives what is behind e, wherever it was opened.
func (v *variable) reveal(e Encrypted) (string, error) {
	if e.open {
		return e.plain, nil
	}
	if v.pos.file == nil || v.pos.file.secrets == nil {
		return "", errors.New("nothing was given to open it with")
	}
	return v.pos.file.secrets.Open(e.kind, e.text)
}
