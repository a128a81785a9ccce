package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
	"github.com/vmihailenco/msgpack/v5"
)

// executor is the child that runs the steps of one become user. The worker is
// its controller: it sends one step at a time and passes on events and calls.
type executor struct {
	once    sync.Once
	err     error
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	link    *wire.Conn
	release func()
	wg      sync.WaitGroup
	gone    chan struct{}

	mu    sync.Mutex
	jobs  map[string]*relay // by the job id that the executor knows
	blobs map[string]bool
}

// relay is one step that an executor runs.
type relay struct {
	job  *job
	done chan wire.Done
}

// runAs runs one step as its become user.
func (w *worker) runAs(j *job, seg *step.Segment, spec *step.Spec) step.Result {
	w.mu.Lock()
	e := w.become[spec.Become]
	if e == nil {
		e = &executor{jobs: map[string]*relay{}, blobs: map[string]bool{}, gone: make(chan struct{})}
		w.become[spec.Become] = e
	}
	w.mu.Unlock()
	e.once.Do(func() { e.err = e.open(w, spec.Become) })
	if e.err != nil {
		return w.refused(j, spec, e.err)
	}
	body, err := e.do(w, j, seg, spec)
	if err != nil {
		if cause := context.Cause(j.ctx); cause != nil {
			return step.Result{ID: spec.ID, Status: event.Cancelled, Message: cause.Error()}
		}
		return w.refused(j, spec, err)
	}
	var results []step.Result
	if err := msgpack.Unmarshal(body, &results); err != nil || len(results) != 1 {
		return w.refused(j, spec, fmt.Errorf("the executor of %s gave no result: %w", spec.Become, err))
	}
	return results[0]
}

// refused is the result of a step that could not be begun as another user.
func (w *worker) refused(j *job, spec *step.Spec, err error) step.Result {
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
		w.emit(j.id, kind, body)
	}
	return res
}

func (e *executor) open(w *worker, name string) error {
	cmd, stdin, stdout, release, err := startAs(w.ctx, w.hello.Become, name)
	if err != nil {
		return err
	}
	e.cmd, e.stdin, e.release = cmd, stdin, release
	e.link = wire.NewConn(stdout, stdin)
	e.wg.Go(func() { defer close(e.gone); e.receive(w) })
	h := w.hello
	h.Become = wire.Become{} // an executor becomes nobody, and needs no password
	return e.link.Send(w.ctx, wire.KindHello, h)
}

func (e *executor) do(w *worker, j *job, seg *step.Segment, spec *step.Spec) ([]byte, error) {
	one := *seg
	one.ID, one.Steps = seg.ID+"/"+spec.ID, []step.Spec{*spec}
	if err := e.send(w, j, &one); err != nil {
		return nil, err
	}
	r := &relay{job: j, done: make(chan wire.Done, 1)}
	e.mu.Lock()
	e.jobs[one.ID] = r
	e.mu.Unlock()
	defer func() { e.mu.Lock(); delete(e.jobs, one.ID); e.mu.Unlock() }()
	body, err := msgpack.Marshal(one)
	if err != nil {
		return nil, err
	}
	if err := e.link.Send(j.ctx, wire.KindJob, wire.Job{ID: one.ID, Kind: "segment", Body: body}); err != nil {
		return nil, err
	}
	select {
	case d := <-r.done:
		return doneBody(d)
	case <-e.gone:
		return nil, fmt.Errorf("the executor of %s ended", spec.Become)
	case <-j.ctx.Done():
	}
	_ = e.link.Send(context.WithoutCancel(j.ctx), wire.KindCancel, wire.Cancel{Job: one.ID, Hard: true})
	grace := time.NewTimer(8 * time.Second)
	defer grace.Stop()
	select {
	case d := <-r.done:
		return doneBody(d)
	case <-e.gone:
	case <-grace.C:
	}
	return nil, context.Cause(j.ctx)
}

func doneBody(d wire.Done) ([]byte, error) {
	if d.Err != "" {
		return nil, errors.New(d.Err)
	}
	return d.Body, nil
}

// send passes on the contents that the step refers to, each once.
func (e *executor) send(w *worker, j *job, seg *step.Segment) error {
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
		data, err := w.blob(j.ctx, hash)
		if err != nil {
			return err
		}
		if err := e.link.Send(j.ctx, wire.KindBlob, wire.Blob{Hash: hash, Data: data}); err != nil {
			return err
		}
	}
	return nil
}

// receive passes on what the executor says. It ends with the executor's output.
func (e *executor) receive(w *worker) {
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
func (e *executor) passOn(w *worker, c wire.Call) {
	reply := wire.Reply{ID: c.ID}
	if r := e.relay(c.Job); r == nil {
		reply.Err = "this step is over"
	} else if body, err := w.call(r.job.ctx, r.job.id, c.Service, c.Body); err != nil {
		reply.Err = err.Error()
	} else {
		reply.Body = body
	}
	_ = e.link.Send(context.WithoutCancel(w.ctx), wire.KindReply, reply)
}

// close lets the executor end; it ends what it started first.
func (e *executor) close() {
	e.once.Do(func() { e.err = errors.New("the run is over") })
	if e.cmd == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	_ = e.link.Send(ctx, wire.KindBye, nil)
	_ = e.link.Drain(ctx)
	cancel()
	e.stdin.Close()
	end := time.AfterFunc(10*time.Second, func() { _ = e.cmd.Process.Kill() })
	e.wg.Wait()
	_ = e.cmd.Wait()
	end.Stop()
	e.release()
}
