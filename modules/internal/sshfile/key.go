// Package sshfile reads the files that OpenSSH keeps its public keys in. The
// module functions that change them share what a key is, and how a file in the
// home of somebody else is read without being led astray.
package sshfile

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/sloth-runner/sloth/modules/spec"
)

// Key is one public key.
type Key struct {
	Type    string // "ssh-ed25519"
	Base64  string
	Comment string
}

// types are those that OpenSSH has, with the number of strings that follow the
// type in the blob; -1: not looked at (certificates).
var types = [...]struct {
	name    string
	strings int
}{
	{"ssh-ed25519", 1}, {"ssh-rsa", 2}, {"ssh-dss", 4},
	{"ecdsa-sha2-nistp256", 2}, {"ecdsa-sha2-nistp384", 2}, {"ecdsa-sha2-nistp521", 2},
	{"sk-ssh-ed25519@openssh.com", 2}, {"sk-ecdsa-sha2-nistp256@openssh.com", 3},
	{"ssh-ed25519-cert-v01@openssh.com", -1}, {"ssh-rsa-cert-v01@openssh.com", -1}, {"ssh-dss-cert-v01@openssh.com", -1},
	{"ecdsa-sha2-nistp256-cert-v01@openssh.com", -1}, {"ecdsa-sha2-nistp384-cert-v01@openssh.com", -1},
	{"ecdsa-sha2-nistp521-cert-v01@openssh.com", -1}, {"sk-ssh-ed25519-cert-v01@openssh.com", -1},
	{"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", -1},
}

// stringsOf is how many strings follow the type; ok: there is such a type.
func stringsOf(name string) (n int, ok bool) {
	for _, t := range types {
		if t.name == name {
			return t.strings, true
		}
	}
	return 0, false
}

// IsType reports whether word names a type of key.
func IsType(word string) bool {
	_, ok := stringsOf(word)
	return ok
}

// ParseKey reads "TYPE BASE64 COMMENT" and checks that the blob is a whole key
// of that type. Errors speak of the text alone.
func ParseKey(text string) (Key, error) {
	text = strings.TrimSpace(text)
	word, rest := cut(text)
	if !IsType(word) {
		return Key{}, unknownType(word)
	}
	k := Key{Type: word}
	k.Base64, k.Comment = cut(rest)
	if k.Base64 == "" {
		return Key{}, fmt.Errorf("there is nothing behind %s; a public key goes on in base64", word)
	}
	return k, k.check()
}

func unknownType(word string) error {
	if len(word) > 60 {
		word = word[:60] + "…"
	}
	names := make([]string, 0, len(types))
	for _, t := range types {
		names = append(names, t.name)
	}
	if near := spec.Nearest(word, names); near != "" {
		return fmt.Errorf("%q is no type of key; did you mean %q?", word, near)
	}
	return fmt.Errorf("%q is no type of key; a public key begins with one, such as ssh-ed25519 or ssh-rsa", word)
}

// cut splits at the first run of blanks.
func cut(text string) (word, rest string) {
	at := strings.IndexAny(text, " \t")
	if at < 0 {
		return text, ""
	}
	return text[:at], strings.TrimLeft(text[at:], " \t")
}

var errBlob = errors.New("it is cut off or damaged; copy the whole line of the .pub file")

func (k Key) check() error {
	blob, err := base64.StdEncoding.DecodeString(k.Base64)
	if err != nil {
		return fmt.Errorf("the key behind %s is not base64: %w", k.Type, errBlob)
	}
	inner, blob, ok := next(blob)
	if !ok {
		return fmt.Errorf("the %s key: %w", k.Type, errBlob)
	}
	if string(inner) != k.Type {
		return fmt.Errorf("the line says %s, but the key in it is another (%.40q); copy the whole line of the .pub file", k.Type, inner)
	}
	n, _ := stringsOf(k.Type)
	if n < 0 {
		return nil
	}
	for range n {
		if _, blob, ok = next(blob); !ok {
			return fmt.Errorf("the %s key: %w", k.Type, errBlob)
		}
	}
	if len(blob) > 0 {
		return fmt.Errorf("the %s key: %w", k.Type, errBlob)
	}
	return nil
}

// next takes one length-prefixed string off.
func next(blob []byte) (head, rest []byte, ok bool) {
	if len(blob) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(blob)
	if uint64(n) > uint64(len(blob)-4) {
		return nil, nil, false
	}
	return blob[4 : 4+n], blob[4+n:], true
}

// Same reports whether both are one key, whatever their comments.
func (k Key) Same(other Key) bool { return k.Type == other.Type && k.Base64 == other.Base64 }

// String is the key as a .pub file has it.
func (k Key) String() string {
	if k.Comment == "" {
		return k.Type + " " + k.Base64
	}
	return k.Type + " " + k.Base64 + " " + k.Comment
}

// Fingerprint is what ssh-keygen -l shows.
func (k Key) Fingerprint() string {
	blob, err := base64.StdEncoding.DecodeString(k.Base64)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// ErrPrivate is the answer to a private key where a public one is wanted. Its
// text is shown nowhere.
var ErrPrivate = errors.New("this is a private key, which stays where it is; give the public one (the .pub file)")

// IsPrivate recognizes private keys by their first line.
func IsPrivate(text string) bool {
	return strings.Contains(text, "-----BEGIN") && strings.Contains(text, "PRIVATE KEY")
}

// IsComment recognizes the lines that OpenSSH skips.
func IsComment(line string) bool {
	line = strings.TrimLeft(line, " \t")
	return line == "" || line[0] == '#'
}
