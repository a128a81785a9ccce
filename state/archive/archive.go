// Package archive copies all that is in a store: into a file that proves to be
// whole, back from it, and into another store.
package archive

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// version is that of the file's form.
const version = 1

// maxLine bounds a line of a file: one entry in base64.
const maxLine = 2*state.MaxValue + 4*state.MaxKey

// A file has a line of JSON for its head, for each entry, and for its end.
type head struct {
	Version int       `json:"sloth_state"`
	Made    time.Time `json:"made"`
	From    string    `json:"from"`
}

type line struct {
	Key     []byte    `json:"key,omitempty"` // base64, as the value: both are bytes
	Value   []byte    `json:"value"`
	Expires time.Time `json:"expires,omitzero"`
	// The last line alone has these. Sum is of all lines before.
	Entries *int   `json:"entries,omitempty"`
	Sum     string `json:"sha256,omitempty"`
}

// Snapshotter is a store that can show all entries as of one moment.
type Snapshotter interface {
	Snapshot(ctx context.Context, prefix string) iter.Seq2[state.Entry, error]
}

// all yields what is to be copied. Locks belong to processes that are alive,
// and are left out.
func all(ctx context.Context, s state.Store) iter.Seq2[state.Entry, error] {
	list := s.List(ctx, "")
	if snap, ok := s.(Snapshotter); ok {
		list = snap.Snapshot(ctx, "")
	}
	return func(yield func(state.Entry, error) bool) {
		for e, err := range list {
			if err == nil && strings.HasPrefix(e.Key, lockPrefix) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// lockPrefix is where state/values keeps locks.
const lockPrefix = "lock/"

// Write writes all entries of a store and returns how many there were. from
// says where they come from, for people.
func Write(ctx context.Context, w io.Writer, s state.Store, from string) (n int, err error) {
	sum := sha256.New()
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(io.MultiWriter(out, sum))
	if err := enc.Encode(head{Version: version, Made: time.Now().UTC().Truncate(time.Second), From: from}); err != nil {
		return 0, err
	}
	for e, err := range all(ctx, s) {
		if err != nil {
			return n, err
		}
		if err := enc.Encode(line{Key: []byte(e.Key), Value: e.Value, Expires: e.Expires}); err != nil {
			return n, err
		}
		n++
	}
	if err := json.NewEncoder(out).Encode(line{Value: []byte{}, Entries: &n, Sum: hex.EncodeToString(sum.Sum(nil))}); err != nil {
		return n, err
	}
	return n, out.Flush()
}

// NewerError is a file of a later version of sloth.
type NewerError struct{ Has int }

func (e *NewerError) Error() string {
	return fmt.Sprintf("it was written by a newer sloth: it has form %d, this one knows up to %d", e.Has, version)
}

// ErrForm is returned for a file that is no backup.
var ErrForm = errors.New("it is no backup of sloth's state")

// ErrDamaged is returned for a backup that is not whole.
var ErrDamaged = errors.New("the backup is damaged or cut off; nothing was restored from it")

// reader reads a file line by line.
type reader struct {
	lines *bufio.Scanner
	sum   hash.Hash
}

func newReader(r io.Reader) (*reader, head, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	x := &reader{s, sha256.New()}
	var h head
	text, err := x.next()
	switch {
	case err != nil && errors.Is(err, ErrDamaged), err == nil && (json.Unmarshal(text, &h) != nil || h.Version == 0):
		return nil, h, ErrForm
	case err != nil:
		return nil, h, err
	case h.Version > version:
		return nil, h, &NewerError{h.Version}
	}
	x.add(text)
	return x, h, nil
}

func (x *reader) add(text []byte) { x.sum.Write(append(bytes.Clone(text), '\n')) }

func (x *reader) next() ([]byte, error) {
	if !x.lines.Scan() {
		if err := x.lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
			return nil, err
		}
		return nil, ErrDamaged
	}
	return x.lines.Bytes(), nil
}

// entries yields what the file holds, and an error unless it is whole.
func (x *reader) entries(yield func(state.Entry, error) bool) {
	for n := 0; ; n++ {
		text, err := x.next()
		var l line
		if err == nil && json.Unmarshal(text, &l) != nil {
			err = ErrDamaged
		}
		if err == nil && l.Entries != nil {
			if *l.Entries != n || l.Sum != hex.EncodeToString(x.sum.Sum(nil)) || x.lines.Scan() {
				yield(state.Entry{}, ErrDamaged)
			}
			return
		}
		if err == nil && state.CheckSize(string(l.Key), l.Value) != nil {
			err = ErrDamaged
		}
		if err != nil {
			yield(state.Entry{}, err)
			return
		}
		x.add(text)
		if !yield(state.Entry{Key: string(l.Key), Value: l.Value, Expires: l.Expires}, nil) {
			return
		}
	}
}

// Info says what a backup is.
type Info struct {
	Entries int
	Made    time.Time
	From    string
}

// Verify reads a backup to its end and checks that it is whole.
func Verify(r io.Reader) (Info, error) {
	x, h, err := newReader(r)
	if err != nil {
		return Info{}, err
	}
	info := Info{Made: h.Made, From: h.From}
	for _, err := range x.entries {
		if err != nil {
			return Info{}, err
		}
		info.Entries++
	}
	return info, nil
}
