package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/vmihailenco/msgpack/v5"
)

type role string

const (
	roleWorker   role = "worker"
	roleExecutor role = "executor"
)

// Limits.
const (
	maxBlobs    = 512 << 20        // bytes kept of what travelled ahead
	blobTimeout = 5 * time.Minute  // without any content arriving
	maxCancels  = 1000             // kept for jobs that are still on their way
	endGrace    = 8 * time.Second  // for jobs to end once the link has
	byeGrace    = 30 * time.Second // for the last messages after an agreed end
)

// run is one run on one host: its jobs, its events, what it knows.
type run struct {
	role   role
	ctx    context.Context
	cancel context.CancelCauseFunc
	jobs   sync.WaitGroup

	machine modules.Machine
	link    atomic.Pointer[link] // nil: nobody listens

	order sync.Mutex // held while an event gets its number and its place
	seq   uint64
	acked atomic.Uint64

	mu      sync.Mutex
	hello   wire.Hello
	greeted chan struct{} // closed when hello is there
	blobs   map[string][]byte
	held    int
	arrival time.Time  // of the last blob
	came    *sync.Cond // broadcast for each blob
	active  map[string]*job
	cancels map[string]wire.Cancel // that came before their job
	waiting map[uint64]chan wire.Reply
	calls   uint64
	overlay *machine.Overlay
	become  map[string]*executor
}

// job is a job under way.
type job struct {
	id     string
	ctx    context.Context
	cancel context.CancelCauseFunc
	stop   chan struct{} // closed: begin no further step
	once   sync.Once

	mu      sync.Mutex
	step    string // that runs now
	endStep context.CancelCauseFunc
	skip    map[string]bool // steps cancelled before their turn
}

// errStopped is the cause when the controller cancelled a job or a step.
var errStopped = errors.New("cancelled by the controller")

func newRun(ctx context.Context, as role) *run {
	r := &run{
		role: as, machine: machine.New(), greeted: make(chan struct{}), arrival: time.Now(),
		blobs: map[string][]byte{}, active: map[string]*job{}, cancels: map[string]wire.Cancel{},
		waiting: map[uint64]chan wire.Reply{}, become: map[string]*executor{},
	}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	r.came = sync.NewCond(&r.mu)
	return r
}

// attach makes l the way on which events and results go.
func (r *run) attach(l *link) { r.link.Store(l) }

// send queues a message for whoever listens.
func (r *run) send(ctx context.Context, kind wire.Kind, v any) error {
	l := r.link.Load()
	if l == nil {
		return wire.ErrClosed
	}
	return l.wire.Send(ctx, kind, v)
}

// end ends everything that was started, now that l has ended with err.
func (r *run) end(l *link, err error) {
	r.cancel(errors.New("the link to the controller ended"))
	r.mu.Lock()
	r.came.Broadcast()
	r.mu.Unlock()
	quiet := make(chan struct{})
	go func() {
		defer close(quiet)
		r.jobs.Wait()
		r.closeExecutors()
	}()
	limit := time.NewTimer(endGrace)
	defer limit.Stop()
	select {
	case <-quiet:
	case <-limit.C: // the end of the process ends what does not heed its context
	}
	grace := time.Second
	if err == nil {
		grace = byeGrace
	}
	drain, stop := context.WithTimeout(context.WithoutCancel(r.ctx), grace)
	defer stop()
	_ = l.wire.Drain(drain) // nobody may be listening any more
}

func (r *run) greet(h wire.Hello) error {
	if h.Version != wire.Version {
		return fmt.Errorf("%w: the controller speaks version %d, this is version %d", wire.ErrProtocol, h.Version, wire.Version)
	}
	select {
	case <-r.greeted:
		return fmt.Errorf("%w: hello came twice", wire.ErrProtocol)
	default:
	}
	r.hello = h
	close(r.greeted)
	return nil
}

func (r *run) acknowledged(a wire.Ack) error {
	r.acked.Store(a.Seq)
	return nil
}

// keep stores content that jobs refer to.
func (r *run) keep(b wire.Blob) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held += len(b.Data); r.held > maxBlobs {
		return fmt.Errorf("%w: more than %d bytes of content", wire.ErrProtocol, maxBlobs)
	}
	r.blobs[b.Hash] = b.Data
	r.arrival = time.Now()
	r.came.Broadcast()
	return nil
}

// blob waits for content that is on its way.
func (r *run) blob(ctx context.Context, hash string) ([]byte, error) {
	wake := func() { r.mu.Lock(); r.came.Broadcast(); r.mu.Unlock() }
	stop := context.AfterFunc(ctx, wake)
	defer stop()
	tick := time.AfterFunc(blobTimeout, wake)
	defer tick.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	begun := time.Now()
	for {
		if data, ok := r.blobs[hash]; ok {
			return data, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		left := blobTimeout - min(time.Since(r.arrival), time.Since(begun))
		if left <= 0 {
			return nil, fmt.Errorf("content %.12s was announced and did not come", hash)
		}
		tick.Reset(left)
		r.came.Wait()
	}
}

// start begins a job; its result goes out as Done.
func (r *run) start(m wire.Job) error {
	j := &job{id: m.ID, stop: make(chan struct{}), skip: map[string]bool{}}
	j.ctx, j.cancel = context.WithCancelCause(r.ctx)
	r.mu.Lock()
	if r.active[m.ID] != nil {
		r.mu.Unlock()
		return fmt.Errorf("%w: job %.40q was begun twice", wire.ErrProtocol, m.ID)
	}
	r.active[m.ID] = j
	c, cancelled := r.cancels[m.ID]
	delete(r.cancels, m.ID)
	r.mu.Unlock()
	if cancelled {
		j.apply(c)
	}
	r.jobs.Go(func() {
		defer j.cancel(nil)
		body, err := r.work(j, m)
		r.mu.Lock()
		delete(r.active, m.ID)
		r.mu.Unlock()
		done := wire.Done{Job: m.ID}
		if err == nil {
			done.Body, err = msgpack.Marshal(body)
		}
		if err != nil {
			done.Body, done.Err = nil, err.Error()
		}
		r.report(done)
		if m.Last {
			if l := r.link.Load(); l != nil {
				l.finish()
			}
		}
	})
	return nil
}

// report sends the end of a job. One that the end of the link has ended is
// nobody's any more.
func (r *run) report(d wire.Done) {
	ctx := context.WithoutCancel(r.ctx)
	err := r.send(ctx, wire.KindDone, d)
	if err != nil && len(d.Body) > wire.MaxMessage/2 {
		_ = r.send(ctx, wire.KindDone, wire.Done{Job: d.Job, Err: err.Error()})
	}
}

// work does one job of a known kind.
func (r *run) work(j *job, m wire.Job) (any, error) {
	select {
	case <-r.greeted:
	case <-j.ctx.Done():
		return nil, context.Cause(j.ctx)
	}
	switch m.Kind {
	case "segment":
		return r.segment(j, m.Body)
	case "facts":
		var names []string
		if err := msgpack.Unmarshal(m.Body, &names); err != nil {
			return nil, err
		}
		return facts.Collect(j.ctx, names...), nil
	}
	return nil, fmt.Errorf("there is no job of kind %.40q", m.Kind)
}

// cancelJobs ends one job, or all. A cancel overtakes its job where both are
// sent at once, so it is kept.
func (r *run) cancelJobs(c wire.Cancel) error {
	r.mu.Lock()
	var hit []*job
	for id, j := range r.active {
		if c.Job == "" || c.Job == id {
			hit = append(hit, j)
		}
	}
	if len(hit) == 0 && c.Job != "" && len(r.cancels) < maxCancels {
		r.cancels[c.Job] = c
	}
	r.mu.Unlock()
	for _, j := range hit {
		j.apply(c)
	}
	return nil
}

func (j *job) apply(c wire.Cancel) {
	if c.Step != "" {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.skip[c.Step] = true
		if c.Hard && j.step == c.Step && j.endStep != nil {
			j.endStep(errStopped)
		}
		return
	}
	j.once.Do(func() { close(j.stop) })
	if c.Hard {
		j.cancel(errStopped)
	}
}

// begin gives the context of a step; false when it was cancelled before.
func (j *job) begin(step string) (context.Context, func(), bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.skip[step] {
		return nil, nil, false
	}
	ctx, cancel := context.WithCancelCause(j.ctx)
	j.step, j.endStep = step, cancel
	return ctx, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.step, j.endStep = "", nil
		cancel(nil)
	}, true
}

// ask sends a call on behalf of a job and returns where its answer arrives.
// forget must be called when nobody waits for it any more.
func (r *run) ask(ctx context.Context, job, service string, body []byte, stream uint32) (answer <-chan wire.Reply, forget func(), err error) {
	ch := make(chan wire.Reply, 1)
	r.mu.Lock()
	r.calls++
	id := r.calls
	r.waiting[id] = ch
	r.mu.Unlock()
	forget = func() { r.mu.Lock(); delete(r.waiting, id); r.mu.Unlock() }
	if err := r.send(ctx, wire.KindCall, wire.Call{ID: id, Job: job, Service: service, Body: body, Stream: stream}); err != nil {
		forget()
		return nil, nil, err
	}
	return ch, forget, nil
}

// call asks the controller on behalf of a job.
func (r *run) call(ctx context.Context, job, service string, body []byte) ([]byte, error) {
	ch, forget, err := r.ask(ctx, job, service, body, 0)
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

// stream asks for something that is too big for a reply. What goes wrong on the
// other side is an error of reading.
func (r *run) stream(ctx context.Context, job, service string, body []byte) (io.ReadCloser, error) {
	l := r.link.Load()
	if l == nil {
		return nil, wire.ErrClosed
	}
	in, err := l.wire.Incoming(ctx)
	if err != nil {
		return nil, err
	}
	ch, forget, err := r.ask(ctx, job, service, body, in.ID())
	if err != nil {
		in.Close()
		return nil, err
	}
	return &download{ctx: ctx, in: in, answer: ch, forget: forget}, nil
}

// download is the answer to a call that comes as a stream.
type download struct {
	ctx    context.Context
	in     *wire.Incoming
	answer <-chan wire.Reply
	forget func()
	err    error
}

func (d *download) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.in.Read(p)
	if err == nil || n > 0 {
		return n, nil
	}
	// Only the reply says whether the end is the end, and what went wrong.
	d.err = err
	select {
	case a := <-d.answer:
		if a.Err != "" {
			d.err = errors.New(a.Err)
		}
	case <-d.ctx.Done():
		d.err = context.Cause(d.ctx)
	}
	return 0, d.err
}

func (d *download) Close() error {
	d.forget()
	return d.in.Close()
}

// replied hands an answer to whoever waits for it.
func (r *run) replied(a wire.Reply) error {
	r.mu.Lock()
	ch := r.waiting[a.ID]
	delete(r.waiting, a.ID)
	r.mu.Unlock()
	if ch != nil {
		ch <- a
	}
	return nil
}

// emit numbers an event and sends it. Numbers have no gap: the lock is held
// while it is queued.
func (r *run) emit(job, kind string, body []byte) {
	r.order.Lock()
	defer r.order.Unlock()
	r.seq++
	// A broken link ends the run; until then whoever emits need not know.
	_ = r.send(context.WithoutCancel(r.ctx), wire.KindEvent, wire.Event{Seq: r.seq, Job: job, Kind: kind, Body: body})
}
