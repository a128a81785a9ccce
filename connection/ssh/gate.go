package ssh

import (
	"context"
	"sync"
)

// gate limits how many connections to one address are in the making. sshd
// drops more than MaxStartups (10 by default) unauthenticated ones at random,
// and newer ones punish the caller for it. A refusal narrows the gate, a
// success widens it again.
type gate struct {
	mu      sync.Mutex
	max     int
	limit   int
	inside  int
	waiting []chan struct{}
}

func newGate(limit int) *gate { return &gate{max: limit, limit: limit} }

// enter waits for a place; whoever got one leaves it again.
func (g *gate) enter(ctx context.Context) error {
	g.mu.Lock()
	if g.inside < g.limit && len(g.waiting) == 0 {
		g.inside++
		g.mu.Unlock()
		return nil
	}
	ready := make(chan struct{})
	g.waiting = append(g.waiting, ready)
	g.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiting {
		if w == ready {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			return ctx.Err()
		}
	}
	g.inside-- // it came at the same moment
	g.admit()
	return ctx.Err()
}

// leave gives the place back. refused says that the host would not even talk.
func (g *gate) leave(refused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if refused {
		g.limit = max(1, g.limit/2)
	} else {
		g.limit = min(g.max, g.limit+1)
	}
	g.admit()
}

func (g *gate) admit() {
	for g.inside < g.limit && len(g.waiting) > 0 {
		g.inside++
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
	}
}
