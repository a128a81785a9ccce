package faultproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Link is one connection through the proxy.
type Link struct {
	p      *Proxy
	number int
	ends   [2]*net.TCPConn // the client's, the server's; the server's is nil in a black hole
	done   chan struct{}   // closed when both sockets are
	once   sync.Once

	// Guarded by p.mu.
	stalled Direction
	lost    bool
	cut     bool // whatever arrives is thrown away
	bytes   [2]int64
}

// piece is what one read has given, or the end of the stream.
type piece struct {
	b   []byte
	err error // io.EOF, or why the sender's side broke
	due time.Time
}

// open takes over a client's connection.
func (p *Proxy) open(c *net.TCPConn) {
	l := &Link{p: p, ends: [2]*net.TCPConn{c}, done: make(chan struct{})}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		c.Close()
		return
	}
	l.number, l.lost = p.accepted, p.lost
	p.accepted++
	p.links[l] = struct{}{}
	p.mu.Unlock()
	p.wg.Go(func() {
		defer l.forget()
		if l.isLost() {
			_, _ = io.Copy(io.Discard, c)
			if l.isLost() { // its end is lost as well
				<-l.done
			}
			return
		}
		if err := l.dial(); err != nil {
			l.Reset()
			return
		}
		var wg sync.WaitGroup
		for dir := range 2 {
			queue := make(chan piece, 64)
			wg.Go(func() { l.read(dir, queue) })
			wg.Go(func() { l.write(dir, queue) })
		}
		wg.Wait()
	})
}

// dial connects to the server.
func (l *Link) dial() error {
	s, err := (&net.Dialer{Timeout: 10 * time.Second}).Dial("tcp", l.p.target)
	if err != nil {
		return err
	}
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	select {
	case <-l.done: // reset meanwhile
		s.Close()
		return errClosed
	default:
	}
	l.ends[1] = s.(*net.TCPConn)
	return nil
}

func (l *Link) isLost() bool {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.lost
}

// forget closes both sockets, properly, and strikes the link off the list.
func (l *Link) forget() {
	l.end(func(c *net.TCPConn) { c.Close() })
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	delete(l.p.links, l)
}

// end closes both sockets with f, once.
func (l *Link) end(f func(*net.TCPConn)) {
	l.once.Do(func() {
		l.p.mu.Lock()
		defer l.p.mu.Unlock()
		close(l.done)
		for _, c := range l.ends {
			if c != nil {
				f(c)
			}
		}
	})
}

// Reset ends the connection with RST to both sides.
func (l *Link) Reset() {
	l.end(func(c *net.TCPConn) {
		_ = c.SetLinger(0)
		c.Close()
	})
}

// Cut ends the connection with FIN to both sides. The proxy reads on, and
// throws away, until they have closed too: a close with unread data would be a
// reset.
func (l *Link) Cut() {
	l.p.set(func() {
		l.cut = true
		for _, c := range l.ends {
			if c != nil {
				_ = c.CloseWrite()
			}
		}
	})
}

// Stall holds back what goes in direction d, until Heal.
func (l *Link) Stall(d Direction) { l.p.set(func() { l.stalled |= d }) }

// Blackhole loses everything of this connection from now on, for ever.
func (l *Link) Blackhole() { l.p.set(func() { l.lost = true }) }

// Heal undoes Stall.
func (l *Link) Heal() { l.p.set(func() { l.stalled = 0 }) }

// Done is closed when the proxy has no open socket of this connection any more.
func (l *Link) Done() <-chan struct{} { return l.done }

// Bytes is how much this connection has carried.
func (l *Link) Bytes() (toServer, toClient int64) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.bytes[0], l.bytes[1]
}

// read queues what arrives from one end; dir 0 goes to the server.
func (l *Link) read(dir int, queue chan<- piece) {
	defer close(queue)
	var last time.Time
	for {
		b := make([]byte, 16<<10)
		n, err := l.ends[dir].Read(b)
		due := l.p.due()
		if due.Before(last) { // jitter must not overtake
			due = last
		}
		last = due
		if n > 0 {
			select {
			case queue <- piece{b: b[:n], due: due}:
			case <-l.done:
				return
			}
		}
		if err != nil {
			select {
			case queue <- piece{err: err, due: due}:
			case <-l.done:
			}
			return
		}
	}
}

// due is when something that arrives now is to be passed on.
func (p *Proxy) due() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := p.rtt / 2
	if p.jitter > 0 {
		wait += time.Duration(p.dice.Int64N(int64(p.jitter)))
	}
	return time.Now().Add(wait)
}

// write passes on what is queued, as far as the faults let it.
func (l *Link) write(dir int, queue <-chan piece) {
	for item := range queue {
		if !l.until(item.due) {
			continue // to the queue's end, so that its reader can end
		}
		if err := l.pass(dir, item); err != nil {
			l.Reset()
		}
	}
}

// until waits; false when the connection ends first.
func (l *Link) until(due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.done:
		return false
	}
}

// pass brings one piece to the other end. An error is to be passed on as a
// reset.
func (l *Link) pass(dir int, item piece) error {
	to := l.ends[1-dir]
	for {
		what := l.decide(dir, len(item.b))
		switch {
		case what.wait != nil:
			select {
			case <-what.wait:
			case <-l.done:
				return nil
			}
			continue
		case what.lost:
			return nil
		}
		if what.n > 0 {
			if _, err := to.Write(item.b[:what.n]); err != nil {
				l.fire(what.trigger)
				return err
			}
			item.b = item.b[what.n:]
		}
		l.fire(what.trigger)
		if len(item.b) > 0 || what.trigger != nil {
			continue
		}
		switch {
		case errors.Is(item.err, io.EOF):
			_ = to.CloseWrite() // may have closed itself already
		case item.err != nil:
			return item.err
		}
		return nil
	}
}

// decision is what may happen to a piece.
type decision struct {
	n       int      // bytes to pass
	trigger *trigger // to be fired behind them
	lost    bool
	wait    <-chan struct{} // for another state, before anything passes
}

func (l *Link) decide(dir, size int) decision {
	p := l.p
	p.mu.Lock()
	defer p.mu.Unlock()
	d := Direction(1 << dir)
	select {
	case <-l.done:
		return decision{lost: true}
	default:
	}
	switch {
	case l.lost || l.cut:
		return decision{lost: true}
	case p.acting || (p.stalled|l.stalled)&d != 0:
		return decision{wait: p.changed}
	}
	what := decision{n: size}
	if t := p.trigger; t != nil && t.dirs&d != 0 && size > 0 {
		what.n = int(min(t.left, int64(size)))
		if t.left -= int64(what.n); t.left == 0 {
			what.trigger = t
			p.trigger, p.acting = nil, true
		}
	}
	p.bytes[dir] += int64(what.n)
	l.bytes[dir] += int64(what.n)
	return what
}

// fire runs a trigger's action.
func (l *Link) fire(t *trigger) {
	if t == nil {
		return
	}
	t.action(l)
	l.p.set(func() { l.p.acting = false })
	close(t.fired)
}
