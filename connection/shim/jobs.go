package shim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/vmihailenco/msgpack/v5"
)

// PutBlob sends content that jobs refer to by its hash, once in a session.
func (s *Session) PutBlob(ctx context.Context, hash string, data []byte) error {
	// One at a time: a blob counts as known only once it is on its way, and
	// whoever needs the same one waits for that.
	s.blobsMu.Lock()
	if _, sent := s.blobs[hash]; sent {
		s.blobsMu.Unlock()
		return nil
	}
	if s.durable() {
		// Noted first: a link that comes meanwhile is told it again. Whoever needs
		// the same content need not wait, for the worker does.
		s.blobs[hash] = data
		s.blobsMu.Unlock()
		return s.send(ctx, wire.KindBlob, wire.Blob{Hash: hash, Data: data})
	}
	defer s.blobsMu.Unlock()
	if err := s.send(ctx, wire.KindBlob, wire.Blob{Hash: hash, Data: data}); err != nil {
		return s.lost(ctx, err)
	}
	s.blobs[hash] = nil
	return nil
}

// Do sends a job and returns its result when it is done. A cancelled ctx
// cancels the job on the host and waits a little for its end.
func (s *Session) Do(ctx context.Context, job Job, h Handler) ([]byte, error) {
	body, err := msgpack.Marshal(job.Body)
	if err != nil {
		return nil, fmt.Errorf("encode job %s: %w", job.ID, err)
	}
	m, err := wire.Encode(wire.KindJob, wire.Job{ID: job.ID, Kind: job.Kind, Body: body, Last: job.Last})
	if err != nil {
		return nil, err
	}
	p := &pending{h: h, done: make(chan wire.Done, 1), gone: make(chan *Lost, 1), m: m}
	p.ctx, p.cancel = context.WithCancel(ctx)
	defer p.finish()
	s.mu.Lock()
	if s.jobs[job.ID] != nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("job %s is under way already", job.ID)
	}
	s.jobs[job.ID], s.owed[job.ID] = p, true
	s.mu.Unlock()
	defer func() { s.mu.Lock(); delete(s.jobs, job.ID); s.mu.Unlock() }()

	// From then on it belongs to the worker of now, and ends with that one.
	given := func() { s.mu.Lock(); p.sent = true; s.mu.Unlock() }
	if err := s.post(ctx, m, given); err != nil {
		return nil, s.lost(ctx, err)
	}
	return s.await(ctx, job.ID, p)
}

// await waits for the end of a job, and ends it when ctx does.
func (s *Session) await(ctx context.Context, id string, p *pending) ([]byte, error) {
	select {
	case d := <-p.done:
		return s.result(d)
	case l := <-p.gone:
		return nil, l
	case <-s.ctx.Done():
		return s.last(p)
	case <-ctx.Done():
	}
	_ = s.Cancel(id, "", true) // a link that is gone has its own error below
	select {
	case <-s.started:
	default:
		return nil, context.Cause(ctx) // nobody is there to confirm it
	}
	grace := time.NewTimer(cancelGrace)
	defer grace.Stop()
	select {
	case d := <-p.done:
		return s.result(d)
	case l := <-p.gone:
		return nil, l
	case <-s.ctx.Done():
		return s.last(p)
	case <-grace.C:
		return nil, fmt.Errorf("the host did not confirm the end of the job within %s: %w", cancelGrace, context.Cause(ctx))
	}
}

// adopt takes over the jobs of an earlier controller.
func (s *Session) adopt() {
	for id, h := range s.opt.Adopt {
		p := &pending{h: h, done: make(chan wire.Done, 1), gone: make(chan *Lost, 1), sent: true, adopted: true}
		p.ctx, p.cancel = context.WithCancel(s.ctx)
		s.jobs[id], s.owed[id] = p, true
	}
}

// Adopted waits for the result of a job that was adopted, as Do does for one of
// its own. Each is waited for once.
func (s *Session) Adopted(ctx context.Context, id string) ([]byte, error) {
	s.mu.Lock()
	p := s.jobs[id]
	s.mu.Unlock()
	if p == nil || !p.adopted {
		return nil, fmt.Errorf("job %s was not adopted", id)
	}
	defer p.finish()
	defer func() { s.mu.Lock(); delete(s.jobs, id); s.mu.Unlock() }()
	return s.await(ctx, id, p)
}

// last is the outcome of a job when the session is over: its result may have
// come just before.
func (s *Session) last(p *pending) ([]byte, error) {
	select {
	case d := <-p.done:
		return s.result(d)
	default:
		return nil, s.lost(s.ctx, context.Cause(s.ctx))
	}
}

// finish keeps the handler from being called any more.
func (p *pending) finish() {
	p.cancel()
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
}

func (s *Session) result(d wire.Done) ([]byte, error) {
	if d.Err != "" {
		return nil, &connection.Error{Class: connection.ClassShim, Host: s.opt.Host, Op: "work on the host", Err: errors.New(d.Err)}
	}
	return d.Body, nil
}

// Cancel asks the worker to end a job, or one step of it: softly before its
// next step, or hard by ending the step's processes. It does not wait.
func (s *Session) Cancel(job, step string, hard bool) error {
	c := wire.Cancel{Job: job, Step: step, Hard: hard}
	s.mu.Lock()
	for id, p := range s.jobs {
		if job == "" || id == job {
			p.cancels = append(p.cancels, c)
		}
	}
	s.mu.Unlock()
	return s.send(s.ctx, wire.KindCancel, c)
}

// lost makes a broken link an error of the host, unless ctx or Close broke it.
func (s *Session) lost(ctx context.Context, err error) error {
	if errors.Is(err, wire.ErrClosed) {
		// The worker has ended; how is about to be known.
		select {
		case <-s.ctx.Done():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if cause := context.Cause(s.ctx); cause != nil {
		err = cause
	}
	var c *connection.Error
	if errors.As(err, &c) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &connection.Error{Class: connection.ClassTCP, Host: s.opt.Host, Op: "talk to the worker", Err: err, Hint: brokeHint}
}
