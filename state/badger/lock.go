package badger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/state"
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
	PID    int    // 0: unknown
	What   string // what it does, as it says itself: "apply site.sloth"
	Waited time.Duration
}

func (e *InUseError) holder() string {
	who := "another process"
	if e.PID > 0 {
		who = fmt.Sprintf("sloth pid %d", e.PID)
	}
	if e.What != "" {
		who += " (" + e.What + ")"
	}
	return who
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("state %s is in use by %s, waited %s", e.Path, e.holder(), e.Waited.Round(10*time.Millisecond))
}

// Is makes the error a state.ErrInUse.
func (e *InUseError) Is(target error) bool { return target == state.ErrInUse }

// Hint is what to do next.
func (e *InUseError) Hint() string {
	return "Wait until it is done, or wait longer for it with --wait-lock 1m."
}

// claim is the right to open the store: an flock on a file beside its folder.
// A second file tells the holder that others wait: each of them has a shared
// flock on it.
type claim struct{ file *os.File }

func openLockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func flock(f *os.File, how int) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

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
		if c != nil || err != nil {
			return c, err
		}
		waited := time.Since(start)
		in := &InUseError{Path: s.opt.Dir, Waited: waited}
		in.PID, in.What = holder(s.lockPath())
		if waited >= limit {
			return nil, in
		}
		if !shown && waited >= noticeAfter && s.opt.Notice != nil {
			shown = true
			s.opt.Notice(fmt.Sprintf("state is in use by %s, waiting", in.holder()))
		}
		if waiting == nil {
			if waiting, err = openLockFile(s.waitingPath()); err != nil {
				return nil, err
			}
		}
		if !noticed {
			if noticed, err = flock(waiting, unix.LOCK_SH); err != nil {
				return nil, err
			}
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

// tryClaim returns nil and no error when somebody else has the lock.
func (s *Store) tryClaim() (*claim, error) {
	f, err := openLockFile(s.lockPath())
	if err != nil {
		return nil, err
	}
	got, err := flock(f, unix.LOCK_EX)
	if err == nil && got {
		// Somebody may have removed the file between the two: such a lock
		// keeps nobody out.
		var now, held os.FileInfo
		if held, err = f.Stat(); err == nil {
			if now, err = os.Lstat(s.lockPath()); err == nil && os.SameFile(now, held) {
				err = sign(f, s.opt.What)
				if err == nil {
					return &claim{f}, nil
				}
			} else if errors.Is(err, os.ErrNotExist) {
				err = nil
			}
		}
	}
	return nil, errors.Join(err, f.Close())
}

// sign writes who holds the lock, for those who wait.
func sign(f *os.File, what string) error {
	text := fmt.Sprintf("%d\n%s\n", os.Getpid(), strings.ReplaceAll(what, "\n", " "))
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// holder reads what sign wrote. It may be gone or half there: then it is
// unknown.
func holder(path string) (pid int, what string) {
	f, err := os.Open(path)
	if err != nil {
		return 0, ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	lines := strings.Split(string(text), "\n")
	if err != nil || len(lines) < 3 {
		return 0, ""
	}
	pid, err = strconv.Atoi(lines[0])
	if err != nil {
		return 0, ""
	}
	return pid, lines[1]
}

// wanted reports whether another process waits for the lock.
func (s *Store) wanted() bool {
	f, err := os.OpenFile(s.waitingPath(), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	alone, err := flock(f, unix.LOCK_EX)
	return err == nil && !alone
}

func (c *claim) release() error {
	return errors.Join(c.file.Truncate(0), c.file.Close())
}
