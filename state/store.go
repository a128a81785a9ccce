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

// ErrUnknown is returned when a store could not tell whether a write happened:
// it did, or will, or did not. Only kinds that other machines answer for have
// such outcomes.
var ErrUnknown = errors.New("whether the write happened is not known")

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
	// Commit makes all of ops or none, as one write that nobody sees half of.
	// Where one is not at its If, it returns ErrConflict. All entries get the
	// revision that is returned; it is 0 where nothing is put.
	Commit(ctx context.Context, ops []Op) (Revision, error)
	// Watch yields what is under prefix, then an event with Synced, and from
	// then on what changes, until ctx is done, which is its last error. Of
	// several changes of one key that come close together it may yield only the
	// last one.
	Watch(ctx context.Context, prefix string) iter.Seq2[Event, error]
	Close() error
}

// OpKind is what an Op does.
type OpKind uint8

// The kinds of Op. A check only demands that its key is at If.
const (
	OpPut OpKind = iota
	OpDelete
	OpCheck
)

// Op is one part of a Commit.
type Op struct {
	Kind  OpKind
	Key   string
	Value []byte        // of a put
	TTL   time.Duration // of a put; 0 means for ever
	If    Revision      // as in Put: 0 absent, Any whatever
}

// Event is one step of a Watch.
type Event struct {
	Entry
	// Deleted says that the key was deleted or has expired; the entry has its
	// key alone.
	Deleted bool
	// Synced says that all that was there has been shown; there is no entry.
	Synced bool
}
