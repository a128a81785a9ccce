package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/state/disk/filelock"
	"github.com/sloth-runner/sloth/state/disk/wholefile"
)

// DefaultFile is the file of secrets of a project.
const DefaultFile = "secrets.age"

// maxFile bounds a file of secrets, in bytes.
const maxFile = 64 << 20

// ErrKey is the error of a file that none of this person's keys opens.
var ErrKey = errors.New("none of your keys opens it")

// ErrNoKey is the error of somebody who has no key at all.
var ErrNoKey = errors.New("there is no key to open it with")

// AgeFile is a file that holds a map of names and texts in YAML, encrypted with
// age to everybody in the list of recipients beside it. `age -d -i KEY FILE`
// reads it too.
type AgeFile struct {
	path string
	keys *Keys

	mu     sync.Mutex
	loaded bool
	table  map[string]string
}

// NewAgeFile names the file; it is read at first use and need not be there.
func NewAgeFile(path string, keys *Keys) *AgeFile { return &AgeFile{path: path, keys: keys} }

// Where names the file.
func (a *AgeFile) Where() string { return a.path }

// Get decrypts the file at first use, which may ask for a passphrase.
func (a *AgeFile) Get(_ context.Context, name string) (modules.Secret, error) {
	table, err := a.all()
	if err != nil {
		return modules.Secret{}, err
	}
	text, ok := table[name]
	if !ok {
		return modules.Secret{}, ErrNotFound
	}
	return modules.NewSecret(text), nil
}

// List gives the names in order.
func (a *AgeFile) List(context.Context) ([]string, error) {
	table, err := a.all()
	return slices.Sorted(maps.Keys(table)), err
}

func (a *AgeFile) all() (map[string]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.loaded {
		return a.table, nil
	}
	table, err := a.read()
	if err != nil {
		return nil, err
	}
	a.table, a.loaded = table, true
	return table, nil
}

// read decrypts what is there now; a file that is not there is empty.
func (a *AgeFile) read() (map[string]string, error) {
	data, err := readFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	plain, err := a.decrypt(data)
	if err == nil {
		var table map[string]string
		if table, err = ParseTable(plain); err == nil {
			return table, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", a.path, err)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: it is larger than %d MiB", path, maxFile>>20)
	}
	return data, err
}

func (a *AgeFile) decrypt(data []byte) ([]byte, error) {
	if !isAge(data) {
		return nil, errors.New("it is not encrypted by age")
	}
	ids, err := a.keys.load()
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: looked at %s", ErrNoKey, strings.Join(a.keys.Files, ", "))
	}
	// What a key that fits has to say is more than that others do not fit.
	var failed error
	watched := make([]age.Identity, len(ids))
	for i, id := range ids {
		watched[i] = watch{id, &failed}
	}
	r, err := age.Decrypt(dearmored(data), watched...)
	if err == nil {
		var plain []byte
		if plain, err = io.ReadAll(io.LimitReader(r, maxFile)); err == nil {
			return plain, nil
		}
	}
	var mismatch *age.NoIdentityMatchError
	switch {
	case failed != nil:
		return nil, failed
	case errors.As(err, &mismatch):
		return nil, fmt.Errorf("%w: it is not encrypted to any of %s", ErrKey, strings.Join(a.keys.names(), ", "))
	}
	return nil, errors.New("it is damaged or cut off")
}

// watch keeps the error of a key that fits but cannot be used.
type watch struct {
	age.Identity
	failed *error
}

func (w watch) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	key, err := w.Identity.Unwrap(stanzas)
	if err != nil && !errors.Is(err, age.ErrIncorrectIdentity) && *w.failed == nil {
		*w.failed = err
	}
	return key, err
}

// names are the files that hold keys.
func (k *Keys) names() []string {
	var out []string
	for _, f := range k.Files {
		if _, err := os.Stat(f); err == nil {
			out = append(out, f)
		}
	}
	return out
}

// isAge reports whether data looks like a file of age.
func isAge(data []byte) bool {
	return bytes.HasPrefix(data, []byte(armor.Header)) || bytes.HasPrefix(data, []byte("age-encryption.org/"))
}

// Change lets edit change the secrets and writes them, for the recipients of
// now. Nobody else changes the file meanwhile. Nothing is written when edit
// returns an error, or changes nothing and force is not set.
func (a *AgeFile) Change(ctx context.Context, force bool, edit func(table map[string]string) error) error {
	unlock, err := a.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	before, err := a.read()
	if err != nil {
		return err
	}
	table := maps.Clone(before)
	if err := edit(table); err != nil {
		return err
	}
	if _, err := os.Stat(a.path); err == nil && !force && maps.Equal(before, table) {
		return nil
	}
	recipients, err := a.Recipients()
	if err != nil {
		return err
	}
	if err := a.write(table, recipients); err != nil {
		return err
	}
	a.mu.Lock()
	a.table, a.loaded = table, true
	a.mu.Unlock()
	return nil
}

// write replaces the file: whole or not at all, and never in plain text.
func (a *AgeFile) write(table map[string]string, to []Recipient) error {
	if len(to) == 0 {
		return fmt.Errorf("%s: there is nobody to encrypt to", a.recipientsFile())
	}
	for name, text := range table {
		if err := CheckName(name); err != nil {
			return err
		}
		if len(text) > MaxValue {
			return fmt.Errorf("the secret %q has %d bytes, the limit is %d", name, len(text), MaxValue)
		}
	}
	plain, err := FormatTable(table)
	if err != nil {
		return err
	}
	var keys []age.Recipient
	for _, r := range to {
		keys = append(keys, r.key)
	}
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, keys...)
	if err != nil {
		return fmt.Errorf("%s: %w", a.path, err)
	}
	if _, err := w.Write(plain); err != nil {
		return err
	}
	if err := errors.Join(w.Close(), text.Close()); err != nil {
		return err
	}
	// Who writes what he cannot read again has made a mistake.
	if _, err := a.decrypt(out.Bytes()); errors.Is(err, ErrKey) || errors.Is(err, ErrNoKey) {
		return fmt.Errorf("%s: your own key is not among the recipients, so you could not read it again", a.path)
	}
	return replace(a.path, out.Bytes())
}

// replace writes the file that path names in the end.
func replace(path string, data []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if err := wholefile.Write(path, data); err != nil {
		return fmt.Errorf("write %s: %w", path, reason(err))
	}
	return nil
}

// lockPatience is how long another process may hold the file.
const lockPatience = 10 * time.Second

// lock keeps other processes from changing files in the folder: the folder
// itself carries the lock, so that none lies about.
func (a *AgeFile) lock(ctx context.Context) (unlock func(), err error) {
	d, err := os.Open(filepath.Dir(a.path))
	if err != nil {
		return nil, err
	}
	if err := filelock.Wait(ctx, d, filelock.Exclusive, lockPatience); err != nil {
		d.Close()
		if errors.Is(err, filelock.ErrHeld) {
			return nil, fmt.Errorf("%s: another sloth is changing it; try again", a.path)
		}
		return nil, err
	}
	return func() { d.Close() }, nil
}
