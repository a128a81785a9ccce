package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/runner/worker/front"
)

// lingering is set for a worker that has left its session.
const lingering = "SLOTH_LINGERING"

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

// endsSessions reports whether logind ends what a session leaves behind; without
// logind there is nothing to fear.
func endsSessions(ctx context.Context) bool {
	kills, err := busctl(ctx, "get-property", "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "KillUserProcesses")
	return err == nil && strings.TrimSpace(kills) == "b true"
}

// diesWithSession reports whether this worker ends with its login.
func diesWithSession(ctx context.Context) bool {
	return os.Geteuid() != 0 && inSession(os.Getpid()) && endsSessions(ctx)
}

// startLingering runs the worker as a child in a scope of the user's own systemd,
// which outlives the session where the user lingers, and waits for it. It reports
// false where that is of no use or not to be had: the streams are then untouched.
func startLingering(ctx context.Context, args []string) (code int, ran bool) {
	if os.Geteuid() == 0 || os.Getenv(lingering) != "" {
		return 0, false
	}
	name := os.Getenv("LOGNAME")
	if _, err := os.Stat(filepath.Join("/var/lib/systemd/linger", filepath.Base(name))); name == "" || err != nil || !diesWithSession(ctx) {
		return 0, false
	}
	self, err := os.Executable()
	if err != nil {
		return 0, false
	}
	fd, err := unix.FcntlInt(front.SocketFD, unix.F_DUPFD_CLOEXEC, front.SocketFD+1)
	if err != nil {
		return 0, false
	}
	streams := os.NewFile(uintptr(fd), "worker")
	defer streams.Close()
	cmd := exec.CommandContext(ctx, "systemd-run", append([]string{"--user", "--scope", "--quiet", "--collect", "--", self, "worker"}, args...)...)
	cmd.Env = append(os.Environ(), lingering+"=1", fmt.Sprintf("XDG_RUNTIME_DIR=/run/user/%d", os.Getuid()))
	cmd.ExtraFiles = []*os.File{streams}
	cmd.Stderr = os.Stderr
	if cmd.Run() == nil {
		return 0, true
	}
	if n, _, err := unix.Recvfrom(front.SocketFD, make([]byte, 1), unix.MSG_PEEK); err == nil && n > 0 {
		return 0, false // nobody took the streams
	}
	return max(cmd.ProcessState.ExitCode(), 1), true
}

// moveToScope gives processes a scope of their own, if logind would end them.
func moveToScope(ctx context.Context, pids []int) error {
	if !endsSessions(ctx) {
		return nil
	}
	// StartTransientUnit(name, mode, properties, auxiliary units), with the one
	// property PIDs.
	args := append([]string{}, systemdManager...)
	args = append(args, "StartTransientUnit", "ssa(sv)a(sa(sv))", fmt.Sprintf("sloth-%d.scope", os.Getpid()), "fail", "1", "PIDs", "au", strconv.Itoa(len(pids)))
	for _, p := range pids {
		args = append(args, strconv.Itoa(p))
	}
	if _, err := busctl(ctx, append(args, "0")...); err != nil {
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
