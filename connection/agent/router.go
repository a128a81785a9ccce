package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/connection"
)

// perLink is how many agents are reached over one connection to the master.
const perLink = 100

// Router reaches agents of one master over few connections to it.
type Router struct {
	d *Dialer

	mu    sync.Mutex
	links []*shared
}

// shared is one connection, or the attempt to make it.
type shared struct {
	ready chan struct{} // closed when link or err is set
	link  *Link
	err   error
	users int
	bad   bool // nobody is to join it any more
}

// NewRouter returns a router that dials with d.
func NewRouter(d *Dialer) *Router { return &Router{d: d} }

// Take lends a link for one use, until release is called with whether it
// failed. A failure to reach the master is that of all who waited for the same
// attempt.
func (r *Router) Take(ctx context.Context) (link *Link, release func(broken bool), err error) {
	s := r.join(ctx)
	select {
	case <-s.ready:
	case <-ctx.Done():
		r.leave(s, false)
		return nil, nil, context.Cause(ctx)
	}
	if s.err != nil {
		r.leave(s, true)
		return nil, nil, s.err
	}
	return s.link, func(broken bool) { r.leave(s, broken) }, nil
}

// Dial reaches an agent. Where a master can't, the next one is asked.
func (r *Router) Dial(ctx context.Context, name string) (*Conn, error) {
	for others := strings.Count(r.d.Address, ","); ; others-- {
		link, release, err := r.Take(ctx)
		if err != nil {
			return nil, named(err, name)
		}
		c, err := reach(ctx, link, r.d, name, release)
		var e *connection.Error
		if err == nil || others <= 0 || ctx.Err() != nil || !errors.As(err, &e) || e.Class != connection.ClassTCP {
			return c, err
		}
		r.avoid(link)
	}
}

// avoid makes the next link go to another master.
func (r *Router) avoid(link *Link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.links {
		s.bad = s.bad || s.link == link
	}
	r.d.avoid(link.address)
}

func (r *Router) join(ctx context.Context) *shared {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.links {
		if !s.bad && s.users < perLink && (s.link == nil || !s.link.Over()) {
			s.users++
			return s
		}
	}
	s := &shared{ready: make(chan struct{}), users: 1}
	r.links = append(r.links, s)
	go func() { // it ends within the dialer's limit, and everybody waits for it
		link, err := r.d.Dial(context.WithoutCancel(ctx))
		r.mu.Lock()
		s.link, s.err = link, err
		if s.users == 0 && link != nil {
			link.Close()
		}
		close(s.ready)
		r.mu.Unlock()
	}()
	return s
}

// leave gives a link up; the last one closes it.
func (r *Router) leave(s *shared, broken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.users--
	s.bad = s.bad || broken
	if s.users > 0 {
		return
	}
	if s.link != nil {
		s.link.Close()
	}
	r.links = slices.DeleteFunc(r.links, func(o *shared) bool { return o == s })
}
