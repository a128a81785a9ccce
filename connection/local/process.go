package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/internal/stream"
)

// lingerAfterExit is how long output that nobody writes any more is waited
// for once the command itself has ended: a daemon it left behind may hold the
// streams open for ever.
const lingerAfterExit = 500 * time.Millisecond

type process struct {
	conn     *Conn
	ctx      context.Context
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	out, err *stream.Output
	files    []*os.File // our ends

	mu     sync.Mutex
	exited bool // reaped: the pid may already be somebody else's
	cause  error
	ended  chan struct{} // closed by end
	done   chan struct{} // closed when result is set
	result error
}

// Start implements connection.Conn. A Line goes to $SHELL, or /bin/sh.
func (c *Conn) Start(ctx context.Context, cmd connection.Command) (connection.Process, error) {
	op := "start command"
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if (len(cmd.Argv) > 0) == (cmd.Line != "") {
		return nil, &connection.Error{Class: connection.ClassChannel, Host: "localhost", Op: op, Err: errors.New("exactly one of Argv and Line must be set")}
	}
	if err := c.enter(op); err != nil {
		return nil, err
	}
	argv := cmd.Argv
	if cmd.Line != "" {
		shell := os.Getenv("SHELL")
		if shell == "" {
			shell = "/bin/sh"
		}
		argv = []string{shell, "-c", cmd.Line}
	}
	p := &process{
		conn: c, ctx: ctx, cmd: exec.Command(argv[0], argv[1:]...),
		out: stream.NewOutput(), err: stream.NewOutput(),
		ended: make(chan struct{}), done: make(chan struct{}),
	}
	if err := p.start(cmd.Terminal); err != nil {
		c.leave()
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	return p, nil
}

func (p *process) start(terminal bool) error {
	theirs, err := p.streams(terminal)
	if err != nil {
		closeAll(append(theirs, p.files...))
		return err
	}
	// A lock over the start: Close must find the process or refuse it.
	p.conn.mu.Lock()
	if p.conn.closed {
		err = errClosed
	} else if err = p.cmd.Start(); err == nil {
		p.conn.procs[p] = struct{}{}
	}
	p.conn.mu.Unlock()
	closeAll(theirs)
	if err != nil {
		closeAll(p.files)
		return err
	}
	var copies sync.WaitGroup
	copies.Go(func() { p.out.Copy(hangup{p.files[0]}) })
	if terminal {
		p.err.Stop(io.EOF)
	} else {
		copies.Go(func() { p.err.Copy(p.files[1]) })
	}
	drained := make(chan struct{})
	go func() { copies.Wait(); close(drained) }()
	go p.watch()
	go p.reap(drained)
	return nil
}

// streams connects the command: pipes, or a pseudo-terminal. It returns the
// command's ends; ours are in p.files, readers first.
func (p *process) streams(terminal bool) ([]*os.File, error) {
	if terminal {
		master, slave, err := openTerminal()
		if err != nil {
			return nil, err
		}
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		p.files, p.stdin = []*os.File{master}, &terminalInput{f: master}
		return []*os.File{slave}, nil
	}
	// A session of its own, so that the whole group can be ended and no
	// terminal of ours reaches it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var theirs, ours []*os.File
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			p.files = ours
			return theirs, err
		}
		theirs, ours = append(theirs, w), append(ours, r)
	}
	// Standard input flows the other way.
	theirs[2], ours[2] = ours[2], theirs[2]
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Stdin = theirs[0], theirs[1], theirs[2]
	p.files, p.stdin = ours, &input{f: ours[2]}
	return theirs, nil
}

// watch ends the command when its context does.
func (p *process) watch() {
	select {
	case <-p.ctx.Done():
		p.end(p.ctx.Err())
	case <-p.done:
	}
}

// end makes Wait return cause at once and has the command's group ended.
func (p *process) end(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil {
		p.cause = cause
		close(p.ended)
	}
}

// terminate ends the command's process group: TERM, and KILL for what is left
// after a second.
func (p *process) terminate() {
	group := -p.cmd.Process.Pid
	p.mu.Lock()
	if p.exited { // the number may belong to somebody else by now
		p.mu.Unlock()
		return
	}
	_ = syscall.Kill(group, syscall.SIGTERM)
	p.mu.Unlock()
	// While the group has members its number is not given away; between two
	// looks 10 ms apart nobody gets it, either.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		if errors.Is(syscall.Kill(group, 0), syscall.ESRCH) {
			return
		}
		<-tick.C
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
}

// reap waits for the command, then for its output, and settles the result.
func (p *process) reap(drained <-chan struct{}) {
	defer p.conn.leave()
	exited := make(chan error, 1)
	go func() { exited <- p.wait() }()
	var err error
	select {
	case err = <-exited:
		p.linger(drained)
	case <-p.ended:
		p.stop()
		p.settle(nil)
		p.terminate()
		err = <-exited
	}
	p.stop()
	closeAll(p.files)
	<-drained
	p.settle(err)
	p.conn.mu.Lock()
	delete(p.conn.procs, p)
	p.conn.mu.Unlock()
}

// wait is cmd.Wait, and keeps end from signalling a pid that is free again.
func (p *process) wait() error {
	if !blockUntilDead(p.cmd.Process.Pid) {
		err := p.cmd.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.exited = true
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exited = true
	return p.cmd.Wait()
}

// linger waits until the readers have everything, unless the streams are held
// open by somebody who has nothing to say.
func (p *process) linger(drained <-chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	exit := time.Now()
	for {
		select {
		case <-drained:
			return
		case <-p.ended:
			return
		case <-tick.C:
			idle := min(p.out.Idle(), p.err.Idle(), time.Since(exit))
			if idle >= lingerAfterExit {
				return
			}
		}
	}
}

// stop shuts the readers up.
func (p *process) stop() {
	err := io.EOF
	p.mu.Lock()
	if p.cause != nil {
		err = p.cause
	}
	p.mu.Unlock()
	p.out.Stop(err)
	p.err.Stop(err)
}

func (p *process) settle(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return
	default:
	}
	p.result = err
	var exit *exec.ExitError
	switch {
	case p.cause != nil:
		p.result = p.cause
		if errors.Is(p.cause, errClosed) {
			p.result = &connection.Error{Class: connection.ClassTCP, Host: "localhost", Op: "wait for command", Err: errClosed}
		}
	case errors.As(err, &exit):
		e := &connection.ExitError{Code: exit.ExitCode()}
		if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() {
			e.Code, e.Signal = -1, strings.TrimPrefix(unix.SignalName(st.Signal()), "SIG")
		}
		p.result = e
	}
	close(p.done)
}

func (p *process) Stdin() io.WriteCloser { return p.stdin }
func (p *process) Stdout() io.Reader     { return p.out }
func (p *process) Stderr() io.Reader     { return p.err }

func (p *process) Wait() error {
	<-p.done
	return p.result
}

// input is the command's standard input; closing it twice is no error.
type input struct {
	f    *os.File
	once sync.Once
}

func (i *input) Write(b []byte) (int, error) { return i.f.Write(b) }

func (i *input) Close() (err error) {
	i.once.Do(func() { err = i.f.Close() })
	return err
}

// terminalInput closes with an end-of-file character: the other direction of
// the terminal must stay open.
type terminalInput struct {
	f    *os.File
	once sync.Once
}

func (i *terminalInput) Write(b []byte) (int, error) { return i.f.Write(b) }

func (i *terminalInput) Close() (err error) {
	i.once.Do(func() { _, err = i.f.Write([]byte{4}) })
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
