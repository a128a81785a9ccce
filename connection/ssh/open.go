package ssh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

// opened is what OpenChannel returns.
type opened struct {
	ch   ssh.Channel
	reqs <-chan *ssh.Request
	err  error
}

// openChannel opens a channel within the limits, whatever the host does.
func (c *Conn) openChannel(ctx context.Context, kind string, payload []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	op := "open a " + kind + " channel"
	returned := make(chan struct{})
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return nil, nil, c.lost(op)
	}
	c.opening[returned] = struct{}{}
	c.mu.Unlock()
	result := make(chan opened)
	abandoned := make(chan struct{})
	go func() {
		defer c.returned(returned)
		ch, reqs, err := c.client.OpenChannel(kind, payload)
		select {
		case result <- opened{ch, reqs, err}:
		case <-abandoned:
			if err == nil {
				ch.Close()
				ssh.DiscardRequests(reqs)
			}
		}
	}()
	timer := time.NewTimer(c.d.config.ChannelTimeout)
	defer timer.Stop()
	select {
	case o := <-result:
		var refused *ssh.OpenChannelError
		if o.err != nil && !errors.As(o.err, &refused) {
			select {
			case <-c.done: // soon: x/crypto opens nothing any more
				return nil, nil, c.lost(op)
			case <-timer.C:
			}
		}
		return o.ch, o.reqs, o.err
	case <-ctx.Done():
		close(abandoned)
		return nil, nil, ctx.Err()
	case <-c.done:
		close(abandoned)
		return nil, nil, c.lost(op)
	case <-timer.C:
		close(abandoned)
		return nil, nil, &connection.Error{Class: connection.ClassChannel, Host: c.e.label, Op: op, Err: fmt.Errorf("no answer in %v", c.d.config.ChannelTimeout)}
	}
}

func (c *Conn) returned(r chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.opening, r)
	close(r)
}

// seal makes x/crypto refuse new channels before it learns that the link has
// ended. It gives up the channels it knows at that moment; one that is opened
// after that and before its first failed write, which it hides, would wait for
// an answer for ever. So the failed write is ours.
func (c *Conn) seal() {
	sealed := make(chan struct{})
	if !c.spawn(func() {
		defer close(sealed)
		_, _, _ = c.client.SendRequest("keepalive@openssh.com", false, nil)
	}) {
		return
	}
	// In the middle of a re-keying the write waits for the very Read that we
	// hold up.
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-sealed:
	case <-timer.C:
	}
}

// awaitOpening waits until every OpenChannel has returned. After the end of
// the connection they do so at once, except when a host that broke the
// protocol, rather than the link, ended it in the moment that seal is about:
// Close does not hang on that.
func (c *Conn) awaitOpening() {
	c.mu.Lock()
	var calls []chan struct{}
	for r := range c.opening {
		calls = append(calls, r)
	}
	c.mu.Unlock()
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	for _, r := range calls {
		select {
		case <-r:
		case <-timer.C:
			return
		}
	}
}
