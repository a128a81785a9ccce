package http

import (
	"fmt"
	"sync"
	"time"
)

const (
	openAfter = 5                // failures in a row
	openFor   = 30 * time.Second // until one request may try again
)

// breakers are the circuit breakers by name.
type breakers struct {
	mu   sync.Mutex
	all  map[string]*breaker
	time func() time.Time
}

type breaker struct {
	failures int
	until    time.Time // no request before; zero: closed
	trying   bool      // one request is out to see whether things are well again
}

func newBreakers() *breakers { return &breakers{all: map[string]*breaker{}, time: time.Now} }

// enter refuses a request while the named circuit is open.
func (b *breakers) enter(name string) error {
	if name == "" {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.all[name]
	if c == nil || c.until.IsZero() {
		return nil
	}
	if left := c.until.Sub(b.time()); left > 0 || c.trying {
		return fmt.Errorf("circuit %q is open after %d failures in a row; it tries again in %s", name, c.failures, max(left, 0).Round(time.Second))
	}
	c.trying = true
	return nil
}

// leave counts how a request ended.
func (b *breakers) leave(name string, good bool) {
	if name == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if good {
		delete(b.all, name)
		return
	}
	c := b.all[name]
	if c == nil {
		c = &breaker{}
		b.all[name] = c
	}
	c.trying = false
	if c.failures++; c.failures >= openAfter {
		c.until = b.time().Add(openFor)
	}
}
