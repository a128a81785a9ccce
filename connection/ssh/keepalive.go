package ssh

import (
	"errors"
	"fmt"
	"time"
)

var errSilent = errors.New("the host has gone silent")

// patience is how long a host may be silent until it is asked for a sign of
// life, and in all until it counts as lost. After the question it has at least
// another span for its answer.
func (c *Conn) patience() (span, limit time.Duration) {
	span, count := c.e.alive, c.e.aliveCount
	if span == 0 {
		span, count = c.d.config.KeepAlive, c.d.config.KeepAliveCount
	}
	return span, span * time.Duration(max(count, 2))
}

// startBeat runs the keep-alive: TCP does not notice a silent peer, and
// neither does x/crypto. Whatever arrives is a sign of life, so nothing is sent
// while data flows.
func (c *Conn) startBeat() {
	span, limit := c.patience()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.beat = time.AfterFunc(span, func() { c.beatOnce(span, limit) })
	}
}

func (c *Conn) beatOnce(span, limit time.Duration) {
	if err := c.enter("keep alive"); err != nil {
		return
	}
	defer c.wg.Done()
	idle := c.wire.idle()
	if idle >= limit {
		precision := time.Second
		if limit < time.Second {
			precision = time.Millisecond
		}
		c.wire.fail(fmt.Errorf("%w: nothing arrived in %v", errSilent, idle.Round(precision)))
		return
	}
	next := span - idle
	if next <= 0 {
		c.ping()
		next = min(span, limit-idle)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.beat.Reset(next)
	}
}

// ping asks for a sign of life without waiting for it: neither the question
// nor the answer may get past what is stuck before it. One at a time is enough,
// since TCP repeats it.
func (c *Conn) ping() {
	c.mu.Lock()
	busy := c.pinging
	c.pinging = true
	c.mu.Unlock()
	if busy {
		return
	}
	c.spawn(func() {
		_, _, _ = c.client.SendRequest("keepalive@openssh.com", true, nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pinging = false
	})
}
