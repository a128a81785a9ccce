package badger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/disk/private"
)

const (
	// schema is the version of what is in the store.
	schema = 1
	// reserve is how many revisions are taken from the store at once.
	reserve = 4096

	idleFor    = 250 * time.Millisecond // kept open after the last use
	idleWanted = 20 * time.Millisecond  // the same, while another process waits
	keepWanted = time.Second            // kept open at most, while another process waits
	tick       = 10 * time.Millisecond

	maxTables = 8 // before they are merged

	memTable = 8 << 20
	valueLog = 8 << 20
	// minFree is what must be free on the disk before anything is written. The
	// store's files are mapped memory: a full disk would kill the process.
	minFree = 2*memTable + 2*valueLog + state.MaxValue
)

// Keys of the store itself; those of users begin with userKey.
const (
	userKey  = "k"
	keyIs    = "!schema"
	keyRev   = "!revision"
	dirMode  = fs.FileMode(0o700)
	fileMode = fs.FileMode(0o600)
)

// DamagedError is a store whose content cannot be trusted.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string { return fmt.Sprintf("state %s is damaged: %v", e.Path, e.Err) }

// Unwrap returns what was found.
func (e *DamagedError) Unwrap() error { return e.Err }

// Hint is what to do next.
func (e *DamagedError) Hint() string {
	return "To keep what can still be read: sloth state doctor --repair. It moves the damaged folder aside; a backup is put back with sloth state restore."
}

// NewerError is a store of a later version of sloth.
type NewerError struct {
	Path       string
	Has, Known int
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("state %s was written by a newer sloth: it has schema %d, this one knows up to %d", e.Path, e.Has, e.Known)
}

// Hint is what to do next.
func (e *NewerError) Hint() string {
	return "Nothing was changed: use that version or a newer one, or another state folder (XDG_STATE_HOME)."
}

// enter lends the open database, opening it if need be. leave gives it back.
func (s *Store) enter(ctx context.Context) (*badger.DB, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.mu.Lock()
		switch {
		case s.closed:
			s.mu.Unlock()
			return nil, state.ErrClosed
		case s.db != nil && !s.yielding:
			s.users++
			db := s.db
			s.mu.Unlock()
			return db, nil
		case s.db == nil && !s.opening:
			s.opening = true
			s.mu.Unlock()
			err := s.open(ctx)
			s.mu.Lock()
			s.opening = false
			s.wake()
			s.mu.Unlock()
			if err != nil {
				return nil, err
			}
		default:
			changed := s.changed
			s.mu.Unlock()
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	s.lastUse = time.Now()
	if s.users == 0 && (s.yielding || s.closed) {
		s.kick()
	}
}

// wake tells everybody in enter to look again. The caller holds mu.
func (s *Store) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// kick makes the keeper look at once.
func (s *Store) kick() {
	select {
	case s.kicked <- struct{}{}:
	default:
	}
}

// open takes the lock, opens the database and starts its keeper.
func (s *Store) open(ctx context.Context) error {
	if err := s.prepare(); err != nil {
		return err
	}
	c, err := s.claim(ctx)
	if err != nil {
		return err
	}
	found := s.trace()
	db, err := s.openDB()
	if err != nil {
		return errors.Join(err, c.release())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found != s.left {
		s.foreign++
	}
	s.db, s.lock = db, c
	s.opened, s.lastUse = time.Now(), time.Now()
	s.keepers.Go(s.keep)
	return nil
}

// prepare makes the folder, and refuses one that others could read or write.
func (s *Store) prepare() error {
	dir := s.opt.Dir
	if err := os.MkdirAll(filepath.Dir(dir), dirMode); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the state folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the state folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("state %s is no folder; move it away", dir)
	}
	if err := private.Folder(dir); err != nil {
		return fmt.Errorf("state %w", err)
	}
	return nil
}

// room refuses to write when the disk is nearly full.
func (s *Store) room() error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.opt.Dir, &st); err != nil {
		return fmt.Errorf("look at the disk of state %s: %w", s.opt.Dir, err)
	}
	free := st.Bavail * uint64(st.Bsize)
	if free < minFree {
		return fmt.Errorf("state %s: %w: %d MB are free on its disk, at least %d MB are needed", s.opt.Dir, syscall.ENOSPC, free>>20, minFree>>20)
	}
	return nil
}

func (s *Store) options() badger.Options {
	o := badger.DefaultOptions(s.opt.Dir)
	o.Logger = nil
	o.MetricsEnabled = false
	o.BypassLockGuard = true // the claim is ours, and says who has it
	o.SyncWrites = true
	o.MemTableSize = memTable
	o.NumMemtables = 2
	o.ValueLogFileSize = valueLog
	o.NumCompactors = 2
	o.NumGoroutines = 2
	o.Compression = options.None
	o.BlockCacheSize = 0
	o.VerifyValueChecksum = true
	o.ChecksumVerificationMode = options.OnBlockRead
	return o
}

// isPlace reports whether the place is at fault and not the content.
func isPlace(err error) bool {
	for _, e := range []error{fs.ErrPermission, syscall.ENOSPC, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.EIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// openDB opens what the claim gives us the right to.
func (s *Store) openDB() (db *badger.DB, err error) {
	if err := s.room(); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, &DamagedError{s.opt.Dir, fmt.Errorf("%v", r)}
		}
	}()
	tables, fresh, err := s.verify()
	switch {
	case isPlace(err):
		return nil, fmt.Errorf("open state %s: %w", s.opt.Dir, err)
	case err != nil:
		return nil, &DamagedError{s.opt.Dir, err}
	}
	o := s.options()
	// Every opening with a write leaves a table, and Badger's own tidying waits
	// longer than we keep it open.
	o.CompactL0OnClose = tables > maxTables
	db, err = badger.Open(o)
	switch {
	case isPlace(err):
		return nil, fmt.Errorf("open state %s: %w", s.opt.Dir, err)
	case err != nil:
		return nil, &DamagedError{s.opt.Dir, err}
	}
	if err := s.check(db, fresh); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// check reads the schema, and from where revisions go on.
func (s *Store) check(db *badger.DB, fresh bool) error {
	has, err := readNumber(db, keyIs)
	switch {
	case errors.Is(err, badger.ErrKeyNotFound) && fresh:
	case errors.Is(err, badger.ErrKeyNotFound):
		// A first opening that was killed before its first write leaves this.
		if !emptyDB(db) {
			return &DamagedError{s.opt.Dir, errors.New("it does not say which schema it has")}
		}
		fresh = true
	case err != nil:
		return &DamagedError{s.opt.Dir, err}
	case has > schema:
		return &NewerError{Path: s.opt.Dir, Has: int(has), Known: schema}
	}
	if fresh {
		if err := writeNumber(db, keyIs, schema); err != nil {
			return fmt.Errorf("write to state %s: %w", s.opt.Dir, err)
		}
	}
	if err := onlyOurs(s.opt.Dir); err != nil {
		return err
	}
	last, err := readNumber(db, keyRev)
	if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
		return &DamagedError{s.opt.Dir, err}
	}
	s.revisions.restart(last)
	return nil
}

func emptyDB(db *badger.DB) bool {
	none := true
	err := db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		it.Rewind()
		none = !it.Valid()
		return nil
	})
	return err == nil && none
}

func readNumber(db *badger.DB, key string) (n uint64, err error) {
	err = db.View(func(txn *badger.Txn) error {
		item, err := txn.Get([]byte(key))
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			n, err = strconv.ParseUint(string(v), 10, 64)
			return err
		})
	})
	return n, err
}

func writeNumber(db *badger.DB, key string, n uint64) error {
	return db.Update(func(txn *badger.Txn) error {
		return txn.Set([]byte(key), strconv.AppendUint(nil, n, 10))
	})
}

// onlyOurs closes files to others: badger makes some as the umask lets it.
func onlyOurs(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		info, err := n.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case !info.Mode().IsRegular() || info.Mode().Perm() == fileMode:
			continue
		}
		if err := os.Chmod(filepath.Join(dir, n.Name()), fileMode); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// keep closes the database when it is not used any more, or when another
// process wants it.
func (s *Store) keep() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-s.kicked:
		}
		if s.done() {
			return
		}
	}
}

// done closes the database if it is time to.
func (s *Store) done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	idle, held := now.Sub(s.lastUse), now.Sub(s.opened)
	if s.users > 0 {
		if !s.yielding && held >= keepWanted && s.wanted() {
			s.yielding = true // no new users; the last one to leave kicks us
		}
		return false
	}
	switch {
	case s.closed || s.yielding || idle >= idleFor:
	case (idle >= idleWanted || held >= keepWanted) && s.wanted():
	default:
		return false
	}
	s.yielded = s.wanted()
	err := errors.Join(s.db.Close(), onlyOurs(s.opt.Dir))
	s.left = s.trace()
	if err = errors.Join(err, s.lock.release()); err != nil {
		s.closeErr = errors.Join(s.closeErr, fmt.Errorf("close state %s: %w", s.opt.Dir, err))
	}
	s.db, s.lock, s.yielding = nil, nil, false
	s.wake()
	return true
}
