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
	"sync/atomic"
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
	Build    string // sloth's version, for messages
	Binaries Binaries
	Check    bool // a plan: the worker changes nothing
	Verify   bool // hash the shim on the host before it is started
	Become   wire.Become
	Env      map[string]string
	// Progress hears how much of the shim has been uploaded; nil: nobody does.
	Progress func(done, total int64)
	// StartTimeout bounds each phase until the worker speaks; 0: 60 s.
	StartTimeout time.Duration
	// Durable makes a run that outlives its link: when that breaks the session
	// comes back for it. nil: the worker ends with its link.
	Durable *wire.Durable
	// Redial gives another connection in place of one that broke, which it
	// closes; nil: a broken link is the end.
	Redial func(ctx context.Context, broken connection.Conn) (connection.Conn, error)
	// ReconnectFor is how long to try; 0: 2 minutes.
	ReconnectFor time.Duration
	// Adopt names jobs that an earlier controller gave to this run and whose
	// results it never saw; with Durable.Resume. See Adopted.
	Adopt map[string]Handler
	// Settle is called before the worker is told that something has arrived and
	// may be forgotten; after an error it is not told. nil: nothing need be done.
	Settle func() error
	// Link hears that the link broke, and with nil that it is there again; nil:
	// nobody does.
	Link func(err error)
	// Platform is "os/arch" that the host is thought to have; empty: linux on
	// this machine's processor. A wrong guess costs one more round trip or two.
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

// Limits of waiting for the host.
const (
	cancelGrace = 10 * time.Second // for a job to end after it was cancelled
	closeGrace  = 5 * time.Second  // for the worker to end after Bye
)

// Job is work for the worker.
type Job struct {
	ID   string
	Kind string
	Body any // encoded with msgpack
	// Last says that no other job of the session follows: the worker then ends
	// by itself, which saves the round trip of Close.
	Last bool
}

// Handler hears what a job says. Event is called in order, from one goroutine,
// and holds up the host while it runs; Call from several at once. Neither begins
// once Do has returned.
type Handler interface {
	Event(kind string, body []byte)
	Call(ctx context.Context, service string, body []byte) ([]byte, error)
}

// Session is the controller's end of one worker.
type Session struct {
	opt    Options
	conn   connection.Conn
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	limit  *time.Timer // until the worker speaks

	tooLate func() // called when limit is over; set while it is stopped

	out   outbox
	ended chan struct{}

	mu      sync.Mutex
	proc    *process // the link of now; set before started is closed
	jobs    map[string]*pending
	owed    map[string]bool // jobs that were given and whose result has not come
	closed  bool
	leaving bool          // the worker is to go on alone
	restart time.Duration // the host is being restarted, and may take that long
	turned  chan struct{} // closed at the next link
	seq     uint64
	acked   uint64
	heard   int           // bytes of events since
	records uint64        // of the journal, as the worker last said
	started chan struct{} // closed when the worker has spoken
	welcome chan struct{} // closed when greet is set
	greet   wire.Welcome

	blobsMu sync.Mutex
	blobs   map[string][]byte // what was sent; the content is kept for durable runs

	served served

	reading atomic.Int64  // since when the host is listened to, Unix nanoseconds; 0: a handler is busy
	slots   chan struct{} // one token for each short call under way
	calls   atomic.Int32
}

// pending is a job that has not ended.
type pending struct {
	h      Handler
	ctx    context.Context // ends with Do
	cancel context.CancelFunc
	done   chan wire.Done
	gone   chan *Lost // its worker is gone

	// What a new link is told again; guarded by the session's mu.
	m       wire.Message
	sent    bool
	adopted bool // given by an earlier controller
	cancels []wire.Cancel

	mu   sync.Mutex // held while Event runs
	over bool
}

// Open starts a worker on the other end of conn. It returns when the host has
// accepted the command that looks for the shim; jobs may be given at once and
// travel right behind. Uploading the shim, where it is missing, and waiting for
// the worker go on meanwhile, and an error of them is the error of every job.
// ctx bounds Open; the session lasts until Close or until the link breaks.
func Open(ctx context.Context, conn connection.Conn, o Options) (*Session, error) {
	if o.StartTimeout <= 0 {
		o.StartTimeout = 60 * time.Second
	}
	s := &Session{
		opt: o, conn: conn, jobs: map[string]*pending{}, owed: map[string]bool{}, blobs: map[string][]byte{}, slots: make(chan struct{}, maxCalls),
		turned:  make(chan struct{}),
		started: make(chan struct{}), welcome: make(chan struct{}), ended: make(chan struct{}),
	}
	s.out.outlives = s.durable()
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	goos, goarch := o.platform()
	hash, err := hashOf(o.Binaries, goos, goarch)
	if err != nil {
		return nil, s.problem("find a shim", err, "")
	}
	s.tooLate = s.startedTooLate
	s.limit = time.AfterFunc(o.StartTimeout, func() { s.tooLate() })
	if o.Durable != nil && o.Durable.Resume {
		s.adopt()
		s.limit.Stop()
		s.wg.Go(func() { s.run(nil, hash) })
		return s, nil
	}
	stop := context.AfterFunc(ctx, func() { s.cancel(context.Cause(ctx)) })
	p, err := exec(s.ctx, conn, bootstrapLine(hash, o.Verify, nil, ""))
	if !stop() && err == nil {
		_ = p.finish() // ctx has ended it
		err = context.Cause(ctx)
	}
	if err != nil {
		s.limit.Stop()
		if cause := context.Cause(s.ctx); cause != nil {
			err = cause
		}
		s.cancel(err)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, s.problem("start the worker", err, "")
	}
	if !o.Become.HasPassword { // that is for nobody but the worker
		p.wire = wire.NewConn(p.Stdout(), p.Stdin())
		s.out.guess = p.wire
	}
	if err := s.send(ctx, wire.KindHello, s.hello(false)); err != nil {
		s.limit.Stop()
		s.cancel(err)
		_ = p.finish()
		return nil, err
	}
	s.wg.Go(func() { s.run(p, hash) })
	return s, nil
}

// deadline sets how long the host may take for what comes next, until it speaks.
func (s *Session) deadline(d time.Duration) { s.limit.Reset(d) }

func (s *Session) startedTooLate() {
	s.cancel(&connection.Error{Class: connection.ClassShim, Host: s.opt.Host, Op: "start the worker",
		Err: errors.New("the host does not answer in time"), Hint: "The login works but its shell, or the shim, does not come to an end of starting up; try `ssh HOST true`."})
}

// hello is the first message on every link.
func (s *Session) hello(resume bool) wire.Hello {
	o := &s.opt
	h := wire.Hello{Version: wire.Version, Build: o.Build, RunID: o.RunID, Check: o.Check, Become: o.Become, Env: o.Env}
	if o.Durable != nil {
		d := *o.Durable
		s.mu.Lock()
		d.Resume, d.From = resume, s.seq
		s.mu.Unlock()
		h.Durable = &d
	}
	return h
}

// durable reports whether the session comes back when its link breaks.
func (s *Session) durable() bool { return s.opt.Durable != nil && s.opt.Redial != nil }

// run starts the worker and serves it until all is over, link after link.
func (s *Session) run(p *process, hash string) {
	defer close(s.ended)
	var err error
	if p == nil {
		p, err = s.reattach(nil, hash)
		if err != nil {
			s.cancel(err)
			return
		}
	} else if p, err = s.start(p, hash, false); err == nil {
		s.first(p)
	}
	for {
		if err == nil {
			err = s.follow(p)
		}
		s.limit.Stop()
		if !s.worthwhile(err) {
			s.cancel(err)
			return
		}
		if p, err = s.reattach(err, hash); err != nil {
			s.cancel(err)
			return
		}
	}
}

// first makes p, which is ready, the link.
func (s *Session) first(p *process) {
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()
	if p.wire == nil {
		p.wire = wire.NewConn(p.Stdout(), p.Stdin())
	}
	close(s.started)
	s.wg.Go(func() {
		// A failure is one of the link, which receive reports.
		_ = s.out.settle(s.ctx, p.wire)
	})
	s.wg.Go(s.heartbeat)
}

// follow serves a link until it ends, and says why it did.
func (s *Session) follow(p *process) error {
	err := s.receive(p)
	if s.durable() {
		s.out.park()
	}
	if !hungUp(err) && !s.durable() {
		s.cancel(s.why(err, nil, p)) // before anybody meets a closed link
	}
	var how error
	if hungUp(err) {
		// It has ended, or hung up and still runs: then it is ended.
		patience := time.AfterFunc(closeGrace, p.kill)
		how = p.finish()
		patience.Stop()
	} else {
		if s.durable() {
			p.kill()
		}
		how = p.finish()
	}
	if lost := p.lost.Load(); lost != nil {
		return *lost
	}
	return s.why(err, how, p)
}

// why says how the session came to its end: err ended the reading, how the
// process.
func (s *Session) why(err, how error, p *process) error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	var c *connection.Error
	var exit *connection.ExitError
	switch {
	case closed:
		return wire.ErrClosed
	case errors.As(err, &c):
		return err
	case errors.Is(err, wire.ErrProtocol):
		return &connection.Error{Class: connection.ClassShim, Host: s.opt.Host, Op: "talk to the worker", Err: err,
			Hint: "The host does not speak sloth's protocol as it should; look into it, and try --verify-shim."}
	case errors.As(how, &c):
		return how // the connection itself knows best
	case !hungUp(err):
		return &connection.Error{Class: connection.ClassTCP, Host: s.opt.Host, Op: "talk to the worker", Err: err, Hint: brokeHint}
	}
	err = errors.New("it ended before its work was done")
	if errors.As(how, &exit) {
		err = fmt.Errorf("it ended: %w", how)
	}
	if said := p.said.firstLine(); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return &connection.Error{Class: connection.ClassShim, Host: s.opt.Host, Op: "talk to the worker", Err: err,
		Hint: "What had begun may have happened. Somebody may have killed it, or the host ran out of memory."}
}

// hungUp tells the end of the worker's output from everything else.
func hungUp(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

const brokeHint = "The connection broke while tasks were running; what had begun may still have happened."

// Welcome waits for what the worker says of itself.
func (s *Session) Welcome(ctx context.Context) (wire.Welcome, error) {
	select {
	case <-s.welcome:
		return s.greet, nil
	default:
	}
	select {
	case <-s.welcome:
		return s.greet, nil
	case <-s.ctx.Done():
		return wire.Welcome{}, context.Cause(s.ctx)
	case <-ctx.Done():
		return wire.Welcome{}, context.Cause(ctx)
	}
}

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

// AwaitRestart waits until the host, which is about to be restarted, has come
// back with another boot id, for at most limit. The session goes on with it.
func (s *Session) AwaitRestart(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s.mu.Lock()
	s.restart = limit
	before := s.greet.BootID
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.restart = 0; s.mu.Unlock() }()
	for {
		s.mu.Lock()
		now, turned := s.greet.BootID, s.turned
		s.mu.Unlock()
		if now != before {
			return nil
		}
		select {
		case <-turned:
		case <-s.ctx.Done():
			return s.lost(s.ctx, context.Cause(s.ctx))
		case <-ctx.Done():
			return &connection.Error{Class: connection.ClassTCP, Host: s.opt.Host, Op: "wait for the restart",
				Err: fmt.Errorf("the host has not come back with another boot id within %s", limit), Hint: "Look at its console. `sloth runs resume` goes on with the run."}
		}
	}
}

// Leave ends the session and lets a durable run go on without it.
func (s *Session) Leave() error {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	return s.Close()
}

// Close lets the worker end, with what it still runs, and waits for what belongs
// to the session. The connection stays open. Another Close waits too.
func (s *Session) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if !again {
		s.bye()
	}
	s.wg.Wait()
	return nil
}

func (s *Session) bye() {
	select {
	case <-s.started:
	default:
		s.cancel(wire.ErrClosed) // nothing has begun that would have to end well
		return
	}
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	s.mu.Lock()
	seq := s.seq
	leaving := s.leaving
	s.mu.Unlock()
	_ = s.send(s.ctx, wire.KindAck, wire.Ack{Seq: seq})
	if leaving {
		s.cancel(wire.ErrClosed)
		return
	}
	if s.send(s.ctx, wire.KindBye, nil) == nil {
		select {
		case <-s.ended:
		case <-s.ctx.Done():
		case <-grace.C: // then its connection ends it
		}
	}
	s.cancel(wire.ErrClosed)
}
