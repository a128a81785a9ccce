package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/runner/worker/front"
	"github.com/sloth-runner/sloth/runner/worker/journal"
	"github.com/sloth-runner/sloth/state/disk/filelock"
)

// maxAge is how long the record of a run stays that nobody has asked for.
const maxAge = 14 * 24 * time.Hour

// keeper is the run's folder on this host: its journal, the lock that says its
// worker lives, and the socket on which another link comes.
type keeper struct {
	dir      string
	why      string // there is none, or one that a reboot loses
	lock     *os.File
	socket   *net.UnixListener
	accepts  sync.WaitGroup
	records  atomic.Uint64
	mu       sync.Mutex // guards what follows
	journal  *journal.Journal
	begun    map[string]bool // job/step
	deferred bool            // an end is not on the disk yet
}

// runIDs are the names that a folder may get from a controller.
var runIDs = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// claim makes this worker the one of its run, and fills w with what that came
// to.
func (r *run) claim(w *wire.Welcome) {
	h, k := r.hello, &r.keeper
	if !runIDs.MatchString(h.RunID) || len(h.Durable.Key) < 32 {
		w.Refused = "the run has no proper name or no key"
		return
	}
	k.begun = map[string]bool{}
	first := journal.Record{Kind: journal.Run, Time: time.Now().Unix(), Boot: w.BootID, RunID: h.RunID, Owner: h.Durable.Owner}
	switch dir := front.FindRun(h.RunID); {
	case dir == "":
	case !h.Durable.Resume:
		w.Refused = "there is a run of that name already, in " + dir
		return
	default:
		if k.resume(r.ctx, dir, h.Durable.Key, w) != nil {
			return // w says why
		}
	}
	if k.dir == "" {
		w.Fresh = true
		k.create(h.RunID, h.Durable.Key, first)
	}
	if k.dir != "" {
		if err := k.listen(r); err != nil {
			k.why = "it cannot be attached to: " + err.Error()
		}
	}
	w.Kept, w.Unkept = k.dir, k.why
}

// resume takes over the folder of a worker that is gone.
func (k *keeper) resume(ctx context.Context, dir string, key []byte, w *wire.Welcome) error {
	lock, err := filelock.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		w.Refused, w.Busy = "a worker of this run lives", errors.Is(err, filelock.ErrHeld)
		if !w.Busy {
			w.Refused = fmt.Sprintf("take over %s: %v", dir, err)
		}
		return err
	}
	j, records, err := journal.Open(dir, key)
	if err != nil {
		lock.Close()
		w.Refused = fmt.Sprintf("%s: %v", filepath.Join(dir, journal.Name), err)
		return err
	}
	k.dir, k.lock, k.journal = dir, lock, j
	k.records.Store(uint64(len(records)))
	w.Records = uint64(len(records))
	for _, o := range journal.Outcomes(records) {
		w.Found = append(w.Found, wire.Found{Step: o.Step, Job: o.Job, Boot: o.Boot, Ended: o.Ended, Result: o.Result})
		k.begun[o.Job+"/"+o.Step] = true
		w.Ends = w.Ends || !o.Ended && o.Boot == w.BootID && diesWithSession(ctx)
	}
	return nil
}

// create makes the folder of a new run in the first place that takes it.
func (k *keeper) create(id string, key []byte, first journal.Record) {
	var problems []error
	for i, root := range front.Roots() {
		dir := filepath.Join(root, "runs", id)
		err := k.createIn(dir, key, first)
		if err == nil {
			k.dir = dir
			k.why = ""
			if i >= front.Lasting {
				k.why = "kept in memory only: " + errors.Join(problems...).Error()
			}
			return
		}
		problems = append(problems, err)
	}
	k.why = errors.Join(problems...).Error()
}

func (k *keeper) createIn(dir string, key []byte, first journal.Record) error {
	for _, d := range []string{filepath.Dir(filepath.Dir(dir)), filepath.Dir(dir)} {
		if err := ownFolder(d); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	lock, err := filelock.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	j, err := journal.Create(dir, key, first)
	if err != nil {
		lock.Close()
		return errors.Join(err, os.RemoveAll(dir))
	}
	k.lock, k.journal = lock, j
	k.records.Store(1)
	return nil
}

// ownFolder makes a folder that is ours alone, or finds it so.
func ownFolder(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !front.Ours(dir) {
		return fmt.Errorf("%s is not a folder of ours that is closed to others", dir)
	}
	return nil
}

// listen opens the socket on which fronts bring further links.
func (k *keeper) listen(r *run) error {
	path := filepath.Join(k.dir, front.Socket)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	bind, done, err := shortPath(k.dir)
	if err != nil {
		return err
	}
	k.socket, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(bind, front.Socket), Net: "unix"})
	done()
	if err != nil {
		return err
	}
	k.socket.SetUnlinkOnClose(false) // its name may be another's by then
	k.accepts.Go(func() {
		for {
			c, err := k.socket.AcceptUnix()
			if err != nil {
				return // it was closed
			}
			if l, err := brought(c); err == nil {
				r.admit(l)
			} else {
				c.Close()
			}
		}
	})
	return nil
}

// begin records that a step is about to have an effect, once.
func (k *keeper) begin(job, step string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.journal == nil || k.begun[job+"/"+step] {
		return nil
	}
	if err := k.append(journal.Record{Kind: journal.Begin, Time: time.Now().Unix(), Boot: bootID(), Job: job, Step: step}); err != nil {
		return fmt.Errorf("record that this step begins in %s: %w", k.dir, err)
	}
	k.deferred = false
	if err := k.journal.Sync(); err != nil {
		return fmt.Errorf("record that this step begins in %s: %w", k.dir, err)
	}
	k.begun[job+"/"+step] = true
	return nil
}

// end records how a step ended that had begun. It reaches the disk with the
// next beginning, or with flush.
func (k *keeper) end(job, step string, result []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.journal == nil || !k.begun[job+"/"+step] {
		return nil
	}
	k.deferred = true
	return k.append(journal.Record{Kind: journal.End, Time: time.Now().Unix(), Boot: bootID(), Job: job, Step: step, Result: result})
}

func (k *keeper) append(r journal.Record) error {
	if err := k.journal.Append(r); err != nil {
		return err
	}
	k.records.Add(1)
	return nil
}

// flush puts the last ends on the disk, where nobody has heard of them yet.
func (k *keeper) flush(out *outlog) {
	if l, _ := out.current(); l != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.journal != nil && k.deferred {
		k.deferred = k.journal.Sync() != nil // then the step is unknown after a power failure, which is true
	}
}

// sync puts everything on the disk.
func (k *keeper) sync() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.journal != nil {
		k.deferred = k.journal.Sync() != nil // then the step may be unknown, which is true
	}
}

// close ends it all. A run whose controller knows everything leaves nothing
// behind.
func (k *keeper) close(known bool) {
	if k.socket != nil {
		k.socket.Close()
		k.accepts.Wait()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.journal == nil {
		return
	}
	k.journal.Close()
	if known {
		_ = os.RemoveAll(k.dir) // what is left goes with age
	}
	k.lock.Close()
	prune(filepath.Dir(k.dir), time.Now().Add(-maxAge))
}

// prune removes runs that nobody has asked for since before.
func prune(runs string, before time.Time) {
	entries, err := os.ReadDir(runs)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(runs, e.Name())
		st, err := os.Lstat(filepath.Join(dir, journal.Name))
		if err != nil || !st.Mode().IsRegular() || st.ModTime().After(before) {
			continue
		}
		lock, err := filelock.Lock(filepath.Join(dir, "lock"))
		if err != nil {
			continue // its worker lives
		}
		_ = os.RemoveAll(dir) // the next run tries again
		lock.Close()
	}
}
