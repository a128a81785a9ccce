package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/step"
	"github.com/sloth-runner/sloth/state/disk/filelock"
)

// breakPatience is how long a holder may take to end before it is killed.
const breakPatience = 3 * time.Second

func lockModule() modules.Module {
	return modules.Module{Name: step.LockModule, Summary: "Who changes this host.", Funcs: []modules.Func{
		{Name: "holder", Summary: "Tell who holds this user's lock on the host.", New: func() any { return &lockHolder{} }},
		{Name: "break", Summary: "End the worker that holds this user's lock.", New: func() any { return &lockBreak{} }},
	}}
}

// held tells who holds the lock of the user that this process runs as.
func held() (h holder, locked bool, err error) {
	path, err := lockPath()
	if err != nil {
		return h, false, err
	}
	locked, err = filelock.Held(path, filelock.Exclusive)
	if err != nil || !locked {
		return h, false, err
	}
	h, err = readHolder(path)
	return h, true, err
}

type lockHolder struct{}

// Query describes the holder.
func (lockHolder) Query(context.Context, facts.Viewer) ([]any, error) {
	h, locked, err := held()
	if err != nil {
		return nil, err
	}
	out := map[string]any{"locked": locked}
	if locked {
		out["run"], out["owner"], out["pid"], out["since"] = h.Run, h.Owner, int64(h.PID), h.Since.Format(time.DateTime)
	}
	return []any{out}, nil
}

type lockBreak struct{}

// PlanSafe is false: it ends a process.
func (lockBreak) PlanSafe() bool { return false }

// Run ends the holder and waits until the lock is free.
func (lockBreak) Run(ctx context.Context, _ modules.Call) ([]any, error) {
	h, locked, err := held()
	if err != nil {
		return nil, err
	}
	if !locked {
		return []any{map[string]any{"success": true, "changed": false, "locked": false}}, nil
	}
	if err := isWorker(h.PID); err != nil {
		return nil, err
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := syscall.Kill(h.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return nil, fmt.Errorf("end process %d of run %s: %w", h.PID, h.Run, err)
		}
		limit := time.Now().Add(breakPatience)
		for time.Now().Before(limit) {
			if now, locked, err := held(); err == nil && (!locked || now.PID != h.PID) {
				return []any{map[string]any{"success": true, "changed": true, "locked": false, "run": h.Run, "owner": h.Owner}}, nil
			}
			select {
			case <-time.After(lockPoll):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
	return nil, fmt.Errorf("process %d of run %s does not let go of the lock", h.PID, h.Run)
}

// isWorker refuses to end a process that is none of ours: numbers are used
// again.
func isWorker(pid int) error {
	if pid <= 1 {
		return fmt.Errorf("the lock names process %d", pid)
	}
	if runtime.GOOS != "linux" {
		return nil
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return fmt.Errorf("look at process %d: %w", pid, err)
	}
	if !strings.HasPrefix(filepath.Base(exe), "shim-") && !strings.HasPrefix(filepath.Base(exe), "sloth-shim") {
		return fmt.Errorf("process %d is %s, not a worker", pid, exe)
	}
	return nil
}
