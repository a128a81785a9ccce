package pack

import (
	"context"
	"sync"
)

// Crew does things beside each other, at most so many at once; the first error
// stops the rest. Writing a file waits mostly for the disk to have it.
type Crew struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	free   chan struct{}
	group  sync.WaitGroup

	mu    sync.Mutex
	first error
}

// NewCrew returns a crew of n. Wait must be called.
func NewCrew(ctx context.Context, n int) *Crew {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Crew{ctx: ctx, cancel: cancel, free: make(chan struct{}, n)}
}

// Go runs f as soon as somebody is free, and reports why no more is done once
// something failed.
func (c *Crew) Go(f func(context.Context) error) error {
	select {
	case c.free <- struct{}{}:
	case <-c.ctx.Done():
	}
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	c.group.Go(func() {
		defer func() { <-c.free }()
		if err := f(c.ctx); err != nil {
			c.mu.Lock()
			if c.first == nil {
				c.first = err
			}
			c.mu.Unlock()
			c.cancel(err)
		}
	})
	return nil
}

// Wait returns once all is done, with the first error.
func (c *Crew) Wait() error {
	c.group.Wait()
	defer c.cancel(nil)
	if c.first == nil && c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return c.first
}
