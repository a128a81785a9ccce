// Package state remembers: values, locks, runs. What the values mean is known
// only above it.
package state

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Revision numbers the writes of one key; it grows with each. 0 means that the
// key does not exist.
type Revision uint64

// Any as ifRevision makes a write unconditional.
const Any = ^Revision(0)

// ErrConflict is returned when a key is not at the revision that was asked for.
var ErrConflict = errors.New("the key was changed meanwhile")

// ErrNotFound is returned by Get for a key that does not exist or has expired.
var ErrNotFound = errors.New("no such key")

// Entry is one stored value.
type Entry struct {
	Key      string
	Value    []byte // never nil: an empty value is not an absent one
	Revision Revision
	Expires  time.Time // zero: never
}

// Store keeps bytes under keys. An acknowledged write survives kill -9. Every
// kind passes the suite in state/statetest.
type Store interface {
	Get(ctx context.Context, key string) (Entry, error)
	// Put writes value if the key is at ifRevision (0: absent; Any: whatever)
	// and returns the new revision. ttl 0 means for ever.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration, ifRevision Revision) (Revision, error)
	// Delete removes the key if it is at ifRevision. An absent key is no error
	// under Any.
	Delete(ctx context.Context, key string, ifRevision Revision) error
	// List yields the entries under prefix in byte order of their keys.
	List(ctx context.Context, prefix string) iter.Seq2[Entry, error]
	Close() error
}
