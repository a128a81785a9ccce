package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sloth-runner/sloth/state/disk/filelock"
	"github.com/sloth-runner/sloth/state/disk/private"
	"github.com/sloth-runner/sloth/state/stack"
)

// envWithin says to what a run starts which run of a folder's stack it is part
// of: the pid that holds it and the lock's file.
const envWithin = "SLOTH_WITHIN"

// holdFolder runs fn while no other run uses the stack of a folder. It waits for
// one that goes on: nobody chose that stack. The lock is of this machine, as the
// folder is, and ends with the process. A run that a task of the holder starts
// in the same folder is part of it.
func (v *invocation) holdFolder(ctx context.Context, name string, fn func(context.Context) error) error {
	home, err := stateHome()
	if err != nil {
		return err
	}
	path := filepath.Join(home, "held", stack.IDOf(name))
	if within(path) {
		return fn(ctx)
	}
	err = private.Folder(filepath.Dir(path))
	var f *os.File
	if err == nil {
		f, err = filelock.Open(path)
	}
	if errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission) {
		v.fleet.warn(fmt.Sprintf("nothing keeps other runs out of the stack of this folder: %v. Set XDG_STATE_HOME to a folder that can be written", err))
		return fn(ctx)
	}
	if err != nil {
		return fmt.Errorf("hold the stack of this folder: %w", err)
	}
	defer f.Close()
	if err := v.takeFolder(ctx, path, f); err != nil {
		return err
	}
	if err := filelock.Sign(f, fmt.Sprintf("%s, %s, since %s", v.state.what, me(), time.Now().Format(time.TimeOnly))); err != nil {
		return fmt.Errorf("hold the stack of this folder: %w", err)
	}
	if err := os.Setenv(envWithin, fmt.Sprintf("%d %s", os.Getpid(), path)); err != nil {
		return err
	}
	defer func() { _ = os.Unsetenv(envWithin) }()
	return fn(ctx)
}

// takeFolder locks f, and says for whom it waits.
func (v *invocation) takeFolder(ctx context.Context, path string, f *os.File) error {
	err := filelock.Try(f, filelock.Exclusive)
	if !errors.Is(err, filelock.ErrHeld) {
		return err
	}
	patience := hostLockWait
	if v.flags.waitLock > 0 {
		patience = v.flags.waitLock
	}
	fmt.Fprintf(v.app.stderr, "sloth: the stack of this folder is in use by %s, waiting\n", folderHolder(path))
	err = filelock.Wait(ctx, f, filelock.Exclusive, patience)
	if errors.Is(err, filelock.ErrHeld) {
		v.app.printError(withHint(fmt.Errorf("the stack of this folder is in use by %s; gave up after %s", folderHolder(path), patience),
			"One run at a time changes a stack. Wait longer with --wait-lock 30m, or use a stack of its own with --stack NAME."))
		return exitError{exitLocked}
	}
	return err
}

func folderHolder(path string) string {
	h := filelock.HolderOf(path)
	if h.PID == 0 || h.What == "" {
		return h.String()
	}
	what, rest, _ := strings.Cut(h.What, ", ")
	return fmt.Sprintf("%s, pid %d, %s", what, h.PID, rest)
}

// within reports whether this process is part of the run that holds path.
func within(path string) bool {
	pid, of, _ := strings.Cut(os.Getenv(envWithin), " ")
	n, err := strconv.Atoi(pid)
	if err != nil || of != path || filelock.HolderOf(path).PID != n {
		return false
	}
	held, err := filelock.Held(path, filelock.Exclusive)
	return err == nil && held
}
