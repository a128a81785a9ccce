// Package tool is what modules that run somebody else's program have in common:
// deadlines, results, and the reason in one line.
package tool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// Timeout ends a program that took longer than its own timeout, as opposed to
// that of its task.
type Timeout struct{ After time.Duration }

func (t Timeout) Error() string {
	return fmt.Sprintf("timed out after %s; it was killed with everything it started", t.After)
}

// Within limits ctx by a Timeout; 0 is no limit.
func Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, d, Timeout{d})
}

// Run runs cmd in the surroundings of the call: its workdir where cmd names
// none, its environment before cmd's own.
func Run(ctx context.Context, c modules.Call, cmd modules.Cmd) (facts.Answer, error) {
	if c.Machine == nil {
		return facts.Answer{}, errors.New("there is no machine to run programs on")
	}
	if cmd.Dir == "" {
		cmd.Dir = c.Workdir
	}
	if cmd.Dir != "" {
		// The kernel's answer to a missing folder names the program instead.
		if st, err := c.Machine.Stat(cmd.Dir); err != nil {
			return facts.Answer{}, fmt.Errorf("workdir %s: %w", cmd.Dir, bare(err))
		} else if !st.Mode.IsDir() {
			return facts.Answer{}, fmt.Errorf("workdir %s: it is no folder", cmd.Dir)
		}
	}
	cmd.Env = append(append([]string{}, c.Env...), cmd.Env...)
	return c.Machine.Run(ctx, cmd)
}

// bare takes the operation and path off, where the message says them already.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Variables checks and joins an env argument.
func Variables(env map[string]string) ([]string, error) {
	var out []string
	for k, v := range env {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(v, 0) {
			return nil, fmt.Errorf("env: %q cannot be a variable", k)
		}
		out = append(out, k+"="+v)
	}
	return out, nil
}

// CannotRun is the exit code a shell gives for a program it cannot run.
func CannotRun(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return 127
	}
	return 126
}

const maxReason = 500 // bytes of a program's words in an error message

// Failure says how a program failed: its code, or the signal that ended it, and
// unless silent the last thing it complained of.
func Failure(a facts.Answer, silent bool) string {
	text := fmt.Sprintf("exit code %d", a.ExitCode)
	if a.Signal != "" {
		text = "killed by " + a.Signal
	}
	if silent {
		return text
	}
	lines := strings.Split(strings.TrimSpace(string(a.Stderr)), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if len(last) > maxReason {
		last = last[:maxReason] + "…"
	}
	if last == "" || !utf8.ValidString(last) {
		return text
	}
	return text + ": " + last
}

// Result is the table that functions which run a tool return. An empty problem
// is success.
func Result(a facts.Answer, changed bool, problem string, start time.Time) map[string]any {
	m := map[string]any{
		"stdout": string(a.Stdout), "stderr": string(a.Stderr), "exit_code": a.ExitCode,
		"success": problem == "", "changed": changed, "duration": time.Since(start).Seconds(),
	}
	if problem != "" {
		m["error"] = problem
	}
	if a.Lost > 0 {
		m["truncated"] = true
	}
	return m
}
