package badger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/disk/filelock"
)

const (
	// noticeAfter is how long somebody waits before it is worth a word.
	noticeAfter = 500 * time.Millisecond
	// defaultWait is above what a living holder keeps the store while another
	// waits, so that running into the limit means that something is wrong.
	defaultWait = 3 * time.Second
	pollFirst   = 20 * time.Millisecond
	pollLast    = time.Millisecond
	// yieldFor is how long somebody who made room stays away.
	yieldFor = 2 * pollFirst
)

// InUseError says which process keeps the store.
type InUseError struct {
	Path   string
	Holder filelock.Holder
	Waited time.Duration
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("state %s is in use by %s, waited %s", e.Path, e.Holder, e.Waited.Round(10*time.Millisecond))
}

// Is makes the error a state.ErrInUse.
func (e *InUseError) Is(target error) bool { return target == state.ErrInUse }

// Hint is what to do next.
func (e *InUseError) Hint() string {
	return "Wait until it is done, or wait longer for it with --wait-lock 1m."
}

// claim is the right to open the store: a lock on a file beside its folder. A
// second file tells the holder that others wait: each of them has a shared lock
// on it.
type claim struct{ file *os.File }

func (s *Store) lockPath() string    { return s.opt.Dir + ".lock" }
func (s *Store) waitingPath() string { return s.opt.Dir + ".waiting" }

// claim waits for its turn, up to the limit.
func (s *Store) claim(ctx context.Context) (*claim, error) {
	start := time.Now()
	limit := s.opt.WaitLock
	if limit == 0 {
		limit = defaultWait
	}
	if s.yielded {
		s.yielded = false
		if err := sleep(ctx, yieldFor); err != nil {
			return nil, err
		}
	}
	var waiting *os.File
	defer func() {
		if waiting != nil {
			waiting.Close()
		}
	}()
	noticed, shown := false, false
	for {
		c, err := s.tryClaim()
		if !errors.Is(err, filelock.ErrHeld) {
			return c, err
		}
		waited := time.Since(start)
		in := &InUseError{Path: s.opt.Dir, Holder: filelock.HolderOf(s.lockPath()), Waited: waited}
		if waited >= limit {
			return nil, in
		}
		if !shown && waited >= noticeAfter && s.opt.Notice != nil {
			shown = true
			s.opt.Notice(fmt.Sprintf("state is in use by %s, waiting", in.Holder))
		}
		if waiting == nil {
			if waiting, err = filelock.Open(s.waitingPath()); err != nil {
				return nil, err
			}
		}
		if !noticed {
			if err = filelock.Try(waiting, filelock.Shared); err != nil && !errors.Is(err, filelock.ErrHeld) {
				return nil, err
			}
			noticed = err == nil
		}
		// Who has waited longer asks more often, and so is served earlier.
		poll := max(pollLast, pollFirst/(1+waited/(250*time.Millisecond)))
		if err := sleep(ctx, min(poll, limit-waited)); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tryClaim returns filelock.ErrHeld when somebody else has the store.
func (s *Store) tryClaim() (*claim, error) {
	f, err := filelock.Lock(s.lockPath())
	if err != nil {
		return nil, err
	}
	if err := filelock.Sign(f, s.opt.What); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &claim{f}, nil
}

// wanted reports whether another process waits for the lock.
func (s *Store) wanted() bool {
	held, err := filelock.Held(s.waitingPath(), filelock.Exclusive)
	return err == nil && held
}

func (c *claim) release() error {
	return errors.Join(c.file.Truncate(0), c.file.Close())
}
