package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// DiffersError is a store that holds something else under a key already.
type DiffersError struct{ Key string }

func (e *DiffersError) Error() string {
	return fmt.Sprintf("the store has another value under %q already; nothing was overwritten", e.Key)
}

// Restore puts what a whole backup holds into a store; check it with Verify
// first. Values that are there and differ are an error before anything is
// written, unless replace says that they go, together with all that the backup
// does not have. Restoring twice, or again after a cut, does no harm.
func Restore(ctx context.Context, s state.Store, r io.ReadSeeker, replace bool) (n int, err error) {
	entries := func(yield func(state.Entry, error) bool) {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			yield(state.Entry{}, err)
			return
		}
		x, _, err := newReader(r)
		if err != nil {
			yield(state.Entry{}, err)
			return
		}
		x.entries(yield)
	}
	return fill(ctx, s, entries, replace)
}

// Copy puts all that is in one store into another, as Restore does, and looks
// that it arrived.
func Copy(ctx context.Context, from, to state.Store) (n int, err error) {
	entries := all(ctx, from)
	if n, err = fill(ctx, to, entries, false); err != nil {
		return n, err
	}
	for e, err := range entries {
		if err != nil {
			return n, err
		}
		if gone(e) {
			continue
		}
		is, err := to.Get(ctx, e.Key)
		switch {
		case errors.Is(err, state.ErrNotFound) && gone(e):
		case err != nil && !errors.Is(err, state.ErrNotFound):
			return n, err
		case err != nil || !bytes.Equal(is.Value, e.Value):
			return n, fmt.Errorf("%q changed while it was copied: end what uses the state and begin again", e.Key)
		}
	}
	return n, nil
}

// gone reports whether an entry has no life left worth to be written.
func gone(e state.Entry) bool { return !e.Expires.IsZero() && time.Until(e.Expires) < time.Millisecond }

func fill(ctx context.Context, s state.Store, entries iter.Seq2[state.Entry, error], replace bool) (n int, err error) {
	have := map[string]bool{} // what is the same already
	keep := map[string]bool{}
	for e, err := range entries {
		if err != nil {
			return 0, err
		}
		keep[e.Key] = true
		is, err := s.Get(ctx, e.Key)
		switch {
		case errors.Is(err, state.ErrNotFound):
		case err != nil:
			return 0, err
		case bytes.Equal(is.Value, e.Value):
			have[e.Key] = true
		case !replace:
			return 0, &DiffersError{e.Key}
		}
	}
	for e, err := range entries {
		if err != nil {
			return n, err
		}
		if gone(e) {
			continue
		}
		n++
		if have[e.Key] {
			continue
		}
		var ttl time.Duration
		if !e.Expires.IsZero() {
			ttl = max(time.Until(e.Expires), time.Millisecond)
		}
		if _, err := s.Put(ctx, e.Key, e.Value, ttl, state.Any); err != nil {
			return n, err
		}
	}
	if !replace {
		return n, nil
	}
	for e, err := range s.List(ctx, "") {
		if err != nil {
			return n, err
		}
		if keep[e.Key] || strings.HasPrefix(e.Key, lockPrefix) {
			continue
		}
		if err := s.Delete(ctx, e.Key, e.Revision); err != nil && !errors.Is(err, state.ErrConflict) {
			return n, err
		}
	}
	return n, nil
}
