package engine

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// killAfter is the time between TERM and KILL for the process group of a
// command whose context ended.
const killAfter = 2 * time.Second

// shellProcess is one command line under /bin/sh, leading a process group of its own.
type shellProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser // for io.popen(…, "w")
	stdout *bufio.Reader  // for io.popen(…, "r")
	pipe   io.Closer
	done   func()

	once   sync.Once
	code   int
	signal bool
	err    error
}

// startShell starts a command line. out and errOut receive its output; a nil
// out leaves stdout to be read. mode is nil, or "r" or "w" of io.popen.
func (vm *VM) startShell(ctx context.Context, line string, set map[string]string, mode *string, out, errOut func([]byte)) (*shellProcess, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	cmd.Env = vm.environ(ctx, set)
	cmd.Dir = vm.path(ctx, "")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &shellProcess{cmd: cmd}
	// A child that outlives its group's leader may hold the pipes open.
	cmd.WaitDelay = killAfter + time.Second
	killed := make(chan struct{})
	var force *time.Timer
	cmd.Cancel = func() error {
		group := -cmd.Process.Pid
		err := syscall.Kill(group, syscall.SIGTERM)
		force = time.AfterFunc(killAfter, func() {
			_ = syscall.Kill(group, syscall.SIGKILL)
			close(killed)
		})
		return err
	}
	p.done = func() {
		if force == nil {
			return
		}
		// What ignores TERM outlives the leader: kill the rest of the group too.
		if force.Stop() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		} else {
			<-killed
		}
	}
	cmd.Stderr = writerFunc(errOut)
	if out != nil {
		cmd.Stdout = writerFunc(out)
	}
	if mode != nil {
		var err error
		if *mode == "w" {
			p.stdin, err = cmd.StdinPipe()
		} else {
			var r io.ReadCloser
			r, err = cmd.StdoutPipe()
			p.stdout, p.pipe = bufio.NewReader(r), r
		}
		if err != nil {
			return nil, err
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// wait returns the exit code, or the number of the signal that ended it. The
// error is the context's cause when that ended it.
func (p *shellProcess) wait() (code int, signal bool, err error) {
	p.once.Do(func() {
		err := p.cmd.Wait()
		p.done()
		state := p.cmd.ProcessState
		if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			p.code, p.signal = int(status.Signal()), true
		} else {
			p.code = state.ExitCode()
		}
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
			p.err = err
		}
	})
	return p.code, p.signal, p.err
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

func errno(err error) int {
	var n syscall.Errno
	if errors.As(err, &n) {
		return int(n)
	}
	return 1
}

// emptyInput is what a script reads where nobody gave it an input.
type emptyInput struct{}

func (emptyInput) Read([]byte) (int, error) { return 0, io.EOF }
