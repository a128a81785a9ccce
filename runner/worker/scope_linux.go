package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// systemdManager is how busctl calls systemd's manager.
var systemdManager = []string{"call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"}

// busTimeout bounds each question to systemd.
const busTimeout = 5 * time.Second

// leaveSession moves this executor of root, and the worker that it serves, out of
// the login session where logind ends everything in a session that is over. The
// worker alone may not do that.
func (r *run) leaveSession() error {
	d := r.hello.Durable
	if r.role != roleExecutor || os.Geteuid() != 0 || d == nil || d.Worker <= 0 || !inSession(d.Worker) {
		return nil
	}
	return moveToScope(r.ctx, lineage(d.Worker))
}

// inSession reports whether a process belongs to a session of logind.
func inSession(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && strings.Contains(string(b), "/session-") && strings.Contains(string(b), ".scope")
}

// lineage are this process and those above it up to the worker: sudo and its kin
// carry what the two say to each other.
func lineage(worker int) []int {
	pids := []int{os.Getpid()}
	for p := os.Getppid(); p > 1 && len(pids) < 8; p = parent(p) {
		pids = append(pids, p)
		if p == worker {
			break
		}
	}
	return pids
}

// parent is the process above pid; 0: it is gone.
func parent(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name stands in brackets and may hold anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	p, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return p
}

// moveToScope gives processes a scope of their own, if logind would end them.
func moveToScope(ctx context.Context, pids []int) error {
	kills, err := busctl(ctx, "get-property", "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "KillUserProcesses")
	if err != nil || strings.TrimSpace(kills) != "b true" {
		return nil //nolint:nilerr // without logind there is nothing to fear
	}
	// StartTransientUnit(name, mode, properties, auxiliary units), with the one
	// property PIDs.
	args := append([]string{}, systemdManager...)
	args = append(args, "StartTransientUnit", "ssa(sv)a(sa(sv))", fmt.Sprintf("sloth-%d.scope", os.Getpid()), "fail", "1", "PIDs", "au", strconv.Itoa(len(pids)))
	for _, p := range pids {
		args = append(args, strconv.Itoa(p))
	}
	if _, err = busctl(ctx, append(args, "0")...); err != nil {
		return err
	}
	// The answer is that it will be done.
	for end := time.Now().Add(busTimeout); inSession(os.Getpid()); {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if time.Now().After(end) {
			return errors.New("systemd did not move the worker out of the session")
		}
	}
	return nil
}

func busctl(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "busctl", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("busctl %s: %w: %.200s", args[0], err, out)
	}
	return string(out), nil
}
