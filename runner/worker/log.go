package worker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sloth-runner/sloth/connection/wire"
)

// Bounds of what is kept for a controller that has not confirmed it.
const (
	maxKept     = 8 << 20  // then output waits, or without a link is left out
	maxKeptMore = 64 << 20 // then everything but how steps ended
)

// outlog numbers what a worker says and keeps it until the controller has it,
// so that another link can go on where one broke.
type outlog struct {
	mu      sync.Mutex // held while something gets its number and its place
	room    *sync.Cond // something was confirmed, or the link changed
	keep    bool
	link    *link                // nil: nobody listens
	open    atomic.Pointer[link] // the same, for whoever must not wait for mu
	changed chan struct{}
	seq     uint64
	acked   uint64
	kept    []numbered
	bytes   int
	lost    int // messages that were left out
}

type numbered struct {
	seq uint64
	m   wire.Message
}

// importance says what may be left out when nobody listens for long.
type importance int

const (
	vital   importance = iota // how steps and jobs ended
	telling                   // what they did
	output                    // what commands print
)

func newOutlog() *outlog {
	g := &outlog{changed: make(chan struct{})}
	g.room = sync.NewCond(&g.mu)
	return g
}

// add sends what body makes of the next number. The number is used only where
// there is something to send.
func (g *outlog) add(ctx context.Context, kind wire.Kind, i importance, body func(seq uint64) any) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.keep && g.link != nil && g.bytes > maxKept {
		g.room.Wait()
	}
	if g.keep && (g.bytes > maxKept && i == output || g.bytes > maxKeptMore && i != vital) || !g.keep && g.link == nil {
		g.lost++
		return nil
	}
	m, err := wire.Encode(kind, body(g.seq+1))
	if err != nil {
		return err
	}
	g.seq++
	if g.keep {
		g.kept = append(g.kept, numbered{g.seq, m})
		g.bytes += m.Len()
	}
	if g.link != nil {
		_ = g.link.wire.Post(ctx, m) // a broken link is noticed by whoever reads it
	}
	return nil
}

// ack forgets what has arrived.
func (g *outlog) ack(seq uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if seq > g.seq {
		return fmt.Errorf("%w: event %d was confirmed, and %d is the last", wire.ErrProtocol, seq, g.seq)
	}
	g.acked = max(g.acked, seq)
	n := 0
	for n < len(g.kept) && g.kept[n].seq <= seq {
		g.bytes -= g.kept[n].m.Len()
		n++
	}
	if g.kept = g.kept[n:]; len(g.kept) == 0 {
		g.kept = nil
	}
	g.room.Broadcast()
	return nil
}

// confirmed is the number of the last event that has arrived.
func (g *outlog) confirmed() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.acked
}

// settled reports whether everything said has arrived.
func (g *outlog) settled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.acked == g.seq
}

// attach makes l the way for everything from now on, behind first and what the
// other side has not got yet.
func (g *outlog) attach(ctx context.Context, l *link, first wire.Message, from uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := l.wire.Post(ctx, first); err != nil {
		return err
	}
	for _, k := range g.kept {
		if k.seq <= from {
			continue
		}
		if err := l.wire.Post(ctx, k.m); err != nil {
			return err
		}
	}
	g.link = l
	g.open.Store(l)
	g.turn()
	return nil
}

// detach makes what is said wait for another link, if l was the way.
func (g *outlog) detach(l *link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.link == l {
		g.link = nil
		g.open.Store(nil)
		g.turn()
	}
}

func (g *outlog) turn() {
	close(g.changed)
	g.changed = make(chan struct{})
	g.room.Broadcast()
}

// current is the way that is open now, or nil; changed is closed when that is
// no longer so.
func (g *outlog) current() (l *link, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.link, g.changed
}

// wait waits for an open link.
func (g *outlog) wait(ctx context.Context) (*link, error) {
	for {
		l, changed := g.current()
		if l != nil {
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
