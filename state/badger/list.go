package badger

import (
	"context"
	"errors"
	"iter"

	"github.com/dgraph-io/badger/v4"

	"github.com/sloth-runner/sloth/state"
)

// pageBytes is how many bytes of values List holds at a time.
const pageBytes = 1 << 20

// List yields the entries under prefix. It reads which keys there are at once
// and their values in pages: the caller may take its time, and others may write
// meanwhile.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[state.Entry, error] {
	return func(yield func(state.Entry, error) bool) {
		page, rest, err := s.begin(ctx, prefix)
		for {
			for _, e := range page {
				if err := ctx.Err(); err != nil {
					yield(state.Entry{}, err)
					return
				}
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(state.Entry{}, err)
				return
			}
			if len(rest) == 0 {
				return
			}
			page, rest, err = s.page(ctx, rest)
		}
	}
}

// Snapshot yields the entries under prefix as of one moment. The store stays
// open for all of it, and the loop must not use it otherwise.
func (s *Store) Snapshot(ctx context.Context, prefix string) iter.Seq2[state.Entry, error] {
	return func(yield func(state.Entry, error) bool) {
		enough := false
		err := s.use(ctx, func(db *badger.DB) error {
			return db.View(func(txn *badger.Txn) error {
				it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(userKey + prefix)})
				defer it.Close()
				for it.Rewind(); it.Valid() && !enough; it.Next() {
					if err := ctx.Err(); err != nil {
						return err
					}
					e, live, err := unpack(it.Item())
					if err != nil {
						return err
					}
					enough = live && !yield(e, nil)
				}
				return nil
			})
		})
		if err != nil && !enough {
			yield(state.Entry{}, err)
		}
	}
}

// begin returns the first entries under prefix, and the keys of those after.
func (s *Store) begin(ctx context.Context, prefix string) (page []state.Entry, rest []string, err error) {
	err = s.use(ctx, func(db *badger.DB) error {
		return db.View(func(txn *badger.Txn) error {
			it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(userKey + prefix)})
			defer it.Close()
			size := 0
			for it.Rewind(); it.Valid(); it.Next() {
				if size >= pageBytes {
					rest = append(rest, string(it.Item().Key()[len(userKey):]))
					continue
				}
				e, live, err := unpack(it.Item())
				if err != nil {
					return err
				}
				if live {
					page, size = append(page, e), size+header+len(e.Key)+len(e.Value)
				}
			}
			return nil
		})
	})
	return page, rest, err
}

// page returns the entries of the first of keys, without those that are gone.
func (s *Store) page(ctx context.Context, keys []string) (page []state.Entry, rest []string, err error) {
	err = s.use(ctx, func(db *badger.DB) error {
		return db.View(func(txn *badger.Txn) error {
			size, n := 0, 0
			for ; n < len(keys) && size < pageBytes; n++ {
				e, err := get(txn, keys[n])
				if errors.Is(err, state.ErrNotFound) {
					continue
				}
				if err != nil {
					return err
				}
				page, size = append(page, e), size+header+len(e.Key)+len(e.Value)
			}
			rest = keys[n:]
			return nil
		})
	})
	return page, rest, err
}
