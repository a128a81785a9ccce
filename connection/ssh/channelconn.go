package ssh

import (
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

// channelConn is a forwarded channel as a net.Conn. Deadlines are not
// supported: wire has its own.
//
// An SSH channel can't be closed from one side: Read and Write of x/crypto's
// go on until the bastion has agreed, and it does not while it holds data for a
// host that takes none. So they run beside the caller, whom Close sets free;
// the bastion's connection waits for them.
type channelConn struct {
	ch      ssh.Channel
	hop     *Conn
	hopName string
	remote  string

	closed chan struct{}
	once   sync.Once
	in     []byte // where the one Read under way puts what arrives
}

func newChannelConn(b *bastion, ch ssh.Channel, remote string) *channelConn {
	return &channelConn{ch: ch, hop: b.conn, hopName: b.name, remote: remote, closed: make(chan struct{})}
}

type transferred struct {
	n   int
	err error
}

// aside runs a call that may block and waits for it as long as c is open.
func (c *channelConn) aside(call func() (int, error)) (int, error) {
	done := make(chan transferred, 1)
	if !c.hop.spawn(func() {
		n, err := call()
		done <- transferred{n, err}
	}) {
		return 0, c.explain(net.ErrClosed)
	}
	select {
	case r := <-done:
		if r.err != nil {
			r.err = c.explain(r.err)
		}
		return r.n, r.err
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

// explain blames the jump host for an end that is its own: everybody behind it
// then gives the same reason.
func (c *channelConn) explain(err error) error {
	if !c.hop.wire.ended.Load() {
		return err
	}
	select {
	case <-c.hop.done: // it knows why
	case <-c.closed:
		return net.ErrClosed
	}
	var lost *connection.Error
	if errors.As(c.hop.lost(""), &lost) {
		err = lost.Err
	}
	return &hopLostError{c.hopName, err}
}

// hopLostError is a connection that went with the one to its jump host.
type hopLostError struct {
	hop string
	err error
}

func (e *hopLostError) Error() string { return "the jump host " + e.hop + ": " + e.err.Error() }
func (e *hopLostError) Unwrap() error { return e.err }
func (e *hopLostError) hint() string {
	return "everything behind " + e.hop + " is cut off until it is back"
}

// Read is called by one goroutine at a time; what a forsaken call still reads
// must not land in the caller's buffer.
func (c *channelConn) Read(p []byte) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	if len(c.in) < len(p) {
		c.in = make([]byte, len(p))
	}
	in := c.in[:len(p)]
	n, err := c.aside(func() (int, error) { return c.ch.Read(in) })
	return copy(p, in[:n]), err
}

func (c *channelConn) Write(p []byte) (int, error) {
	own := bytes.Clone(p)
	return c.aside(func() (int, error) { return c.ch.Write(own) })
}

// Close does not wait: telling the bastion may block too.
func (c *channelConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.hop.spawn(func() { c.ch.Close() })
	})
	return nil
}

func (c *channelConn) LocalAddr() net.Addr              { return namedAddr("jump") }
func (c *channelConn) RemoteAddr() net.Addr             { return namedAddr(c.remote) }
func (c *channelConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *channelConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *channelConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
