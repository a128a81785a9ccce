package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/worker/front"
	"github.com/sloth-runner/sloth/state/disk/filelock"
)

// How a worker waits for another that changes the same host.
const (
	lockPoll = 200 * time.Millisecond
	lockTell = 30 * time.Second // between two words about it
)

// targetLock keeps two runs from changing a host at the same time. It is a lock
// on a file, of the user whose processes make the changes, and ends with the
// process that holds it, whatever ends that.
type targetLock struct {
	mu   sync.Mutex
	file *os.File
	err  error // it cannot be had
}

// holder is who has the lock, for whoever waits.
type holder struct {
	Run   string    `json:"run"`
	Owner string    `json:"owner"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

// lockClass marks a failure that is nothing but somebody else's lock.
const lockClass = "lock"

// lockError says who has the host.
type lockError struct{ who string }

func (e *lockError) Error() string { return "the host is being changed by " + e.who }

// FailureClass makes the step's failure one of its own kind.
func (e *lockError) FailureClass() string { return lockClass }

// lockPath is where this user's lock is; the folder is made.
func lockPath() (string, error) {
	var problems []error
	for _, root := range front.Roots() {
		err := ownFolder(root)
		if err == nil {
			return filepath.Join(root, "target.lock"), nil
		}
		problems = append(problems, err)
	}
	return "", errors.Join(problems...)
}

// take gets the lock, waiting for as long as d allows; say hears what it waits
// for. It is got once and kept.
func (t *targetLock) take(ctx context.Context, d *wire.Durable, say func(string)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file != nil || t.err != nil {
		return t.err
	}
	path, err := lockPath()
	if err != nil {
		return fmt.Errorf("lock the host: %w", err)
	}
	limit := time.Now().Add(time.Duration(d.LockWait * float64(time.Second)))
	told := time.Time{}
	for {
		f, err := filelock.Lock(path)
		if err == nil {
			t.file = f
			return t.sign(d.Run, d.Owner)
		}
		if !errors.Is(err, filelock.ErrHeld) {
			return fmt.Errorf("lock the host: %w", err)
		}
		who, run, pid := heldBy(path)
		if run != "" && run == d.Run && pid > 0 && unix.Kill(pid, 0) == nil {
			return nil // the same run, which knows this machine under another name too
		}
		if !time.Now().Before(limit) {
			t.err = &lockError{who}
			return t.err
		}
		if time.Since(told) > lockTell {
			say("waiting: the host is being changed by " + who)
			told = time.Now()
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// release lets others change the host; the next effect takes the lock again.
func (t *targetLock) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}

func (t *targetLock) sign(run, owner string) error {
	text, err := json.Marshal(holder{Run: run, Owner: owner, PID: os.Getpid(), Since: time.Now()})
	if err != nil {
		return err
	}
	if err := t.file.Truncate(0); err != nil {
		return err
	}
	_, err = t.file.WriteAt(text, 0)
	return err
}

// readHolder reads who holds the lock; the file is nobody's once it can be
// locked.
func readHolder(path string) (holder, error) {
	var h holder
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return h, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return h, err
	}
	return h, json.Unmarshal(text, &h)
}

// heldBy says who holds the lock, for people, and which run and process that is:
// until a new holder has signed, the one before.
func heldBy(path string) (who, run string, pid int) {
	h, err := readHolder(path)
	if err != nil || h.Run == "" {
		return "another run", "", 0
	}
	return fmt.Sprintf("run %.100s of %.100s since %s", h.Run, h.Owner, h.Since.Format(time.DateTime)), h.Run, h.PID
}

// locked takes the host's lock for the run, where it asked for that.
func (r *run) locked(ctx context.Context, j *job, where event.Where) error {
	d := r.hello.Durable
	if d == nil || !d.Lock {
		return nil
	}
	return r.lock.take(ctx, d, func(message string) {
		kind, body, err := event.Encode(event.Log{Where: where, Level: "notice", Message: message})
		if err == nil {
			r.emit(j.id, kind, body)
		}
	})
}
