package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// Recipient is somebody who can read the secrets.
type Recipient struct {
	// Key is the public key: age1…, ssh-ed25519 … or ssh-rsa ….
	Key string
	// Comment says whose it is; it may be empty.
	Comment string

	key age.Recipient
}

// ParseRecipient reads a line such as `age1… alice` or `ssh-ed25519 AAAA… bob`.
func ParseRecipient(line string) (Recipient, error) {
	f := strings.Fields(line)
	if len(f) == 0 {
		return Recipient{}, errors.New("there is no key in it")
	}
	var r Recipient
	var err error
	switch {
	case strings.HasPrefix(f[0], "AGE-SECRET-KEY-") || strings.HasPrefix(line, "-----BEGIN"):
		return r, errors.New("this is a private key; take the public one, and think about a new key")
	case strings.HasPrefix(f[0], "age1pq1"):
		r.key, err = age.ParseHybridRecipient(f[0])
		r.Key, f = f[0], f[1:]
	case strings.HasPrefix(f[0], "age1"):
		r.key, err = age.ParseX25519Recipient(f[0])
		r.Key, f = f[0], f[1:]
	case strings.HasPrefix(f[0], "ssh-") && len(f) > 1:
		r.Key, f = f[0]+" "+f[1], f[2:]
		r.key, err = agessh.ParseRecipient(r.Key)
	default:
		err = errors.New("unknown")
	}
	if err != nil {
		return Recipient{}, fmt.Errorf("%.60q is no public key: it must be age1…, ssh-ed25519 … or ssh-rsa …", line)
	}
	r.Comment = strings.TrimLeft(strings.Join(f, " "), "# ")
	return r, nil
}

// line is how the file has it.
func (r Recipient) line() string {
	if r.Comment == "" {
		return r.Key
	}
	return r.Key + " " + r.Comment
}

func (a *AgeFile) recipientsFile() string { return a.path + ".recipients" }

// RecipientsFile is the list beside the file of secrets, one public key a line.
func (a *AgeFile) RecipientsFile() string { return a.recipientsFile() }

// Recipients reads the list of those who can read the secrets. Without a list it
// is this person alone, if there is a key.
func (a *AgeFile) Recipients() ([]Recipient, error) {
	data, err := readFile(a.recipientsFile())
	if errors.Is(err, fs.ErrNotExist) {
		if _, e := os.Stat(a.path); e == nil {
			return nil, fmt.Errorf("%s is not there, so nobody knows whom to encrypt to; sloth secret recipients add KEY makes it anew", a.recipientsFile())
		}
		return a.self()
	}
	if err != nil {
		return nil, err
	}
	var out []Recipient
	for i, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		r, err := ParseRecipient(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", a.recipientsFile(), i+1, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func (a *AgeFile) self() ([]Recipient, error) {
	line, err := a.keys.owner()
	if err != nil || line == "" {
		return nil, err
	}
	r, err := ParseRecipient(line)
	if err != nil {
		return nil, err
	}
	return []Recipient{r}, nil
}

// HasKey reports whether this person has a key at all.
func (a *AgeFile) HasKey() (bool, error) {
	ids, err := a.keys.load()
	return len(ids) > 0, err
}

// SetRecipients encrypts the secrets to others than before and writes the list.
// Who is not in it any more cannot read what is written from now on; what was
// readable before must be thought of as known.
func (a *AgeFile) SetRecipients(ctx context.Context, edit func([]Recipient) ([]Recipient, error)) error {
	unlock, err := a.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	table, err := a.read()
	if err != nil {
		return err
	}
	now, err := a.Recipients()
	if _, e := os.Stat(a.recipientsFile()); err != nil && errors.Is(e, fs.ErrNotExist) {
		now, err = a.self()
	}
	if err != nil {
		return err
	}
	next, err := edit(slices.Clone(now))
	if err != nil {
		return err
	}
	if err := a.write(table, next); err != nil {
		return err
	}
	return a.writeList(next)
}

func (a *AgeFile) writeList(list []Recipient) error {
	var b bytes.Buffer
	b.WriteString("# Who can read " + filepath.Base(a.path) + ": one public key a line.\n")
	for _, r := range list {
		b.WriteString(r.line() + "\n")
	}
	return replace(a.recipientsFile(), b.Bytes())
}

// Init makes the list of recipients where there is none: this person alone. It
// says whether it was made.
func (a *AgeFile) Init(ctx context.Context) (made bool, err error) {
	unlock, err := a.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	for _, f := range []string{a.recipientsFile(), a.path} {
		if _, err := os.Stat(f); !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	list, err := a.self()
	if err != nil {
		return false, err
	}
	if len(list) == 0 {
		return false, ErrNoKey
	}
	return true, a.writeList(list)
}
