// Package shim puts the worker on a host and is the controller's end of a
// session with it. It knows jobs, events and calls by name only.
package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/vmihailenco/msgpack/v5"
)

// Options say how a session is opened. The zero value of an optional field
// means what its comment says.
type Options struct {
	Host     string // inventory name, for errors
	RunID    string
	Binaries Binaries
	Check    bool // a plan: the worker changes nothing
	Verify   bool // hash the shim on the host before it is started
	Become   wire.Become
	Env      map[string]string
	// Progress hears how much of the shim has been uploaded; nil: nobody does.
	Progress func(done, total int64)
	// StartTimeout bounds everything until the worker speaks; 0: 60 s.
	StartTimeout time.Duration
	// Platform is "os/arch" that the host is thought to have; empty: linux on
	// this machine's processor.
	Platform string
}

func (o *Options) platform() (goos, goarch string) {
	if goos, goarch, ok := strings.Cut(o.Platform, "/"); ok {
		return goos, goarch
	}
	return "linux", runtime.GOARCH
}

// Heartbeats: each side says something at least this often, and believes the
// other gone when it was silent for longer than silence.
const (
	beat    = 5 * time.Second
	silence = 15 * time.Second
)

// Limits on what a host may ask for at once.
const (
	maxCalls    = 16
	callTimeout = 10 * time.Minute
)

// Job is work for the worker.
type Job struct {
	ID   string
	Kind string
	Body any // encoded with msgpack
}

// Handler hears what a job says. Event is called in order, from one goroutine;
// Call from several.
type Handler interface {
	Event(kind string, body []byte)
	Call(ctx context.Context, service string, body []byte) ([]byte, error)
}

// Session is an open worker.
type Session struct {
	opt    Options
	proc   connection.Process
	wire   *wire.Conn
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	calls  chan struct{} // one token a call under way

	mu      sync.Mutex
	jobs    map[string]*pending
	blobs   map[string]bool
	seq     uint64
	heard   time.Time
	welcome chan struct{} // closed when greeting is set
	greet   wire.Welcome
	closed  bool
}

type pending struct {
	h    Handler
	done chan wire.Done
}

// Open starts the worker on the other end of conn; ctx is for the whole
// session. The shim is uploaded first where it is missing.
func Open(ctx context.Context, conn connection.Conn, o Options) (*Session, error) {
	if o.StartTimeout <= 0 {
		o.StartTimeout = 60 * time.Second
	}
	ctx, cancel := context.WithCancelCause(ctx)
	limit := time.AfterFunc(o.StartTimeout, func() {
		cancel(&connection.Error{Class: connection.ClassShim, Host: o.Host, Op: "start the worker",
			Err: fmt.Errorf("no answer within %s", o.StartTimeout), Hint: "The login works but its shell does not come to an end of starting up; try `ssh HOST true`."})
	})
	p, err := open(ctx, conn, o)
	if !limit.Stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		cancel(err)
		return nil, err
	}
	s := &Session{
		opt: o, proc: p, wire: wire.NewConn(p.Stdout(), p.Stdin()), ctx: ctx, cancel: cancel,
		calls: make(chan struct{}, maxCalls), jobs: map[string]*pending{}, blobs: map[string]bool{}, welcome: make(chan struct{}), heard: time.Now(),
	}
	s.wg.Go(func() { _, _ = io.Copy(io.Discard, p.Stderr()) })
	s.wg.Go(s.receive)
	s.wg.Go(s.heartbeat)
	hello := wire.Hello{Version: wire.Version, RunID: o.RunID, Check: o.Check, Become: o.Become, Env: o.Env}
	if err := s.wire.Send(ctx, wire.KindHello, hello); err != nil {
		s.Close()
		return nil, s.lost(err)
	}
	return s, nil
}

// Welcome waits for what the worker says of itself.
func (s *Session) Welcome(ctx context.Context) (wire.Welcome, error) {
	select {
	case <-s.welcome:
		return s.greet, nil
	case <-s.ctx.Done():
		return wire.Welcome{}, context.Cause(s.ctx)
	case <-ctx.Done():
		return wire.Welcome{}, ctx.Err()
	}
}

// PutBlob sends content that jobs refer to by its hash, once in a session.
func (s *Session) PutBlob(ctx context.Context, hash string, data []byte) error {
	s.mu.Lock()
	known := s.blobs[hash]
	s.blobs[hash] = true
	s.mu.Unlock()
	if known {
		return nil
	}
	if err := s.wire.Send(ctx, wire.KindBlob, wire.Blob{Hash: hash, Data: data}); err != nil {
		return s.lost(err)
	}
	return nil
}

// Do sends a job and returns its result when it is done. A cancelled ctx
// cancels the job on the host and waits a little for its end.
func (s *Session) Do(ctx context.Context, job Job, h Handler) ([]byte, error) {
	body, err := msgpack.Marshal(job.Body)
	if err != nil {
		return nil, fmt.Errorf("encode job %s: %w", job.ID, err)
	}
	p := &pending{h: h, done: make(chan wire.Done, 1)}
	s.mu.Lock()
	if s.jobs[job.ID] != nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("job %s is under way already", job.ID)
	}
	s.jobs[job.ID] = p
	s.mu.Unlock()
	defer func() { s.mu.Lock(); delete(s.jobs, job.ID); s.mu.Unlock() }()

	if err := s.wire.Send(ctx, wire.KindJob, wire.Job{ID: job.ID, Kind: job.Kind, Body: body}); err != nil {
		return nil, s.lost(err)
	}
	select {
	case d := <-p.done:
		return s.result(d)
	case <-s.ctx.Done():
		return nil, s.lost(context.Cause(s.ctx))
	case <-ctx.Done():
	}
	_ = s.Cancel(job.ID, "", true) // a link that is gone has its own error below
	grace := time.NewTimer(10 * time.Second)
	defer grace.Stop()
	select {
	case d := <-p.done:
		return s.result(d)
	case <-s.ctx.Done():
		return nil, s.lost(context.Cause(s.ctx))
	case <-grace.C:
		return nil, fmt.Errorf("the host did not confirm the end of the job: %w", ctx.Err())
	}
}

func (s *Session) result(d wire.Done) ([]byte, error) {
	if d.Err != "" {
		return nil, &connection.Error{Class: connection.ClassShim, Host: s.opt.Host, Op: "work on the host", Err: errors.New(d.Err)}
	}
	return d.Body, nil
}

// Cancel asks the worker to end a job: softly before its next step, or hard by
// ending the step's processes.
func (s *Session) Cancel(job, step string, hard bool) error {
	return s.wire.Send(s.ctx, wire.KindCancel, wire.Cancel{Job: job, Step: step, Hard: hard})
}

// lost makes a broken link an error of the host, unless ctx or Close broke it.
func (s *Session) lost(err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		err = cause
	}
	var c *connection.Error
	if errors.As(err, &c) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &connection.Error{Class: connection.ClassTCP, Host: s.opt.Host, Op: "talk to the worker", Err: err,
		Hint: "The connection broke while tasks were running; what had begun may still have happened."}
}

// receive serves everything the worker says until the link ends.
func (s *Session) receive() {
	for {
		kind, body, err := s.wire.Receive()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the worker ended")
			}
			s.cancel(s.lost(err))
			return
		}
		s.mu.Lock()
		s.heard = time.Now()
		s.mu.Unlock()
		if err := s.handle(kind, body); err != nil {
			s.cancel(&connection.Error{Class: connection.ClassShim, Host: s.opt.Host, Op: "talk to the worker", Err: err,
				Hint: "The host does not speak sloth's protocol as it should; look into it, and try --verify-shim."})
			return
		}
	}
}

func (s *Session) handle(kind wire.Kind, body []byte) error {
	switch kind {
	case wire.KindWelcome:
		return s.welcomed(body)
	case wire.KindEvent:
		var e wire.Event
		if err := wire.Decode(kind, body, &e); err != nil {
			return err
		}
		if e.Seq != s.seq+1 {
			return fmt.Errorf("event %d came after event %d", e.Seq, s.seq)
		}
		s.seq = e.Seq
		if p := s.job(e.Job); p != nil {
			p.h.Event(e.Kind, e.Body)
		}
	case wire.KindDone:
		var d wire.Done
		if err := wire.Decode(kind, body, &d); err != nil {
			return err
		}
		if p := s.job(d.Job); p != nil {
			select {
			case p.done <- d:
			default:
				return fmt.Errorf("job %.40q was done twice", d.Job)
			}
		}
	case wire.KindCall:
		var c wire.Call
		if err := wire.Decode(kind, body, &c); err != nil {
			return err
		}
		s.serve(c)
	case wire.KindPing:
		return s.wire.Send(s.ctx, wire.KindPong, nil)
	case wire.KindPong:
	default:
		return fmt.Errorf("%w: a %s from a worker", wire.ErrProtocol, kind)
	}
	return nil
}

func (s *Session) welcomed(body []byte) error {
	var w wire.Welcome
	if err := wire.Decode(wire.KindWelcome, body, &w); err != nil {
		return err
	}
	if w.Version != wire.Version {
		return fmt.Errorf("the worker speaks version %d, this is version %d", w.Version, wire.Version)
	}
	select {
	case <-s.welcome:
		return errors.New("the worker said welcome twice")
	default:
	}
	s.greet = w
	close(s.welcome)
	return nil
}

func (s *Session) job(id string) *pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jobs[id]
}

// serve answers a call in a goroutine; when too many are under way the link is
// not read until one ends, which holds the host up and nobody else.
func (s *Session) serve(c wire.Call) {
	select {
	case s.calls <- struct{}{}:
	case <-s.ctx.Done():
		return
	}
	s.wg.Go(func() {
		defer func() { <-s.calls }()
		r := wire.Reply{ID: c.ID}
		if p := s.job(c.Job); p == nil {
			r.Err = "this job is not under way"
		} else {
			ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
			defer cancel()
			body, err := p.h.Call(ctx, c.Service, c.Body)
			if r.Body = body; err != nil {
				r.Body, r.Err = nil, err.Error()
			}
		}
		_ = s.wire.Send(s.ctx, wire.KindReply, r) // a broken link ends the session by itself
	})
}

// heartbeat keeps the link in use and notices when the other side is silent.
func (s *Session) heartbeat() {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			s.mu.Lock()
			quiet := time.Since(s.heard)
			s.mu.Unlock()
			if quiet > silence {
				s.cancel(&connection.Error{Class: connection.ClassTCP, Host: s.opt.Host, Op: "talk to the worker",
					Err: fmt.Errorf("silent for %s", quiet.Round(time.Second)), Hint: "Is the host up, and the network between?"})
				return
			}
			_ = s.wire.Send(s.ctx, wire.KindPing, nil)
		}
	}
}

// Close lets the worker end and waits for what belongs to the session. The
// connection stays open.
func (s *Session) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if !again {
		_ = s.wire.Send(s.ctx, wire.KindBye, nil)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), time.Second)
		_ = s.wire.Drain(ctx) // a link that takes nothing more is dropped
		cancel()
		s.proc.Stdin().Close()
		s.cancel(wire.ErrClosed)
	}
	s.wg.Wait()
	return nil
}
