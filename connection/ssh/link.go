package ssh

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sloth-runner/sloth/connection"
)

// namedAddr is an address that is a text and nothing else.
type namedAddr string

func (a namedAddr) Network() string { return "ssh" }
func (a namedAddr) String() string  { return string(a) }

// proxy is a ProxyCommand: its standard streams are the connection. It is
// started through a shell, as OpenSSH does, and ended with its whole group.
type proxy struct {
	net.Addr
	cmd    *exec.Cmd
	in     *os.File // we write
	out    *os.File // we read
	stderr tail
	done   chan struct{}
	once   sync.Once
}

func startProxy(e *endpoint) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &connection.Error{Class: connection.ClassTCP, Host: e.label, Op: "start ProxyCommand", Err: err, Hint: "the command was: " + e.command}
	}
	shell := os.Getenv("SHELL")
	if shell == "" {
		shell = "/bin/sh"
	}
	p := &proxy{Addr: namedAddr(e.address()), done: make(chan struct{})}
	// exec: OpenSSH does so, and the group then holds no idle shell.
	p.cmd = exec.Command(shell, "-c", "exec "+e.command)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = 100 * time.Millisecond // a child that keeps stderr open holds nobody up
	theirIn, in, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		theirIn.Close()
		in.Close()
		return fail(err)
	}
	p.in, p.out = in, out
	p.cmd.Stdin, p.cmd.Stdout = theirIn, theirOut
	err = p.cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		in.Close()
		out.Close()
		return fail(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *proxy) Read(b []byte) (int, error) { return p.out.Read(b) }

func (p *proxy) Write(b []byte) (int, error) { return p.in.Write(b) }

// Close ends the command's process group and waits for it.
func (p *proxy) Close() error {
	p.once.Do(func() {
		p.in.Close()
		p.out.Close()
		// Most end with their streams, and what they say last is worth having.
		grace := time.NewTimer(100 * time.Millisecond)
		defer grace.Stop()
		select {
		case <-p.done:
			return // and its pid may be somebody else's
		case <-grace.C:
		}
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
		timer := time.AfterFunc(time.Second, func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
		<-p.done
		timer.Stop()
	})
	return nil
}

// complaint is what the command has said about its end, which is waited for a
// moment.
func (p *proxy) complaint() string {
	timer := time.NewTimer(500 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
	return clean(p.stderr.String())
}

func (p *proxy) LocalAddr() net.Addr                { return namedAddr("proxy") }
func (p *proxy) RemoteAddr() net.Addr               { return p.Addr }
func (p *proxy) SetDeadline(t time.Time) error      { return os.ErrNoDeadline }
func (p *proxy) SetReadDeadline(t time.Time) error  { return os.ErrNoDeadline }
func (p *proxy) SetWriteDeadline(t time.Time) error { return os.ErrNoDeadline }

// tail keeps the last kilobyte of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 1024 {
		t.b = bytes.Clone(t.b[len(t.b)-1024:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
