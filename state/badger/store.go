// Package badger keeps a store in a folder of this machine, in an embedded
// Badger database. Badger belongs to one process at a time, so it is opened
// for a moment only: many commands of one user share a store by taking turns.
package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sloth-runner/sloth/state"
)

// Options says where a store is and how it behaves towards other processes.
type Options struct {
	// Dir is the database's folder. It and its parent are made when missing;
	// its lock files are beside it.
	Dir string
	// What says what this process does ("apply site.sloth"), for those who wait.
	What string
	// WaitLock limits the wait for another process. 0 means three seconds,
	// which a process that is well never needs; below 0 nobody waits.
	WaitLock time.Duration
	// Notice is told once for each wait that a person would notice. It may be
	// nil.
	Notice func(string)
}

// Store is a state.Store in a folder. The database is opened by the first use,
// and closed a quarter of a second after the last one.
type Store struct {
	opt Options

	mu       sync.Mutex
	db       *badger.DB // nil while closed
	lock     *claim
	users    int
	opening  bool          // somebody is in open
	yielding bool          // another process wants it: nobody may enter
	yielded  bool          // it was given up for another process; read by open alone
	closed   bool          // for good
	changed  chan struct{} // closed when enter should look again
	opened   time.Time
	lastUse  time.Time
	closeErr error
	wrote    chan struct{} // closed by the next write of this process, or Close
	left     uint64        // the trace of the files as we closed them last
	foreign  int           // how often they were found otherwise

	kicked    chan struct{}
	keepers   sync.WaitGroup
	revisions revisions
}

var _ state.Store = (*Store)(nil)

// New returns the store of a folder. Nothing is opened or made yet.
func New(o Options) *Store {
	return &Store{opt: o, changed: make(chan struct{}), wrote: make(chan struct{}), kicked: make(chan struct{}, 1)}
}

// Close ends the use of the store, after the calls under way.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.kick()
	for s.opening {
		changed := s.changed
		s.mu.Unlock()
		<-changed
		s.mu.Lock()
	}
	s.wake()
	s.kick()
	s.mu.Unlock()
	s.written()
	s.keepers.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.closeErr
	s.closeErr = nil
	return err
}

// use runs fn with the open database.
func (s *Store) use(ctx context.Context, fn func(*badger.DB) error) error {
	db, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	err = fn(db)
	switch {
	case err == nil, errors.Is(err, state.ErrConflict), errors.Is(err, state.ErrNotFound), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("state %s: %w", s.opt.Dir, err)
}

// A stored value begins with its revision and its time of expiry in Unix
// nanoseconds, 0 for never. Badger's own expiry has whole seconds only, and its
// versions may come again once a deleted key is compacted away.
const header = 16

func pack(value []byte, r state.Revision, expires time.Time) []byte {
	b := make([]byte, header, header+len(value))
	binary.BigEndian.PutUint64(b, uint64(r))
	if !expires.IsZero() {
		binary.BigEndian.PutUint64(b[8:], uint64(expires.UnixNano()))
	}
	return append(b, value...)
}

var errHeader = errors.New("a value has no header")

// unpack returns an entry, and whether it has not expired.
func unpack(item *badger.Item) (e state.Entry, live bool, err error) {
	err = item.Value(func(b []byte) error {
		e, live, err = parse(string(item.Key()[len(userKey):]), b)
		return err
	})
	return e, live, err
}

// parse reads a stored value.
func parse(key string, b []byte) (e state.Entry, live bool, err error) {
	if len(b) < header {
		return e, false, errHeader
	}
	e.Key, e.Revision, e.Value = key, state.Revision(binary.BigEndian.Uint64(b)), append([]byte{}, b[header:]...)
	if at := binary.BigEndian.Uint64(b[8:]); at != 0 {
		e.Expires = time.Unix(0, int64(at))
	}
	return e, e.Expires.IsZero() || time.Now().Before(e.Expires), nil
}

// get returns ErrNotFound for what is not there or has expired.
func get(txn *badger.Txn, key string) (state.Entry, error) {
	item, err := txn.Get([]byte(userKey + key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return state.Entry{}, state.ErrNotFound
	}
	if err != nil {
		return state.Entry{}, err
	}
	e, live, err := unpack(item)
	if err == nil && !live {
		return state.Entry{}, state.ErrNotFound
	}
	return e, err
}

// Get returns the entry of key.
func (s *Store) Get(ctx context.Context, key string) (state.Entry, error) {
	if err := state.CheckSize(key, nil); err != nil {
		return state.Entry{}, err
	}
	var e state.Entry
	err := s.use(ctx, func(db *badger.DB) error {
		return db.View(func(txn *badger.Txn) (err error) {
			e, err = get(txn, key)
			return err
		})
	})
	if err != nil {
		return state.Entry{}, err
	}
	return e, nil
}

// Put writes value if the key is at ifRevision. When it returns, the write is
// on the disk.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration, ifRevision state.Revision) (state.Revision, error) {
	if err := state.CheckSize(key, value); err != nil {
		return 0, err
	}
	return s.write(ctx, state.Op{Key: key, Value: value, TTL: ttl, If: ifRevision})
}

// Delete removes key if it is at ifRevision.
func (s *Store) Delete(ctx context.Context, key string, ifRevision state.Revision) error {
	if err := state.CheckSize(key, nil); err != nil {
		return err
	}
	_, err := s.write(ctx, state.Op{Kind: state.OpDelete, Key: key, If: ifRevision})
	return err
}

// Commit makes all of ops or none.
func (s *Store) Commit(ctx context.Context, ops []state.Op) (state.Revision, error) {
	if err := state.CheckOps(ops); err != nil {
		return 0, err
	}
	return s.write(ctx, ops...)
}

// write makes ops in one transaction. One that met another is tried again:
// whether its conditions still hold is then a new question.
func (s *Store) write(ctx context.Context, ops ...state.Op) (state.Revision, error) {
	var r state.Revision
	err := s.use(ctx, func(db *badger.DB) error {
		if err := s.room(); err != nil {
			return err
		}
		for {
			err := db.Update(func(txn *badger.Txn) (err error) {
				r, err = s.apply(db, txn, ops)
				return err
			})
			if !errors.Is(err, badger.ErrConflict) {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return 0, err
	}
	s.written()
	return r, nil
}

func (s *Store) apply(db *badger.DB, txn *badger.Txn, ops []state.Op) (r state.Revision, err error) {
	for _, o := range ops {
		e, err := get(txn, o.Key)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return 0, err
		}
		if o.If != state.Any && o.If != e.Revision {
			return 0, state.ErrConflict
		}
	}
	for _, o := range ops {
		switch o.Kind {
		case state.OpDelete:
			err = txn.Delete([]byte(userKey + o.Key))
		case state.OpPut:
			if r == 0 {
				if r, err = s.revisions.next(db); err != nil {
					return 0, err
				}
			}
			err = txn.SetEntry(entry(o, r))
		}
		if err != nil {
			return 0, err
		}
	}
	return r, nil
}

func entry(o state.Op, r state.Revision) *badger.Entry {
	var expires time.Time
	if o.TTL > 0 {
		expires = time.Now().Add(o.TTL)
	}
	e := badger.NewEntry([]byte(userKey+o.Key), pack(o.Value, r, expires))
	if o.TTL > 0 {
		// A second later than ours, which decides: this one only cleans up.
		e.ExpiresAt = uint64(expires.Unix()) + 2
	}
	return e
}

// revisions counts the writes of the store, across processes. It takes numbers
// from the database in blocks, so that none comes twice after a crash.
type revisions struct {
	mu        sync.Mutex
	last, end uint64
}

// restart forgets the block: another process may have taken later ones.
func (r *revisions) restart(end uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.end = end, end
}

func (r *revisions) next(db *badger.DB) (state.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == r.end {
		if err := writeNumber(db, keyRev, r.end+reserve); err != nil {
			return 0, err
		}
		r.end += reserve
	}
	r.last++
	return state.Revision(r.last), nil
}
