package ssh

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

var errClosed = errors.New("the connection is closed")

// Conn is one SSH connection. An idle one costs one goroutine beside x/crypto's
// three, and its keep-alive runs on a timer.
type Conn struct {
	d      *Dialer
	e      *endpoint
	wire   *wire
	client ssh.Conn

	done    chan struct{} // closed when the connection is gone
	err     error         // why; valid after done
	release func()        // gives up the share in a bastion

	sessions sessions
	lines    sync.Mutex     // orders the exec requests of Lines; see kill
	wg       sync.WaitGroup // everything that must end before Close returns
	sftp     sftpClient

	mu      sync.Mutex
	closed  bool // Close was called: nothing new for callers
	gone    bool // done is closed, or about to be
	procs   map[*process]struct{}
	opening map[chan struct{}]struct{} // closed when a call of OpenChannel has returned
	running []*process                 // started Lines that have not ended, in order
	beat    *time.Timer
	pinging bool // a keep-alive has not been answered
}

func newConn(d *Dialer, e *endpoint, w *wire, client ssh.Conn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) *Conn {
	c := &Conn{d: d, e: e, wire: w, client: client, done: make(chan struct{}), procs: map[*process]struct{}{}, opening: map[chan struct{}]struct{}{}}
	w.onEnd(c.seal)
	go c.serve(chans, reqs)
	c.startBeat()
	return c
}

// serve refuses whatever the host asks for and notices the connection's end.
func (c *Conn) serve(chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
	for chans != nil || reqs != nil {
		select {
		case ch, ok := <-chans:
			if !ok {
				chans = nil
				continue
			}
			_ = ch.Reject(ssh.Prohibited, "sloth opens nothing to its hosts")
		case r, ok := <-reqs:
			if !ok {
				reqs = nil
				continue
			}
			_ = r.Reply(false, nil)
		}
	}
	err := c.ending()
	if cause := c.wire.reason(); cause != nil {
		err = cause
	}
	c.mu.Lock()
	c.err = err
	c.closed, c.gone = true, true
	if c.beat != nil {
		c.beat.Stop()
	}
	c.mu.Unlock()
	c.wire.Close()
	close(c.done)
}

// ending is why x/crypto has given the connection up, which it has when its two
// channels are closed. A host that breaks the protocol in the middle of a flood
// can keep Wait from ever returning.
func (c *Conn) ending() error {
	waited := make(chan error, 1)
	go func() { waited <- c.client.Wait() }()
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case err := <-waited:
		return err
	case <-timer.C:
		return errors.New("the host broke the SSH protocol")
	}
}

// Done is closed once the connection is gone, whoever ended it.
func (c *Conn) Done() <-chan struct{} { return c.done }

// isOver reports whether the connection has gone. What fails with the link does
// so a moment before Done is closed, which is waited for.
func (c *Conn) isOver() bool {
	if c.wire.ended.Load() {
		<-c.done
		return true
	}
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// lost is the error of what was under way when the connection went.
func (c *Conn) lost(op string) error {
	hint := "the link or the host went down while this was under way"
	err := c.err
	var hop *hopLostError
	switch {
	case errors.Is(err, errClosed):
		hint = ""
	case errors.As(err, &hop):
		hint = hop.hint()
	case broken(err):
		err = errors.New("the connection broke")
	}
	return &connection.Error{Class: connection.ClassTCP, Host: c.e.label, Op: op, Err: err, Hint: hint}
}

// enter counts a user of the connection, or refuses it when it is closed.
func (c *Conn) enter(op string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed && !c.gone {
		return &connection.Error{Class: connection.ClassTCP, Host: c.e.label, Op: op, Err: errClosed}
	}
	return c.hold(op)
}

// hold is enter for what Close itself still needs. Call it with c.mu held.
func (c *Conn) hold(op string) error {
	if c.gone {
		return c.lost(op)
	}
	c.wg.Add(1)
	return nil
}

// spawn runs f beside everything else; Close waits for it. It reports false,
// and does nothing, when the connection is gone.
func (c *Conn) spawn(f func()) bool {
	c.mu.Lock()
	err := c.hold("")
	c.mu.Unlock()
	if err != nil {
		return false
	}
	go func() {
		defer c.wg.Done()
		f()
	}()
	return true
}

// Close implements connection.Conn. Commands that still run are ended on the
// host first, which is given two seconds for that.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		<-c.done
		c.wg.Wait()
		c.awaitOpening()
		return nil
	}
	c.closed = true
	if c.beat != nil {
		c.beat.Stop()
	}
	var procs []*process
	for p := range c.procs {
		procs = append(procs, p)
	}
	c.mu.Unlock()
	if len(procs) > 0 {
		c.endAll(procs)
	}
	c.wire.fail(errClosed)
	<-c.done
	c.wg.Wait()
	c.awaitOpening()
	if c.release != nil {
		c.release()
	}
	return nil
}

// endAll cancels commands and waits until that is done.
func (c *Conn) endAll(procs []*process) {
	var wg sync.WaitGroup
	for _, p := range procs {
		p.end(&connection.Error{Class: connection.ClassTCP, Host: c.e.label, Op: "wait for command", Err: errClosed})
		wg.Go(func() { <-p.killed })
	}
	all := make(chan struct{})
	go func() { wg.Wait(); close(all) }()
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	select {
	case <-all:
	case <-c.done:
	case <-timer.C:
	}
}

var _ connection.Conn = (*Conn)(nil)
