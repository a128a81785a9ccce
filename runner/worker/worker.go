package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/vmihailenco/msgpack/v5"
)

// The link is dead when nothing was heard for longer than silence; each side
// says something every beat.
const (
	beat    = 5 * time.Second
	silence = 20 * time.Second
)

// maxBlobs bounds what a worker keeps of what travelled ahead.
const maxBlobs = 512 << 20

// worker is one run on one host: the link, the jobs, the events.
type worker struct {
	role string
	link *wire.Conn
	in   io.ReadCloser

	ctx    context.Context
	cancel context.CancelCauseFunc
	jobs   sync.WaitGroup

	machine modules.Machine

	order sync.Mutex // held while an event gets its number and its place
	seq   uint64

	mu      sync.Mutex
	hello   wire.Hello
	greeted chan struct{} // closed when hello is there
	blobs   map[string][]byte
	held    int
	came    *sync.Cond // signalled for each blob
	active  map[string]*job
	waiting map[uint64]chan wire.Reply
	calls   uint64
	heard   time.Time
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
}

// errStopped is the cause when the controller cancelled a job.
var errStopped = errors.New("cancelled by the controller")

func newWorker(in io.ReadCloser, out io.Writer, role string) *worker {
	w := &worker{
		role: role, link: wire.NewConn(in, out), in: in, machine: machine.New(), greeted: make(chan struct{}),
		blobs: map[string][]byte{}, active: map[string]*job{}, waiting: map[uint64]chan wire.Reply{}, heard: time.Now(), become: map[string]*executor{},
	}
	w.came = sync.NewCond(&w.mu)
	return w
}

// run serves until the link ends, then ends everything that was started.
func (w *worker) run(ctx context.Context) error {
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	if err := w.link.Send(w.ctx, wire.KindWelcome, welcome()); err != nil {
		return err
	}
	beats := make(chan struct{})
	go func() { defer close(beats); w.heartbeat() }()
	err := w.receive()
	w.cancel(errors.New("the link to the controller ended"))
	w.mu.Lock()
	w.came.Broadcast()
	w.mu.Unlock()
	w.jobs.Wait()
	for _, e := range w.become {
		e.close()
	}
	<-beats
	drain, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	_ = w.link.Drain(drain) // nobody may be listening any more
	if errors.Is(err, io.EOF) || errors.Is(err, errBye) {
		return nil
	}
	return err
}

var errBye = errors.New("bye")

func (w *worker) receive() error {
	for {
		kind, body, err := w.link.Receive()
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.heard = time.Now()
		w.mu.Unlock()
		if err := w.handle(kind, body); err != nil {
			return err
		}
	}
}

func (w *worker) handle(kind wire.Kind, body []byte) error {
	switch kind {
	case wire.KindHello:
		var h wire.Hello
		if err := wire.Decode(kind, body, &h); err != nil {
			return err
		}
		if h.Version != wire.Version {
			return fmt.Errorf("the controller speaks version %d, this is version %d", h.Version, wire.Version)
		}
		w.hello = h
		close(w.greeted)
	case wire.KindBlob:
		var b wire.Blob
		if err := wire.Decode(kind, body, &b); err != nil {
			return err
		}
		return w.keep(b)
	case wire.KindJob:
		var j wire.Job
		if err := wire.Decode(kind, body, &j); err != nil {
			return err
		}
		w.start(j)
	case wire.KindCancel:
		var c wire.Cancel
		if err := wire.Decode(kind, body, &c); err != nil {
			return err
		}
		w.cancelJobs(c)
	case wire.KindReply:
		var r wire.Reply
		if err := wire.Decode(kind, body, &r); err != nil {
			return err
		}
		w.mu.Lock()
		ch := w.waiting[r.ID]
		delete(w.waiting, r.ID)
		w.mu.Unlock()
		if ch != nil {
			ch <- r
		}
	case wire.KindPing:
		return w.link.Send(w.ctx, wire.KindPong, nil)
	case wire.KindPong, wire.KindAck:
	case wire.KindBye:
		return errBye
	default:
		return fmt.Errorf("%w: a %s from a controller", wire.ErrProtocol, kind)
	}
	return nil
}

func (w *worker) keep(b wire.Blob) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held += len(b.Data); w.held > maxBlobs {
		return fmt.Errorf("%w: more than %d bytes of blobs", wire.ErrProtocol, maxBlobs)
	}
	w.blobs[b.Hash] = b.Data
	w.came.Broadcast()
	return nil
}

// blob waits for content that is on its way.
func (w *worker) blob(ctx context.Context, hash string) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { w.mu.Lock(); w.came.Broadcast(); w.mu.Unlock() })
	defer stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if data, ok := w.blobs[hash]; ok {
			return data, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		w.came.Wait()
	}
}

func (w *worker) start(j wire.Job) {
	job := &job{id: j.ID, stop: make(chan struct{})}
	job.ctx, job.cancel = context.WithCancelCause(w.ctx)
	w.mu.Lock()
	w.active[j.ID] = job
	w.mu.Unlock()
	w.jobs.Go(func() {
		defer job.cancel(nil)
		body, err := w.work(job, j)
		w.mu.Lock()
		delete(w.active, j.ID)
		w.mu.Unlock()
		done := wire.Done{Job: j.ID}
		if err == nil {
			done.Body, err = msgpack.Marshal(body)
		}
		if err != nil {
			done.Body, done.Err = nil, err.Error()
		}
		// The job may have been ended by the end of the link: then nobody hears this.
		_ = w.link.Send(context.WithoutCancel(w.ctx), wire.KindDone, done)
	})
}

// work does one job of a known kind.
func (w *worker) work(j *job, m wire.Job) (any, error) {
	select {
	case <-w.greeted:
	case <-j.ctx.Done():
		return nil, context.Cause(j.ctx)
	}
	switch m.Kind {
	case "segment":
		return w.segment(j, m.Body)
	case "facts":
		var names []string
		if err := msgpack.Unmarshal(m.Body, &names); err != nil {
			return nil, err
		}
		return facts.Collect(j.ctx, names...), nil
	}
	return nil, fmt.Errorf("there is no job of kind %.40q", m.Kind)
}

func (w *worker) cancelJobs(c wire.Cancel) {
	w.mu.Lock()
	var hit []*job
	for id, j := range w.active {
		if c.Job == "" || c.Job == id {
			hit = append(hit, j)
		}
	}
	w.mu.Unlock()
	for _, j := range hit {
		j.once.Do(func() { close(j.stop) })
		if c.Hard {
			j.cancel(errStopped)
		}
	}
}

// call asks the controller on behalf of a job.
func (w *worker) call(ctx context.Context, job, service string, body []byte) ([]byte, error) {
	ch := make(chan wire.Reply, 1)
	w.mu.Lock()
	w.calls++
	id := w.calls
	w.waiting[id] = ch
	w.mu.Unlock()
	defer func() { w.mu.Lock(); delete(w.waiting, id); w.mu.Unlock() }()
	if err := w.link.Send(ctx, wire.KindCall, wire.Call{ID: id, Job: job, Service: service, Body: body}); err != nil {
		return nil, err
	}
	select {
	case r := <-ch:
		if r.Err != "" {
			return nil, errors.New(r.Err)
		}
		return r.Body, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// emit numbers an event and sends it. Numbers have no gap: the lock is held
// while it is queued.
func (w *worker) emit(job, kind string, body []byte) {
	w.order.Lock()
	defer w.order.Unlock()
	w.seq++
	e := wire.Event{Seq: w.seq, Job: job, Kind: kind, Body: body}
	_ = w.link.Send(context.WithoutCancel(w.ctx), wire.KindEvent, e)
}

func (w *worker) heartbeat() {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-tick.C:
			w.mu.Lock()
			quiet := time.Since(w.heard)
			w.mu.Unlock()
			if quiet > silence {
				w.in.Close() // ends receive, and with it everything
				return
			}
			_ = w.link.Send(w.ctx, wire.KindPing, nil)
		}
	}
}
