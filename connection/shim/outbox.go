package shim

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/sloth-runner/sloth/connection/wire"
)

// maxEarly bounds what is kept while the worker is not there yet; maxGuess what
// of it is sent in the hope that it is.
const (
	maxEarly = 16 << 20
	maxGuess = 1 << 20
)

// outbox sends messages to the worker, also before there is one. Until it has
// spoken they are kept, and what is small goes ahead to the command that looks
// for the shim: nearly always that becomes the worker, and then a round trip is
// saved. Otherwise they are sent again.
type outbox struct {
	ready  atomic.Pointer[wire.Conn]
	parked atomic.Bool // the link broke: what counts is said again on the next

	// outlives says that whatever counts is remembered elsewhere, and said again
	// when a link broke.
	outlives bool

	mu    sync.Mutex // before ready: held while anything is added or sent
	early []wire.Message
	bytes int
	guess *wire.Conn // where messages went ahead; nil: nowhere
	full  bool       // and no more do
	ahead int        // how many did
}

var errTooEarly = errors.New("too much was sent before the worker was there")

// send encodes and posts one message.
func (s *Session) send(ctx context.Context, kind wire.Kind, v any) error {
	m, err := wire.Encode(kind, v)
	if err != nil {
		return err
	}
	return s.post(ctx, m, nil)
}

// post posts one message, and waits for the worker where there is too much. given
// is called at the moment that decides on which link it goes; nil: nobody needs
// to know.
func (s *Session) post(ctx context.Context, m wire.Message, given func()) error {
	for {
		err := s.out.post(ctx, m, given)
		if !errors.Is(err, errTooEarly) {
			return err
		}
		// Large content waits for the worker.
		select {
		case <-s.started:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (o *outbox) post(ctx context.Context, m wire.Message, given func()) error {
	if c := o.ready.Load(); c != nil && !o.parked.Load() && given == nil {
		return o.unlessParked(ctx, c.Post(ctx, m))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if given == nil {
		given = func() {}
	}
	if o.parked.Load() {
		given()
		return nil
	}
	if c := o.ready.Load(); c != nil {
		given()
		return o.unlessParked(ctx, c.Post(ctx, m))
	}
	if len(o.early) > 0 && o.bytes+m.Len() > maxEarly {
		return errTooEarly
	}
	given()
	o.early = append(o.early, m)
	o.bytes += m.Len()
	if o.full = o.full || o.guess == nil || o.bytes > maxGuess || o.guess.Post(ctx, m) != nil; !o.full {
		o.ahead++
	}
	return nil
}

// settle sends what c, the worker, has not got yet, and from then on everything
// at once.
func (o *outbox) settle(ctx context.Context, c *wire.Conn) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	left := o.early
	if c == o.guess {
		left = left[o.ahead:]
	}
	for _, m := range left {
		if err := c.Post(ctx, m); err != nil {
			return err
		}
	}
	o.early, o.bytes, o.guess = nil, 0, nil
	o.ready.Store(c)
	return nil
}

// unlessParked forgives a failure of a link whose end is known.
func (o *outbox) unlessParked(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil && o.outlives {
		return nil
	}
	return err
}

// park stops sending until resume.
func (o *outbox) park() {
	o.parked.Store(true)
	o.mu.Lock()
	o.early, o.bytes, o.guess = nil, 0, nil
	o.mu.Unlock()
}

// resume makes c the way, behind what say says first.
func (o *outbox) resume(c *wire.Conn, say func() error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := say(); err != nil {
		return err
	}
	o.ready.Store(c)
	o.parked.Store(false)
	return nil
}
