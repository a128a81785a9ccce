package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/runner/event"
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
	out     *outlog
	keeper  keeper
	lock    targetLock
	links   chan *link // that take over
	began   time.Time
	alone   atomic.Int64 // since when nobody listens, nanoseconds after began; 0: somebody does

	mu      sync.Mutex
	hello   wire.Hello
	greeted chan struct{} // closed when hello is there
	blobs   map[string][]byte
	held    int
	arrival time.Time  // of the last blob
	came    *sync.Cond // broadcast for each blob
	active  map[string]*job
	cancels map[string]wire.Cancel // that came before their job
	done    map[string]bool        // jobs that have ended
	last    uint64                 // number of the last job's end; 0: none is the last
	waiting map[uint64]*question
	calls   uint64
	oldest  uint64 // no call with a smaller number waits
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
		role: as, began: time.Now(), machine: machine.New(), greeted: make(chan struct{}), arrival: time.Now(),
		blobs: map[string][]byte{}, active: map[string]*job{}, cancels: map[string]wire.Cancel{}, done: map[string]bool{},
		waiting: map[uint64]*question{}, become: map[string]*executor{}, out: newOutlog(), links: make(chan *link),
	}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	r.came = sync.NewCond(&r.mu)
	return r
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
	if l != nil {
		drain, stop := context.WithTimeout(context.WithoutCancel(r.ctx), grace)
		defer stop()
		_ = l.wire.Drain(drain) // nobody may be listening any more
	}
	r.keeper.close(err == nil && r.out.settled())
}

// durable reports whether the run goes on without a link.
func (r *run) durable() bool {
	select {
	case <-r.greeted:
		return r.role == roleWorker && r.hello.Durable != nil
	default:
		return false
	}
}

// linked gives the open link, and waits for one where the run outlives links.
func (r *run) linked(ctx context.Context) (*link, error) {
	if r.durable() {
		return r.out.wait(ctx)
	}
	if l, _ := r.out.current(); l != nil {
		return l, nil
	}
	return nil, wire.ErrClosed
}

// greet takes the first message of the first link.
func (r *run) greet(l *link, h wire.Hello) error {
	if h.Version != wire.Version {
		return fmt.Errorf("%w: the controller speaks version %d, this is version %d", wire.ErrProtocol, h.Version, wire.Version)
	}
	select {
	case <-r.greeted:
		return fmt.Errorf("%w: hello came twice", wire.ErrProtocol)
	default:
	}
	r.hello = h
	w := welcome()
	if h.Durable != nil && r.role == roleWorker {
		r.claim(&w)
		r.out.keep = w.Refused == ""
	}
	m, err := wire.Encode(wire.KindWelcome, w)
	if err != nil {
		return err
	}
	if w.Refused != "" {
		_ = l.wire.Post(r.ctx, m) // then the link ends, whether or not it arrived
		r.hello.Durable = nil
		l.over.Store(true)
		return nil
	}
	stays := r.leaveSession() // before anything runs that would stay behind
	close(r.greeted)
	if err := r.out.attach(r.ctx, l, m, 0); err != nil {
		return err
	}
	if stays != nil {
		kind, body, err := event.Encode(event.Log{Level: "warn", Message: "logind has KillUserProcesses=yes, so the end of a link ends what runs here: " + stays.Error()})
		if err == nil {
			r.emit("", kind, body)
		}
	}
	return nil
}

func (r *run) acknowledged(l *link, a wire.Ack) error {
	if err := r.out.ack(a.Seq); err != nil {
		return err
	}
	r.mu.Lock()
	last := r.last
	r.mu.Unlock()
	if last > 0 && a.Seq >= last {
		l.over.Store(true)
	}
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
	if r.durable() && (r.active[m.ID] != nil || r.done[m.ID]) {
		r.mu.Unlock()
		return nil // it came over the last link too
	}
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
		done := wire.Done{Job: m.ID}
		if err == nil {
			done.Body, err = msgpack.Marshal(body)
		}
		if err != nil {
			done.Body, done.Err = nil, err.Error()
		}
		r.report(m, done)
	})
	return nil
}

// report sends the end of a job. One that the end of the link has ended is
// nobody's any more.
func (r *run) report(m wire.Job, d wire.Done) {
	ctx := context.WithoutCancel(r.ctx)
	r.keeper.flush(r.out)
	var seq uint64
	err := r.out.add(ctx, wire.KindDone, vital, func(n uint64) any { seq = n; d.Seq = n; return d })
	if err != nil {
		_ = r.out.add(ctx, wire.KindDone, vital, func(n uint64) any { seq = n; return wire.Done{Seq: n, Job: d.Job, Err: err.Error()} })
	}
	r.mu.Lock()
	delete(r.active, m.ID)
	r.done[m.ID] = true
	if m.Last {
		r.last = seq
	}
	r.mu.Unlock()
	// The journal of a durable run is kept until the result has arrived.
	if l, _ := r.out.current(); m.Last && l != nil && (!r.durable() || r.out.settled()) {
		l.finish()
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

// emit numbers an event and sends it.
func (r *run) emit(job, kind string, body []byte) {
	i := telling
	switch kind {
	case "output":
		i = output
	case "task_started", "task_done", event.KindSecret:
		i = vital
	}
	_ = r.out.add(context.WithoutCancel(r.ctx), wire.KindEvent, i, func(n uint64) any { // events are small enough to be sent
		return wire.Event{Seq: n, Job: job, Kind: kind, Body: body, Records: r.keeper.records.Load()}
	})
}
