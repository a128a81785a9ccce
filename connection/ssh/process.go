package ssh

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/internal/stream"
)

// lingerAfterExit is how long silent streams are waited for after the command
// itself has ended: a daemon it left behind may hold them open for ever.
const lingerAfterExit = 500 * time.Millisecond

// process is a command on the host. Beside the two copies of its output it
// has one goroutine.
type process struct {
	input    inputState // what stdin's methods share
	conn     *Conn
	ch       ssh.Channel
	marker   string // value of SLOTH_SESSION in its environment; empty for a Line
	out, err *stream.Output
	outDone  chan struct{}
	errDone  chan struct{}
	ctx      context.Context // the caller's; for its values once it is cancelled
	stop     func() bool     // forgets the context

	mu     sync.Mutex
	cause  error
	ended  chan struct{} // closed by end
	killed chan struct{} // closed when the host has been told
	done   chan struct{} // closed when result is set
	result error
	exited bool // its exit status has arrived
}

// Start implements connection.Conn.
//
// A Line is sent as it is, in exactly one exec request. An Argv is quoted for
// any login shell and started through env with SLOTH_SESSION set, which is how
// its process group is found when ctx is cancelled: from a second session,
// TERM, then KILL a second later. A Line's group is found by being the one
// child of the connection's sshd that fits. Where no second session is to be
// had (MaxSessions), the host is asked to signal it, which sshd refuses to do
// for root; such a command then only sees its streams close.
func (c *Conn) Start(ctx context.Context, cmd connection.Command) (connection.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := c.start(ctx, cmd)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return p, nil
}

func (c *Conn) start(ctx context.Context, cmd connection.Command) (*process, error) {
	line, marker, err := execLine(cmd)
	if err != nil {
		return nil, &connection.Error{Class: connection.ClassChannel, Host: c.e.label, Op: "start a command", Err: err}
	}
	ch, reqs, err := c.session(ctx, true)
	if err != nil {
		return nil, err
	}
	p := &process{
		conn: c, ctx: ctx, ch: ch, marker: marker, out: stream.NewOutput(), err: stream.NewOutput(),
		outDone: make(chan struct{}), errDone: make(chan struct{}),
		ended: make(chan struct{}), killed: make(chan struct{}), done: make(chan struct{}),
	}
	if err := c.adopt(p); err != nil {
		ch.Close()
		go func() { ssh.DiscardRequests(reqs); c.sessions.give() }()
		return nil, err
	}
	accepted := make(chan error, 1)
	c.wg.Go(func() { accepted <- p.exec(line, cmd.Terminal) }) // counted: adopt holds the connection
	go func() { defer close(p.outDone); p.out.Copy(ch) }()
	go func() { defer close(p.errDone); p.err.Copy(ch.Stderr()) }()
	p.stop = context.AfterFunc(ctx, func() { p.end(ctx.Err()) })
	go p.watch(reqs)

	timer := time.NewTimer(c.d.config.ChannelTimeout)
	defer timer.Stop()
	select {
	case err = <-accepted:
	case <-p.ended:
		if p.cause != nil {
			return nil, p.cause
		}
		err = <-accepted // it has come and gone already
	case <-timer.C:
		err = errors.New("the host does not answer")
	}
	if err != nil {
		err = &connection.Error{Class: connection.ClassChannel, Host: c.e.label, Op: "start a command", Err: err, Hint: "the account may not run commands (ForceCommand, login shell, quota)"}
		if c.isOver() {
			err = c.lost("start a command")
		}
		p.end(err)
		return nil, err
	}
	return p, nil
}

// exec sends the requests that start the command.
func (p *process) exec(line string, terminal bool) error {
	if terminal {
		ok, err := p.ch.SendRequest("pty-req", true, ssh.Marshal(&struct {
			Term          string
			Columns, Rows uint32
			Width, Height uint32
			Modes         string
		}{"xterm", 80, 24, 0, 0, "\x00"}))
		if err != nil {
			return err
		}
		if !ok {
			return errors.New("the host gives no terminal (PermitTTY)")
		}
	}
	if p.marker == "" {
		// sshd starts commands in the order of the requests: see kill.
		p.conn.lines.Lock()
		defer p.conn.lines.Unlock()
		p.conn.mu.Lock()
		p.conn.running = append(p.conn.running, p)
		p.conn.mu.Unlock()
	}
	ok, err := p.ch.SendRequest("exec", true, ssh.Marshal(&struct{ Command string }{line}))
	if err == nil && !ok {
		err = errors.New("the host refuses to run commands")
	}
	return err
}

// adopt ties the process to its connection; drop undoes it.
func (c *Conn) adopt(p *process) error {
	if err := c.enter("start a command"); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.procs[p] = struct{}{}
	return nil
}

func (c *Conn) drop(p *process) {
	c.mu.Lock()
	delete(c.procs, p)
	for i, r := range c.running {
		if r == p {
			c.running = append(c.running[:i], c.running[i+1:]...)
			break
		}
	}
	c.mu.Unlock()
	c.sessions.give()
	c.wg.Done()
}

// watch follows the command to its end.
func (p *process) watch(reqs <-chan *ssh.Request) {
	defer p.conn.drop(p)
	exit := errNoStatus
	linger := time.NewTicker(time.Hour)
	defer linger.Stop()
	ended := p.ended
	for open := true; open; {
		select {
		case r, ok := <-reqs:
			if !ok {
				open = false
				break
			}
			if status, isExit := exitStatus(r); isExit {
				exit = status
				p.mu.Lock()
				p.exited = true
				p.mu.Unlock()
				linger.Reset(25 * time.Millisecond)
			}
			_ = r.Reply(false, nil)
		case <-linger.C:
			if min(p.out.Idle(), p.err.Idle()) >= lingerAfterExit {
				p.ch.Close() // the host answers with its own close
				linger.Reset(time.Hour)
				p.silence(io.EOF)
				p.settle(exit)
			}
		case <-ended:
			ended = nil // once is enough
			p.silence(p.cause)
			p.settle(nil)
			go p.kill()
		}
	}
	// Everything has arrived; the readers may still be busy with it.
	for _, copied := range []chan struct{}{p.outDone, p.errDone} {
		select {
		case <-copied:
		case <-p.ended:
			p.silence(p.cause)
			<-copied
		}
	}
	p.settle(exit)
	p.stop()
	if ended != nil {
		p.end(nil) // nothing is left to kill
		close(p.killed)
	} else {
		<-p.killed
	}
}

var errNoStatus = errors.New("it ended without an exit status")

// exitStatus decodes the two requests that announce a command's end.
func exitStatus(r *ssh.Request) (error, bool) {
	switch r.Type {
	case "exit-status":
		var m struct{ Status uint32 }
		if ssh.Unmarshal(r.Payload, &m) != nil {
			return errNoStatus, true
		}
		if m.Status == 0 {
			return nil, true
		}
		return &connection.ExitError{Code: int(m.Status)}, true
	case "exit-signal":
		var m struct {
			Signal     string
			CoreDumped bool
			Error      string
			Lang       string
		}
		if ssh.Unmarshal(r.Payload, &m) != nil {
			return errNoStatus, true
		}
		return &connection.ExitError{Code: -1, Signal: clean(m.Signal)}, true
	}
	return nil, false
}

// end makes Wait return cause at once and has the command killed.
func (p *process) end(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.ended:
	default:
		p.cause = cause
		close(p.ended)
	}
}

// silence keeps late output from the readers.
func (p *process) silence(err error) {
	p.out.Stop(err)
	p.err.Stop(err)
}

func (p *process) settle(exit error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return
	default:
	}
	p.result = exit
	if p.cause != nil {
		p.result = p.cause
	} else if errors.Is(exit, errNoStatus) {
		p.result = p.conn.unexplained()
	}
	close(p.done)
}

// unexplained is the error of a command that went without a status: most
// often because the connection did.
func (c *Conn) unexplained() error {
	if c.isOver() {
		return c.lost("wait for the command")
	}
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-c.done: // x/crypto gave it up, over what the host sent
		return c.lost("wait for the command")
	case <-timer.C:
	}
	return &connection.Error{Class: connection.ClassChannel, Host: c.e.label, Op: "wait for the command", Err: errNoStatus, Hint: "the host's sshd ended the session"}
}

func (p *process) Stdin() io.WriteCloser { return (*stdin)(p) }
func (p *process) Stdout() io.Reader     { return p.out }
func (p *process) Stderr() io.Reader     { return p.err }

func (p *process) Wait() error {
	<-p.done
	return p.result
}

// stdin writes to the command. A write waits for the host's window; it gives
// up when the command is ended, which x/crypto alone would not notice.
type stdin process

var writeBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (s *stdin) Write(b []byte) (n int, err error) {
	type result struct {
		n   int
		err error
	}
	written := make(chan result, 1)
	for len(b) > 0 && err == nil && !s.over() {
		// A copy: an abandoned write must not look at the caller's buffer.
		if !s.begin() {
			return n, io.ErrClosedPipe
		}
		buf := writeBuffers.Get().(*[32 << 10]byte)
		size := copy(buf[:], b)
		if !s.conn.spawn(func() {
			n, err := s.ch.Write(buf[:size])
			writeBuffers.Put(buf)
			s.finish()
			written <- result{n, err}
		}) {
			s.finish()
			return n, io.ErrClosedPipe
		}
		select {
		case r := <-written:
			n, err = n+r.n, r.err
		case <-s.ended:
			return n, io.ErrClosedPipe
		case <-s.done:
			return n, io.ErrClosedPipe
		}
		b = b[size:]
	}
	if errors.Is(err, io.EOF) || err == nil && len(b) > 0 {
		err = io.ErrClosedPipe
	}
	return n, err
}

// over reports whether the command has been ended, or has ended.
func (s *stdin) over() bool {
	select {
	case <-s.ended:
		return true
	case <-s.done:
		return true
	default:
		return false
	}
}

// inputState keeps a write and the end of the input apart: x/crypto's channel
// lets neither see the other.
type inputState struct {
	mu     sync.Mutex
	writes int  // under way
	closed bool // no further write begins; the last one sends the end
}

func (s *stdin) begin() bool {
	s.input.mu.Lock()
	defer s.input.mu.Unlock()
	if s.input.closed {
		return false
	}
	s.input.writes++
	return true
}

func (s *stdin) finish() {
	s.input.mu.Lock()
	s.input.writes--
	last := s.input.closed && s.input.writes == 0
	s.input.mu.Unlock()
	if last && !s.over() {
		_ = s.ch.CloseWrite() // whoever closed has gone on already
	}
}

// Close sends the end of the input, behind what is being written. After the
// command's end it is no news.
func (s *stdin) Close() error {
	s.input.mu.Lock()
	again, busy := s.input.closed, s.input.writes > 0
	s.input.closed = true
	s.input.mu.Unlock()
	if again || busy || s.over() {
		return nil
	}
	err := s.ch.CloseWrite()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}

func newMarker() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
