package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/runlog"
	"github.com/sloth-runner/sloth/state/disk/private"
)

// How many runs are remembered, and for how long.
const (
	keepRuns   = 200
	keepRunFor = 90 * 24 * time.Hour
)

// hostLockWait is how long a run waits for another that changes the same host.
const hostLockWait = 5 * time.Minute

// runsHome is where the records of runs are.
func runsHome() (string, error) {
	home, err := stateHome()
	return filepath.Join(home, "runs"), err
}

// openRecord gives the run a record, or goes on with the one that --resume
// names.
func (v *invocation) openRecord(o *runner.Options) error {
	o.LockWait = hostLockWait
	if v.flags.waitLock > 0 {
		o.LockWait = v.flags.waitLock
	}
	o.RerunUnknown = v.flags.rerunUnknown
	if v.checks != nil {
		o.LockWait = -1 // a test changes nothing
		return nil
	}
	if v.flags.check {
		return nil
	}
	root, err := runsHome()
	if err != nil {
		return err
	}
	if err := v.privateState(); err != nil {
		return err
	}
	owner := owner()
	if v.flags.resume != "" {
		return v.resumeRecord(o, root, owner)
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	head := runlog.Head{RunID: o.RunID, Began: time.Now(), What: v.what, File: v.file, Hash: v.scriptHash, Argv: v.shownArgs(), Again: v.app.args, Owner: owner, Key: key}
	if head.Dir, err = os.Getwd(); err != nil {
		return err
	}
	log, err := runlog.Create(root, head)
	var open *private.Error
	switch {
	case errors.As(err, &open):
		return fmt.Errorf("nothing was begun: %w", err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, os.ErrPermission):
		v.fleet.warn(fmt.Sprintf("this run cannot be written down, and not be resumed: %v. Set XDG_STATE_HOME to a folder that can be written", err))
		return nil
	case err != nil:
		return withHint(fmt.Errorf("begin the record of the run: %w", err), "Nothing was begun. Make room in "+root+", or set XDG_STATE_HOME to another folder.")
	}
	o.Record, o.Key, o.Owner, v.record = log, key, owner, log
	return nil
}

// privateState refuses to begin a run whose state others can get at: it could
// remember nothing of it.
func (v *invocation) privateState() error {
	place, err := v.app.findState(v.state.dir)
	if err != nil || place.etcd != nil {
		return err
	}
	var open *private.Error
	if err := private.Check(place.dir); errors.As(err, &open) {
		return fmt.Errorf("nothing was begun: state %w", err)
	}
	return nil // what is not there yet is made for us alone
}

// shownArgs is the command line as it is written down: parameters without their
// values, which may be secrets that nothing has told of yet.
func (v *invocation) shownArgs() []string {
	out := withoutValues(v.app.args)
	for i, arg := range out {
		out[i] = v.app.redactor().String(arg)
	}
	return out
}

func (v *invocation) resumeRecord(o *runner.Options, root, owner string) error {
	dir, err := runlog.Find(root, v.flags.resume)
	if err != nil {
		return withHint(err, "sloth runs list names them.")
	}
	story, err := runlog.Read(dir)
	if err != nil {
		return damagedRecord(err)
	}
	id := story.Head.RunID
	if story.Running != 0 {
		return withHint(fmt.Errorf("run %s still goes on, as process %d", id, story.Running), "Watch it with `sloth runs attach "+id+"`.")
	}
	if e := story.End; e != nil && e.Status == event.Success {
		return withHint(fmt.Errorf("run %s ended well at %s; there is nothing to resume", id, e.Time.Format(time.DateTime)), "Apply the file again for a new run.")
	}
	log, story, err := runlog.Resume(dir, owner)
	if errors.Is(err, runlog.ErrRunning) {
		return withHint(fmt.Errorf("run %s still goes on", id), "Watch it with `sloth runs attach "+id+"`.")
	}
	if err != nil {
		return damagedRecord(err)
	}
	if v.scriptHash != story.Head.Hash {
		v.fleet.warn(v.file + " has changed since the run began: what is unchanged in it is not run again, what is new or changed is")
	}
	o.RunID, o.Record, o.Key, o.Owner, o.Before, v.record = id, log, story.Head.Key, owner, story, log
	return nil
}

func damagedRecord(err error) error {
	if errors.Is(err, runlog.ErrDamaged) || errors.Is(err, runlog.ErrVersion) {
		return withHint(err, "Nothing was executed. Apply the file anew; remove the folder when nobody needs it any more.")
	}
	return err
}

// closeRecord writes how the run ended.
func (v *invocation) closeRecord(left bool) error {
	if v.record == nil {
		return nil
	}
	var end *runlog.End
	if !left {
		end = &runlog.End{Time: time.Now(), Status: v.ended.Status, Code: v.ended.ExitCode}
	}
	err := v.record.Close(end)
	if root, e := runsHome(); e == nil {
		_ = runlog.Prune(root, keepRuns, time.Now().Add(-keepRunFor)) // the next run tries again
	}
	return err
}

// owner is who runs this and where, for others who wait or look.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "somewhere"
	}
	return me() + "@" + host
}

func fileHash(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// resumeAsBefore runs the command of an earlier run again, to go on with it.
func (a *app) resumeAsBefore(ctx context.Context, id string, rerunUnknown bool) error {
	root, err := runsHome()
	if err != nil {
		return err
	}
	dir, err := runlog.Find(root, id)
	if err != nil {
		return withHint(err, "sloth runs list names them.")
	}
	story, err := runlog.Read(dir)
	if err != nil {
		return damagedRecord(err)
	}
	if err := os.Chdir(story.Head.Dir); err != nil {
		return withHint(fmt.Errorf("go to where the run was begun: %w", err), "Give the file and the flags again, with --resume.")
	}
	args := slices.DeleteFunc(slices.Clone(story.Head.Again), func(s string) bool { return s == "--rerun-unknown" || strings.HasPrefix(s, "--resume=") })
	args = append(args, "--resume="+story.Head.RunID)
	if rerunUnknown {
		args = append(args, "--rerun-unknown")
	}
	again := newRoot(a)
	a.args = args
	again.SetArgs(args)
	return again.ExecuteContext(ctx)
}
