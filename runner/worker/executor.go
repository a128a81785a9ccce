package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// executor is the child that runs the steps of one become user. The worker is
// its controller: it sends one step at a time and passes on events and calls.
type executor struct {
	once  sync.Once
	err   error
	child *child
	link  *wire.Conn
	wg    sync.WaitGroup
	gone  chan struct{} // closed when it says nothing more

	mu    sync.Mutex
	jobs  map[string]*relay // by the job id that the executor knows
	blobs map[string]bool
}

// relay is one step that an executor runs.
type relay struct {
	ctx  context.Context // of the step
	job  *job
	step string
	done chan wire.Done
}

// executorGrace is how long an executor may take to end what it runs.
const executorGrace = 6 * time.Second

// runAs runs one step as its become user.
func (r *run) runAs(ctx context.Context, j *job, seg *step.Segment, spec *step.Spec) step.Result {
	r.mu.Lock()
	e := r.become[spec.Become]
	if e == nil {
		e = &executor{jobs: map[string]*relay{}, blobs: map[string]bool{}, gone: make(chan struct{})}
		r.become[spec.Become] = e
	}
	r.mu.Unlock()
	e.once.Do(func() { e.err = e.open(r, spec.Become) })
	if e.err != nil {
		return r.refused(j, spec, e.err)
	}
	body, err := e.do(ctx, r, j, seg, spec)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return step.Result{ID: spec.ID, Status: event.Cancelled, Message: cause.Error()}
		}
		return r.refused(j, spec, err)
	}
	var results []step.Result
	if err := packed.Unmarshal(body, &results); err != nil || len(results) != 1 {
		return r.refused(j, spec, fmt.Errorf("the executor of %s gave no result: %w", spec.Become, err))
	}
	results[0].ID = spec.ID
	return results[0]
}

// refused is the result of a step that could not be begun as another user.
func (r *run) refused(j *job, spec *step.Spec, err error) step.Result {
	f := &event.Failure{Class: "become", Message: err.Error()}
	var b *becomeError
	if errors.As(err, &b) {
		f.Hint = b.hint
	}
	res := step.Result{ID: spec.ID, Status: event.Failed, Failure: f, Message: f.Message, Ignored: spec.IgnoreErrors}
	kind, body, encErr := event.Encode(event.TaskDone{
		Where: event.Where{Task: spec.Task, Step: spec.ID, Handler: spec.Handler}, Status: res.Status, Ignored: res.Ignored, Message: res.Message, Failure: f,
	})
	if encErr == nil {
		r.emit(j.id, kind, body)
	}
	return res
}

func (e *executor) open(w *run, name string) error {
	c, err := startAs(w.ctx, w.hello.Become, name)
	if err != nil {
		return err
	}
	e.child = c
	e.link = wire.NewConn(c.out, c.in)
	e.wg.Go(func() { defer close(e.gone); e.receive(w) })
	e.wg.Go(func() { e.heartbeat(context.WithoutCancel(w.ctx)) })
	h := w.hello
	h.Become = wire.Become{} // an executor becomes nobody, and needs no password
	if d := h.Durable; d != nil {
		// It keeps no journal, but its user's lock.
		h.Durable = &wire.Durable{Run: d.Run, Lock: d.Lock, LockWait: d.LockWait, Owner: d.Owner, Worker: os.Getpid()}
	}
	h.Env = maps.Clone(h.Env)
	if l, ok := os.LookupEnv("LC_ALL"); ok { // the way there had another
		if h.Env == nil {
			h.Env = map[string]string{}
		}
		if _, given := h.Env["LC_ALL"]; !given {
			h.Env["LC_ALL"] = l
		}
	}
	return e.link.Send(w.ctx, wire.KindHello, h)
}

func (e *executor) do(ctx context.Context, w *run, j *job, seg *step.Segment, spec *step.Spec) ([]byte, error) {
	one := *seg
	one.ID, one.Steps = seg.ID+"/"+spec.ID, []step.Spec{*spec}
	if err := e.send(ctx, w, &one); err != nil {
		return nil, err
	}
	r := &relay{ctx: ctx, job: j, step: spec.ID, done: make(chan wire.Done, 1)}
	e.mu.Lock()
	e.jobs[one.ID] = r
	e.mu.Unlock()
	defer func() { e.mu.Lock(); delete(e.jobs, one.ID); e.mu.Unlock() }()
	body, err := packed.Marshal(one)
	if err != nil {
		return nil, err
	}
	if err := e.link.Send(ctx, wire.KindJob, wire.Job{ID: one.ID, Kind: "segment", Body: body}); err != nil {
		return nil, err
	}
	select {
	case d := <-r.done:
		return doneBody(d)
	case <-e.gone:
		return nil, fmt.Errorf("the executor of %s ended", spec.Become)
	case <-ctx.Done():
	}
	_ = e.link.Send(context.WithoutCancel(ctx), wire.KindCancel, wire.Cancel{Job: one.ID, Hard: true})
	grace := time.NewTimer(8 * time.Second)
	defer grace.Stop()
	select {
	case d := <-r.done:
		return doneBody(d)
	case <-e.gone:
	case <-grace.C:
	}
	return nil, context.Cause(ctx)
}

func doneBody(d wire.Done) ([]byte, error) {
	if d.Err != "" {
		return nil, errors.New(d.Err)
	}
	return d.Body, nil
}

// send passes on the contents that the step refers to, each once.
func (e *executor) send(ctx context.Context, w *run, seg *step.Segment) error {
	var hashes []string
	for _, s := range seg.Sources {
		hashes = append(hashes, s.Hash)
	}
	for _, f := range seg.Files {
		hashes = append(hashes, f.Hash)
	}
	for _, r := range seg.Rendered {
		hashes = append(hashes, r.Hash)
	}
	for _, hash := range hashes {
		e.mu.Lock()
		known := e.blobs[hash]
		e.blobs[hash] = true
		e.mu.Unlock()
		if known {
			continue
		}
		data, err := w.blob(ctx, hash)
		if err != nil {
			return err
		}
		if err := e.link.Send(ctx, wire.KindBlob, wire.Blob{Hash: hash, Data: data}); err != nil {
			return err
		}
	}
	return nil
}

// heartbeat is a sign of life for the executor, whatever holds up its events.
func (e *executor) heartbeat(ctx context.Context) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-e.gone:
			return
		case <-tick.C:
			_ = e.link.Send(ctx, wire.KindPing, nil) // its end is noticed by receive
		}
	}
}

// receive passes on what the executor says. It ends with the executor's output.
func (e *executor) receive(w *run) {
	for {
		kind, body, err := e.link.Receive()
		if err != nil {
			return
		}
		switch kind {
		case wire.KindEvent:
			var ev wire.Event
			if err := wire.Decode(kind, body, &ev); err != nil {
				return
			}
			if r := e.relay(ev.Job); r != nil {
				w.emit(r.job.id, ev.Kind, ev.Body)
			}
		case wire.KindDone:
			var d wire.Done
			if err := wire.Decode(kind, body, &d); err != nil {
				return
			}
			if r := e.relay(d.Job); r != nil {
				select {
				case r.done <- d:
				default:
				}
			}
		case wire.KindCall:
			var c wire.Call
			if err := wire.Decode(kind, body, &c); err != nil {
				return
			}
			e.wg.Go(func() { e.passOn(w, c) })
		case wire.KindPing:
			_ = e.link.Send(w.ctx, wire.KindPong, nil)
		}
	}
}

func (e *executor) relay(job string) *relay {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.jobs[job]
}

// passOn asks the controller on behalf of the executor.
func (e *executor) passOn(w *run, c wire.Call) {
	reply := wire.Reply{ID: c.ID}
	body, err := e.asked(w, c)
	if err != nil {
		reply.Err = err.Error()
	} else {
		reply.Body = body
	}
	// A broken link is the executor's end, which others notice.
	_ = e.link.Send(context.WithoutCancel(w.ctx), wire.KindReply, reply)
}

func (e *executor) asked(w *run, c wire.Call) ([]byte, error) {
	r := e.relay(c.Job)
	if r == nil {
		return nil, errors.New("this step is over")
	}
	if c.Service == beginService {
		return nil, w.keeper.begin(r.job.id, r.step)
	}
	if c.Stream == 0 {
		return w.call(r.ctx, r.job.id, c.Service, c.Body)
	}
	out, err := e.link.Outgoing(c.Stream)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	in, err := w.stream(r.ctx, r.job.id, c.Service, c.Body)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return nil, out.Copy(r.ctx, in)
}

// closeExecutors ends all executors side by side.
func (r *run) closeExecutors() {
	r.mu.Lock()
	all := r.become
	r.become = map[string]*executor{}
	r.mu.Unlock()
	closeAll(context.WithoutCancel(r.ctx), all)
}

func closeAll(ctx context.Context, executors map[string]*executor) {
	var all sync.WaitGroup
	for _, e := range executors {
		all.Go(func() { e.close(ctx) })
	}
	all.Wait()
}

// close lets the executor end; it ends what it started first. One that does not
// is left behind: it belongs to somebody else and cannot be killed, but has lost
// its input.
func (e *executor) close(ctx context.Context) {
	e.once.Do(func() { e.err = errors.New("the run is over") })
	if e.child == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	_ = e.link.Send(ctx, wire.KindBye, nil)
	_ = e.link.Drain(ctx)
	cancel()
	e.child.end(executorGrace)
	select {
	case <-e.gone:
		e.wg.Wait()
	case <-time.After(executorGrace):
	}
}
