package badger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"

	"github.com/sloth-runner/sloth/state"
)

// Repaired says what Repair did.
type Repaired struct {
	Aside  string   // where the damaged folder is now
	Kept   int      // entries that were read
	Unread []string // files, or parts of them, that were not
}

// Repair builds a new store of what can be read of a damaged one, and puts it
// into its place. The damaged folder is moved aside and never changed. Should
// it be killed half-way, nothing has happened yet.
func Repair(ctx context.Context, o Options) (r Repaired, err error) {
	s := New(o)
	if err := s.prepare(); err != nil {
		return r, err
	}
	c, err := s.claim(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.release()) }()
	if err := s.room(); err != nil {
		return r, err
	}
	w := &wreck{store: s, newest: map[string]remains{}}
	if err := w.read(ctx); err != nil {
		return r, err
	}
	fresh := o.Dir + ".repair"
	leftovers := []string{fresh, fresh + ".lock", fresh + ".waiting"}
	defer func() {
		for _, path := range leftovers {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}()
	if err := os.RemoveAll(fresh); err != nil { // of a repair that was killed
		return r, err
	}
	if r.Kept, err = w.write(ctx, fresh); err != nil {
		return r, err
	}
	r.Unread = w.unread
	r.Aside = o.Dir + ".damaged-" + time.Now().Format("20060102-150405")
	if exchange(o.Dir, fresh) == nil {
		leftovers = leftovers[1:] // what has that name now is the damaged one
		return r, os.Rename(fresh, r.Aside)
	}
	// Where the two cannot change places at once.
	if err := os.Rename(o.Dir, r.Aside); err != nil {
		return r, err
	}
	if err := os.Rename(fresh, o.Dir); err != nil {
		return r, errors.Join(err, os.Rename(r.Aside, o.Dir))
	}
	return r, nil
}

// remains are the last that is known of a key.
type remains struct {
	version uint64
	value   []byte // with its header; nil: deleted
}

// wreck is a damaged store.
type wreck struct {
	store  *Store
	newest map[string]remains
	unread []string
}

func (w *wreck) found(key string, version uint64, value []byte) {
	if was, ok := w.newest[key]; !ok || was.version < version {
		w.newest[key] = remains{version, value}
	}
}

func (w *wreck) read(ctx context.Context) error {
	dir := w.store.opt.Dir
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	// Tables that are not listed were merged into others. Without the list all
	// are taken: what was deleted since may come back, which is better than none.
	listed, err := w.store.manifest()
	if err != nil {
		w.unread = append(w.unread, badger.ManifestFilename)
	}
	for _, n := range names {
		id, isTable := table.ParseFileID(n.Name())
		if _, is := listed.Tables[id]; !isTable || err == nil && !is {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if bad := w.readTable(filepath.Join(dir, n.Name())); bad != nil {
			w.unread = append(w.unread, fmt.Sprintf("%s (%v)", n.Name(), bad))
		}
	}
	if bad := w.readLogs(dir, names); bad != nil {
		w.unread = append(w.unread, fmt.Sprintf("the logs (%v)", bad))
	}
	return nil
}

// The marks of a value in a table (badger's value.go).
const (
	bitDelete       = 1 << 0
	bitValuePointer = 1 << 1
)

func (w *wreck) readTable(path string) (err error) {
	if err := verifyTable(path); err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	f, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	t, err := table.OpenTable(f, table.Options{ReadOnly: true, ChkMode: options.NoVerification})
	if err != nil {
		return err
	}
	// The last reference is never given back: that would delete the file.
	defer func() { err = errors.Join(err, t.Close(-1)) }()
	it := t.NewIterator(0)
	defer func() { err = errors.Join(err, it.Close()) }()
	large := 0
	for it.Rewind(); it.Valid(); it.Next() {
		key, version, v := string(y.ParseKey(it.Key())), y.ParseTs(it.Key()), it.Value()
		switch {
		case v.Meta&bitDelete != 0:
			w.found(key, version, nil)
		case v.Meta&bitValuePointer != 0:
			large++
		default:
			w.found(key, version, append([]byte{}, v.Value...))
		}
	}
	if large > 0 {
		return fmt.Errorf("%d values of the largest size", large)
	}
	return nil
}

// readLogs reads what was not a table yet. Badger itself replays it, from
// copies in a folder of their own.
func (w *wreck) readLogs(dir string, names []fs.DirEntry) (err error) {
	logs, err := os.MkdirTemp(filepath.Dir(dir), ".sloth-logs-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(logs)) }()
	for _, n := range names {
		if ext := filepath.Ext(n.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		if info, err := n.Info(); err != nil || info.Size() == 0 || !info.Mode().IsRegular() {
			continue
		}
		if err := copyFile(filepath.Join(logs, n.Name()), filepath.Join(dir, n.Name())); err != nil {
			return err
		}
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	o := w.store.options()
	o.Dir, o.ValueDir = logs, logs
	db, err := badger.Open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{AllVersions: true})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			key := string(item.Key())
			if item.IsDeletedOrExpired() {
				w.found(key, item.Version(), nil)
				continue
			}
			value, err := item.ValueCopy(nil)
			if err != nil {
				return err
			}
			w.found(key, item.Version(), append([]byte{}, value...))
		}
		return nil
	})
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// write makes a new store of what was found.
func (w *wreck) write(ctx context.Context, dir string) (kept int, err error) {
	fresh := New(Options{Dir: dir, What: w.store.opt.What})
	defer func() { err = errors.Join(err, fresh.Close()) }()
	last := uint64(0)
	var entries []state.Entry
	for key, r := range w.newest {
		name, ours := strings.CutPrefix(key, userKey)
		if !ours || r.value == nil {
			continue
		}
		e, live, err := parse(name, r.value)
		if err != nil {
			w.unread = append(w.unread, fmt.Sprintf("%q (%v)", name, err))
			continue
		}
		last = max(last, uint64(e.Revision))
		if live {
			entries = append(entries, e)
		}
	}
	// Revisions go on from where they were: whoever remembers an old one must
	// not find it again.
	err = fresh.use(ctx, func(db *badger.DB) error {
		fresh.revisions.restart(last)
		return writeNumber(db, keyRev, last)
	})
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		var ttl time.Duration
		if !e.Expires.IsZero() {
			ttl = max(time.Until(e.Expires), time.Millisecond)
		}
		if _, err := fresh.Put(ctx, e.Key, e.Value, ttl, state.Any); err != nil {
			return 0, err
		}
	}
	return len(entries), nil
}
