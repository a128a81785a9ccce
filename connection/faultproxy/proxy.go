// Package faultproxy is a bad network for tests: a TCP proxy on loopback that
// ends, delays, holds up or loses what passes, at the byte where it is told to.
package faultproxy

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
)

// Direction is a way through the proxy; directions can be or-ed.
type Direction uint8

// The directions.
const (
	ToServer Direction = 1 << iota
	ToClient
	Both = ToServer | ToClient
)

// Proxy forwards the connections made to it to one server. Its methods work on
// all connections, those to come included where that makes sense, and may be
// called at any time from any goroutine. Those of a Link work on one.
type Proxy struct {
	addr   *net.TCPAddr
	target string

	mu       sync.Mutex
	changed  chan struct{} // closed, and made anew, when something below changes
	listener net.Listener  // nil while refusing
	links    map[*Link]struct{}
	accepted int
	stalled  Direction
	lost     bool // Blackhole
	rtt      time.Duration
	jitter   time.Duration
	dice     *mathrand.Rand
	bytes    [2]int64
	trigger  *trigger
	acting   bool // a trigger's action is running: nothing passes
	closed   bool

	wg sync.WaitGroup
}

// trigger is what After has set up.
type trigger struct {
	left   int64
	dirs   Direction
	action func(*Link)
	fired  chan struct{}
}

// Start opens a proxy in front of target ("host:port") that ends with the test.
func Start(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Listen opens a proxy in front of target ("host:port"); the caller closes it.
func Listen(target string) (*Proxy, error) {
	l, err := listen()
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	p := &Proxy{
		addr: l.Addr().(*net.TCPAddr), target: target, changed: make(chan struct{}), links: map[*Link]struct{}{},
		dice: mathrand.New(mathrand.NewPCG(1, 2)), // the same jitter in each run
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve(l)
	return p, nil
}

// listen takes an address that nobody else has, so that its port is still free
// after Refuse.
func listen() (net.Listener, error) {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails
	l, err := net.Listen("tcp", fmt.Sprintf("127.1.%d.%d:0", 1+b[0]%250, 1+b[1]%250))
	if err != nil {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	return l, nil
}

// serve accepts on l. Call it with p.mu held.
func (p *Proxy) serve(l net.Listener) {
	p.listener = l
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.open(c.(*net.TCPConn))
		}
	})
}

// Addr is the proxy's "host:port".
func (p *Proxy) Addr() string { return p.addr.String() }

// Host is the IP address of the proxy.
func (p *Proxy) Host() string { return p.addr.IP.String() }

// Port is the proxy's port.
func (p *Proxy) Port() int { return p.addr.Port }

// Target leads an SSH target over the proxy: the server is still known by its
// own host key.
func (p *Proxy) Target(t connection.Target) connection.Target {
	options := map[string]string{"hostkeyalias": fmt.Sprintf("[%s]:%d", t.Address, t.Port)}
	maps.Copy(options, t.Options)
	t.Address, t.Port, t.Options = p.Host(), p.Port(), options
	return t
}

// Close ends the proxy and all its connections and waits for its goroutines.
func (p *Proxy) Close() {
	p.set(func() {
		p.closed = true
		if p.listener != nil {
			p.listener.Close()
		}
	})
	p.Reset()
	p.wg.Wait()
}

// Links are the open connections, oldest first.
func (p *Proxy) Links() []*Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Keys(p.links), func(a, b *Link) int { return a.number - b.number })
}

// Accepted is how many connections were ever made.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Bytes is how much has been forwarded in all; what was lost does not count.
func (p *Proxy) Bytes() (toServer, toClient int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes[0], p.bytes[1]
}

// Cut ends all connections properly (FIN), to both sides. What is on its way
// is lost.
func (p *Proxy) Cut() { p.each((*Link).Cut) }

// Reset ends all connections rudely (RST), to both sides.
func (p *Proxy) Reset() { p.each((*Link).Reset) }

// Stall holds back what goes in direction d, of connections to come too, and
// keeps everything open. Heal lets it go on: nothing is lost.
func (p *Proxy) Stall(d Direction) { p.set(func() { p.stalled |= d }) }

// Blackhole loses all that passes, ends of connections included, and tells
// nobody; connections to come are accepted, and nothing of them reaches the
// server. It is for ever for the connections that it hits, as when a NAT has
// forgotten them; after Heal new ones work.
func (p *Proxy) Blackhole() {
	p.set(func() {
		p.lost = true
		for l := range p.links {
			l.lost = true
		}
	})
}

// Heal undoes Stall, Blackhole and Refuse, of single links too. A delay stays.
func (p *Proxy) Heal() {
	p.set(func() {
		p.stalled, p.lost = 0, false
		for l := range p.links {
			l.stalled = 0
		}
	})
	p.Refuse(false)
}

// Delay makes a byte and its answer take rtt longer, plus a random time of up
// to jitter each way; order is kept. Opening a connection takes no longer.
func (p *Proxy) Delay(rtt, jitter time.Duration) { p.set(func() { p.rtt, p.jitter = rtt, jitter }) }

// Refuse has new connections refused, as by a host on which nobody listens.
// Open ones go on.
func (p *Proxy) Refuse(refuse bool) {
	p.set(func() {
		switch {
		case p.closed || refuse == (p.listener == nil):
		case refuse:
			p.listener.Close()
			p.listener = nil
		default:
			l, err := net.Listen("tcp", p.Addr())
			if err != nil {
				panic(fmt.Sprintf("faultproxy: somebody took %s: %v", p.Addr(), err))
			}
			p.serve(l)
		}
	})
}

// After calls action once, as soon as n more bytes have passed in direction d
// over all connections together, with the link that carried the last of them;
// for n = 0 before the next byte. Nothing passes until action has returned. The
// returned channel is closed then. A new After replaces one that has not fired.
func (p *Proxy) After(n int64, d Direction, action func(*Link)) <-chan struct{} {
	fired := make(chan struct{})
	p.set(func() { p.trigger = &trigger{left: n, dirs: d, action: action, fired: fired} })
	return fired
}

// CutAfter is After with Link.Cut: FIN behind byte n.
func (p *Proxy) CutAfter(n int64, d Direction) <-chan struct{} { return p.After(n, d, (*Link).Cut) }

// ResetAfter is After with Link.Reset: RST behind byte n.
func (p *Proxy) ResetAfter(n int64, d Direction) <-chan struct{} { return p.After(n, d, (*Link).Reset) }

// StallAfter stalls the whole proxy both ways behind byte n.
func (p *Proxy) StallAfter(n int64, d Direction) <-chan struct{} {
	return p.After(n, d, func(*Link) { p.Stall(Both) })
}

// BlackholeAfter loses everything behind byte n.
func (p *Proxy) BlackholeAfter(n int64, d Direction) <-chan struct{} {
	return p.After(n, d, func(*Link) { p.Blackhole() })
}

// Disarm forgets what After and its kin have set up.
func (p *Proxy) Disarm() { p.set(func() { p.trigger = nil }) }

// set changes the state and wakes who waits for it.
func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) each(f func(*Link)) {
	for _, l := range p.Links() {
		f(l)
	}
}

var errClosed = errors.New("faultproxy: closed")
