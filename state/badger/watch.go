package badger

import (
	"context"
	"fmt"
	"hash/fnv"
	"iter"
	"os"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// lookEvery is how often the folder is looked at for writes of other
// processes.
const lookEvery = 200 * time.Millisecond

// written tells those who watch.
func (s *Store) written() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.wrote)
	s.wrote = make(chan struct{})
}

// Watch yields what is under prefix, and then what changes. Other processes
// have no way to tell us: what they did is seen by the files they leave, and
// only then is the database opened.
func (s *Store) Watch(ctx context.Context, prefix string) iter.Seq2[state.Event, error] {
	var wrote chan struct{}
	var foreign int
	list := func(yield func(state.Entry, error) bool) {
		s.mu.Lock()
		// Before the list: one too many does no harm, a missed change does.
		wrote, foreign = s.wrote, s.foreign
		s.mu.Unlock()
		s.List(ctx, prefix)(yield)
	}
	return state.WatchLists(ctx, list, func(ctx context.Context, expiry time.Time) error {
		for {
			look := time.Now().Add(lookEvery)
			if !expiry.IsZero() && expiry.Before(look) {
				look = expiry
			}
			if err := state.AwaitChange(ctx, wrote, look); err != nil {
				return err
			}
			select {
			case <-wrote:
				return nil
			default:
			}
			if s.changedSince(foreign) || !expiry.IsZero() && time.Now().After(expiry) {
				return nil
			}
		}
	})
}

// changedSince reports whether another process wrote since foreign was read.
// While this process has the database open nobody else can.
func (s *Store) changedSince(foreign int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.foreign != foreign || s.db == nil && !s.opening && s.trace() != s.left
}

// trace is a mark of the names, sizes and times of the database's files.
func (s *Store) trace() uint64 {
	h := fnv.New64a()
	names, err := os.ReadDir(s.opt.Dir)
	if err != nil {
		return 0
	}
	for _, n := range names {
		if info, err := n.Info(); err == nil {
			fmt.Fprintln(h, n.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return h.Sum64()
}
