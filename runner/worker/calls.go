package worker

import (
	"context"
	"errors"
	"io"
	"sort"

	"github.com/sloth-runner/sloth/connection/wire"
)

// question is a call whose answer has not come. One that has a stream ends with its
// link; others are asked again on the next one.
type question struct {
	call   wire.Call
	answer chan wire.Reply
}

// ask sends a call on behalf of a job and returns where its answer arrives.
// forget must be called when nobody waits for it any more.
func (r *run) ask(ctx context.Context, l *link, c wire.Call) (answer <-chan wire.Reply, forget func(), err error) {
	a := &question{answer: make(chan wire.Reply, 1)}
	r.mu.Lock()
	r.calls++
	c.ID = r.calls
	for r.oldest < c.ID && r.waiting[r.oldest] == nil {
		r.oldest++
	}
	c.Answered = r.oldest
	a.call = c
	r.waiting[c.ID] = a
	r.mu.Unlock()
	forget = func() { r.mu.Lock(); delete(r.waiting, c.ID); r.mu.Unlock() }
	m, err := wire.Encode(wire.KindCall, c)
	if err != nil {
		forget()
		return nil, nil, err
	}
	if l == nil {
		l, _ = r.out.current()
	}
	err = wire.ErrClosed
	if l != nil {
		err = l.wire.Post(ctx, m)
	}
	if err != nil && (ctx.Err() != nil || c.Stream != 0 || !r.durable()) {
		forget()
		return nil, nil, err
	}
	return a.answer, forget, nil // a broken link is followed by another, which asks again
}

// askAgain repeats on l the calls whose answers were on their way, or not even
// begun, when the last link broke.
func (r *run) askAgain(ctx context.Context, l *link) error {
	r.mu.Lock()
	var calls []wire.Call
	for _, a := range r.waiting {
		if a.call.Stream == 0 {
			calls = append(calls, a.call)
		}
	}
	r.mu.Unlock()
	sort.Slice(calls, func(i, j int) bool { return calls[i].ID < calls[j].ID })
	for _, c := range calls {
		if err := l.wire.Send(ctx, wire.KindCall, c); err != nil {
			return err
		}
	}
	return nil
}

// call asks the controller on behalf of a job.
func (r *run) call(ctx context.Context, job, service string, body []byte) ([]byte, error) {
	ch, forget, err := r.ask(ctx, nil, wire.Call{Job: job, Service: service, Body: body})
	if err != nil {
		return nil, err
	}
	defer forget()
	select {
	case a := <-ch:
		return answered(a)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func answered(a wire.Reply) ([]byte, error) {
	if a.Err != "" {
		return nil, errors.New(a.Err)
	}
	return a.Body, nil
}

// replied hands an answer to whoever waits for it.
func (r *run) replied(a wire.Reply) error {
	r.mu.Lock()
	w := r.waiting[a.ID]
	delete(r.waiting, a.ID)
	r.mu.Unlock()
	if w != nil {
		w.answer <- a
	}
	return nil
}

// stream asks for something that is too big for a reply. What goes wrong on the
// other side is an error of reading.
func (r *run) stream(ctx context.Context, job, service string, body []byte) (io.ReadCloser, error) {
	d := &download{r: r, ctx: ctx, call: wire.Call{Job: job, Service: service, Body: body}}
	return d, d.open()
}

// download is the answer to a call that comes as a stream. When its link breaks
// it goes on with the next one.
type download struct {
	r      *run
	ctx    context.Context
	call   wire.Call
	in     *wire.Incoming
	answer <-chan wire.Reply
	forget func()
	gone   <-chan struct{} // closed when the link is not the current one any more
	err    error
}

func (d *download) open() error {
	for {
		l, err := d.r.linked(d.ctx)
		if err != nil {
			return err
		}
		if d.in, err = l.wire.Incoming(d.ctx); err == nil {
			d.gone = l.gone
			d.call.Stream = d.in.ID()
			if d.answer, d.forget, err = d.r.ask(d.ctx, l, d.call); err == nil {
				return nil
			}
			d.in.Close()
		}
		if errors.Is(err, wire.ErrTooMany) || !d.lost(l.gone) {
			return err
		}
	}
}

// lost waits a moment for the news that a link has ended, when something on it
// failed; true says that another try makes sense.
func (d *download) lost(gone <-chan struct{}) bool {
	if !d.r.durable() {
		return false
	}
	select {
	case <-gone:
		return true
	case <-d.ctx.Done():
		return false
	}
}

func (d *download) Read(p []byte) (int, error) {
	for d.err == nil {
		n, err := d.in.Read(p)
		d.call.Skip += int64(n)
		if err == nil || n > 0 {
			return n, nil
		}
		// Only the reply says whether the end is the end, and what went wrong.
		select {
		case a := <-d.answer:
			d.err = err
			if a.Err != "" {
				d.err = errors.New(a.Err)
			}
		case <-d.ctx.Done():
			d.err = context.Cause(d.ctx)
		case <-d.gone:
			d.forget()
			d.in.Close()
			if !d.r.durable() {
				d.err = err
				if errors.Is(err, io.EOF) {
					d.err = wire.ErrClosed
				}
			} else if err := d.open(); err != nil {
				d.err = err
			}
		}
	}
	return 0, d.err
}

func (d *download) Close() error {
	if d.forget == nil {
		return nil
	}
	d.forget()
	return d.in.Close()
}
