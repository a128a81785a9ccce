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
	// Met hears who answered, before any of its results; nil: nobody does.
	Met func(wire.Welcome)
	// Expect is who answered an earlier controller of this run, with
	// Durable.Resume; nil: nobody did, as far as is known.
	Expect *Identity
	// Silence is how long the host may say nothing until its link is given up;
	// 0: 15 s.
	Silence time.Duration
	// Link hears that the link broke, and with nil that it is there again; nil:
	// nobody does.
	Link func(err error)
	// Platform is "os/arch" that the host is thought to have; empty: linux on
	// this machine's processor. A wrong guess costs one more round trip or two.
	Platform string
}

// Identity is what stays of a host from one controller of a run to the next.
type Identity struct {
	MachineID string // empty where it has none
	Kept      bool   // it has a folder for the run
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

// Keeper is a Handler that keeps the result of its job for good. Keep is called
// before the worker hears that it may forget it; failed says that the job was not
// done at all.
type Keeper interface {
	Keep(body []byte, failed bool)
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
	again   bool   // this is an attempt to come back; for the goroutine of run

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

	began   time.Time
	reading atomic.Int64  // since when the host is listened to, nanoseconds after began; 0: a handler is busy
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
	if o.Silence <= 0 {
		o.Silence = silence
	}
	s := &Session{
		opt: o, conn: conn, began: time.Now(), jobs: map[string]*pending{}, owed: map[string]bool{}, blobs: map[string][]byte{}, slots: make(chan struct{}, maxCalls),
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
		s.wg.Go(func() { s.run(nil, nil, hash) })
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
		if ctx.Err() == nil && s.worthwhile(err) {
			s.wg.Go(func() { s.run(nil, err, hash) }) // the connection broke under the first command
			return s, nil
		}
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
		p.wire = newLink(p)
		s.out.guess = p.wire
	}
	if err := s.send(ctx, wire.KindHello, s.hello(false)); err != nil {
		s.limit.Stop()
		s.cancel(err)
		_ = p.finish()
		return nil, err
	}
	s.wg.Go(func() { s.run(p, nil, hash) })
	return s, nil
}

// newLink is a link over the streams of a process.
func newLink(p *process) *wire.Conn {
	c := wire.NewConn(p.Stdout(), p.Stdin())
	c.PackFrom(wire.PackController)
	return c
}

// deadline sets how long the host may take for what comes next, until it speaks.
func (s *Session) deadline(d time.Duration) {
	if s.again {
		d = min(d, againTimeout)
	}
	s.limit.Reset(d)
}

// againTimeout bounds each phase of an attempt to come back: a link that is as
// dead as the last one is not to use up the time there is.
const againTimeout = 20 * time.Second

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
// Without a p there is no link yet: the one there was broke for cause, or this is
// another controller's run.
func (s *Session) run(p *process, cause error, hash string) {
	defer close(s.ended)
	var err error
	if p == nil {
		p, err = s.reattach(cause, hash)
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
		p.wire = newLink(p)
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
	var c *connection.Error
	var exit *connection.ExitError
	broke := !hungUp(err) || errors.As(how, &c)
	switch {
	case s.isClosed() && (!s.durable() || !broke):
		return wire.ErrClosed // and not a link that broke before the worker was told
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
