//go:build linux || darwin

package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

const (
	termGrace = 2 * time.Second        // between TERM and KILL
	tailGrace = 200 * time.Millisecond // for output once the program has ended
	headBytes = 12 << 20               // of the output kept in memory, from the start
	tailBytes = 4 << 20                // and from the end
	maxLate   = 2 << 20                // taken after the end; pipes hold 1 MiB at most
)

// Query runs a program that only reports, in the C locale so that its words
// can be read.
func (m *machine) Query(ctx context.Context, argv ...string) (facts.Answer, error) {
	return m.Run(ctx, modules.Cmd{Argv: argv, Env: []string{"LC_ALL=C"}})
}

// Run starts the program in a process group of its own and returns when it
// ends, even if something it left behind holds its output open. When ctx ends
// first the whole group gets TERM and after c.Grace KILL, and the error wraps the
// cause. Of each output 16 MiB are kept: the start and the end, with a line in
// between that says what is missing. A program killed by a signal has the exit
// code 128+signal, as in a shell.
func (m *machine) Run(ctx context.Context, c modules.Cmd) (facts.Answer, error) {
	if len(c.Argv) == 0 {
		return facts.Answer{}, errors.New("run: no program is named")
	}
	if ctx.Err() != nil {
		return facts.Answer{}, fmt.Errorf("run %s: %w", c.Argv[0], context.Cause(ctx))
	}
	path, err := m.program(c)
	if err != nil {
		return facts.Answer{}, fmt.Errorf("run %s: %w", c.Argv[0], err)
	}
	who, err := m.become(c.User)
	if err != nil {
		return facts.Answer{}, fmt.Errorf("run %s %w", c.Argv[0], err)
	}
	cmd := &exec.Cmd{
		Path: path, Args: c.Argv, Dir: c.Dir, Stdin: c.Stdin, Env: who.environment(c.Env),
		SysProcAttr: who.attr,
		// Bounds the copying of Stdin once the program has ended.
		WaitDelay: tailGrace,
	}
	var out, errOut *pipe
	if out, err = newPipe("stdout", c.Output); err == nil {
		defer out.close()
		if errOut, err = newPipe("stderr", c.Output); err == nil {
			defer errOut.close()
			cmd.Stdout, cmd.Stderr = out.w, errOut.w
			err = cmd.Start()
		}
	}
	if err != nil {
		return facts.Answer{}, fmt.Errorf("run %s: %w", c.Argv[0], err)
	}
	var readers sync.WaitGroup
	readers.Go(out.drain)
	readers.Go(errOut.drain)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	grace := c.Grace
	if grace <= 0 {
		grace = termGrace
	}
	waitErr, stopped := await(ctx, cmd.Process.Pid, ended, grace)
	out.finish()
	errOut.finish()
	readers.Wait()
	answer := facts.Answer{Stdout: out.kept.bytes(), Stderr: errOut.kept.bytes(), ExitCode: exitCode(cmd.ProcessState)}
	answer.Lost = out.kept.lost() + errOut.kept.lost()
	answer.Signal = signalName(cmd.ProcessState)
	if stopped {
		return answer, fmt.Errorf("run %s: %w", c.Argv[0], context.Cause(ctx))
	}
	var exit *exec.ExitError
	if waitErr != nil && !errors.As(waitErr, &exit) && !errors.Is(waitErr, exec.ErrWaitDelay) {
		return answer, fmt.Errorf("run %s: %w", c.Argv[0], waitErr)
	}
	return answer, nil
}

// await waits for the program; when ctx ends first it ends the program's group.
func await(ctx context.Context, pid int, ended <-chan error, patience time.Duration) (err error, stopped bool) {
	select {
	case err := <-ended:
		return err, false
	case <-ctx.Done():
	}
	_ = syscall.Kill(-pid, syscall.SIGTERM)
	grace := time.NewTimer(patience)
	defer grace.Stop()
	// The group may outlive its leader: poll it until nobody is left.
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	reaped := false
	for {
		select {
		case err = <-ended:
			reaped, ended = true, nil
		case <-poll.C:
		case <-grace.C:
			_ = syscall.Kill(-pid, syscall.SIGKILL)
			if !reaped {
				err = <-ended
			}
			return err, true
		}
		if reaped && errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH) {
			return err, true
		}
	}
}

// program finds what Argv[0] names, by the PATH the program will have.
func (m *machine) program(c modules.Cmd) (string, error) {
	name := c.Argv[0]
	if filepath.Base(name) != name {
		if !filepath.IsAbs(name) && c.Dir != "" {
			return name, nil // relative to Dir, which the child enters first
		}
		return exec.LookPath(name)
	}
	return m.LookPath(name)
}

// signalName is the signal that ended a program, or empty.
func signalName(st *os.ProcessState) string {
	if st == nil {
		return ""
	}
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return unix.SignalName(ws.Signal())
	}
	return ""
}

func exitCode(st *os.ProcessState) int {
	if st == nil {
		return -1
	}
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return st.ExitCode()
}

// pipe takes one output of a program.
type pipe struct {
	name   string
	r, w   *os.File
	output func(string, []byte)
	kept   kept
	ended  atomic.Bool
}

func newPipe(name string, output func(string, []byte)) (*pipe, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &pipe{name: name, r: r, w: w, output: output}, nil
}

// drain reads until nobody holds the pipe any more, or the program has ended
// and tailGrace was spent waiting for more. Only the waiting counts: a slow
// output must not lose what is in the pipe already.
func (p *pipe) drain() {
	buf := make([]byte, 32<<10)
	left, late := tailGrace, int64(0)
	for {
		ended := p.ended.Load()
		if ended {
			_ = p.r.SetReadDeadline(time.Now().Add(left))
		}
		start := time.Now()
		n, err := p.r.Read(buf)
		waited := time.Since(start)
		if n > 0 {
			p.kept.write(buf[:n])
			if p.output != nil {
				p.output(p.name, buf[:n:n])
			}
		}
		if ended {
			left -= waited
			late += int64(n)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && !ended: // finish woke us
		case err != nil, left <= 0, late > maxLate:
			return
		}
	}
}

// finish tells drain that the program has ended.
func (p *pipe) finish() {
	p.w.Close()
	p.ended.Store(true)
	_ = p.r.SetReadDeadline(time.Now())
}

func (p *pipe) close() {
	p.w.Close()
	p.r.Close()
}

// kept is the start and the end of an output.
type kept struct {
	head  []byte
	tail  []byte // a ring, once it is full
	at    int    // where the ring begins
	total int64
}

func (k *kept) write(data []byte) {
	k.total += int64(len(data))
	if room := headBytes - len(k.head); room > 0 {
		n := min(room, len(data))
		k.head = append(k.head, data[:n]...)
		data = data[n:]
	}
	if room := tailBytes - len(k.tail); room > 0 {
		n := min(room, len(data))
		k.tail = append(k.tail, data[:n]...)
		data = data[n:]
	}
	for len(data) > 0 {
		n := copy(k.tail[k.at:], data)
		k.at = (k.at + n) % len(k.tail)
		data = data[n:]
	}
}

// lost is how many bytes are not kept.
func (k *kept) lost() int64 { return k.total - int64(len(k.head)) - int64(len(k.tail)) }

func (k *kept) bytes() []byte {
	lost := k.lost()
	if len(k.tail) == 0 {
		return k.head
	}
	out := k.head
	if lost > 0 {
		out = fmt.Appendf(out, "\n... [%d bytes left out] ...\n", lost)
	}
	return append(append(out, k.tail[k.at:]...), k.tail[:k.at]...)
}
