package saved

import (
	"bytes"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sloth-runner/sloth/state/disk/wholefile"
)

// Format is the version of the file that this package reads and writes.
const Format = 1

// magic begins every plan. No .sloth file begins so: it is no Lua.
const magic = "sloth plan "

// maxFile is the size of the largest plan that is read, in bytes.
const maxFile = 1 << 30

// Ways in which a file cannot be used as a plan.
var (
	ErrFormat  = errors.New("it is a plan of another format")
	ErrCut     = errors.New("it is not whole")
	ErrChanged = errors.New("it was changed after it was written")
	ErrKey     = errors.New("it was made with another key")
)

// Is reports whether path is a plan, by how it begins.
func Is(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, len(magic))
	_, err = io.ReadFull(f, head)
	return err == nil && string(head) == magic
}

// keyID names a key without telling anything about it.
func keyID(secret []byte) string { return hex.EncodeToString(mac(secret, "name")[:4]) }

func sealOf(secret, body []byte) string {
	return hex.EncodeToString(mac(secret, "file", fmt.Sprint(Format), string(body)))
}

// Write puts the plan at path, whole or not at all, for its owner's eyes only.
func Write(path string, p *Plan, secret []byte) error {
	body, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return err
	}
	body = append(body, '\n')
	return wholefile.Make(path, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s%d\nkey %s bytes %d seal %s\n%s", magic, Format, keyID(secret), len(body), sealOf(secret, body), body)
		return err
	})
}

// Read reads a plan and refuses one that is not as Write left it.
func Read(path string, secret []byte) (*Plan, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MB", path, maxFile>>20)
	}
	return Parse(path, data, secret)
}

// Parse is Read for a content; name is for messages.
func Parse(name string, data, secret []byte) (*Plan, error) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		return nil, fmt.Errorf("%s is no plan", name)
	}
	version, rest, whole := bytes.Cut(rest, []byte("\n"))
	if !whole {
		return nil, fmt.Errorf("%s cannot be applied: %w: it ends in its first line", name, ErrCut)
	}
	if string(version) != fmt.Sprint(Format) {
		return nil, fmt.Errorf("%s cannot be applied: %w, %.20q; this sloth reads %d", name, ErrFormat, version, Format)
	}
	head, body, whole := bytes.Cut(rest, []byte("\n"))
	if !whole {
		return nil, fmt.Errorf("%s cannot be applied: %w: it ends in its second line", name, ErrCut)
	}
	var key, seal string
	var size int
	if n, err := fmt.Sscanf(string(head), "key %8s bytes %d seal %64s", &key, &size, &seal); n != 3 || err != nil {
		return nil, fmt.Errorf("%s cannot be applied: %w: its second line is not one that sloth writes", name, ErrChanged)
	}
	switch {
	case len(body) < size:
		return nil, fmt.Errorf("%s cannot be applied: %w: %d of %d bytes are there", name, ErrCut, len(body), size)
	case key != keyID(secret):
		return nil, fmt.Errorf("%s cannot be applied: %w (%.8s) than the one here (%s)", name, ErrKey, key, keyID(secret))
	case len(body) > size || !hmac.Equal([]byte(seal), []byte(sealOf(secret, body))):
		return nil, fmt.Errorf("%s cannot be applied: %w", name, ErrChanged)
	}
	var p Plan
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, fmt.Errorf("%s cannot be applied: %w", name, err)
	}
	return &p, nil
}
