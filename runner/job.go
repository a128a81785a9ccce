package runner

import (
	"context"
	"errors"
	"sync"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/runlog"
	"github.com/sloth-runner/sloth/runner/service"
	"github.com/sloth-runner/sloth/runner/step"
)

// job is one segment in flight.
type job struct {
	r      *Runner
	link   *hostLink
	id     string
	depth  int
	become bool // a step of it runs as another user
	list   []*cell
	cells  map[string]*cell // by step id
	done   func(*cell, step.Result)
	sess   Session
	sent   bool // it may have arrived

	mu    sync.Mutex
	begun map[string]bool // steps that the host said have begun
	shown map[string]bool // and that have ended
	kept  bool            // the results are in the record
}

// Keep writes the results down before the host forgets them.
func (j *job) Keep(body []byte, failed bool) {
	var results []step.Result
	if !failed && packed.Unmarshal(body, &results) != nil {
		return // whoever waits for them meets the same error
	}
	for _, res := range results {
		j.r.learn(j.link.host, res.Made...)
		if c := j.cells[res.ID]; c != nil && !res.Later {
			j.r.write(j.link.host, c.node.task.Name, res)
		}
	}
	j.r.over(j.id)
	j.mu.Lock()
	j.kept = true
	j.mu.Unlock()
}

func (j *job) hasKept() bool { j.mu.Lock(); defer j.mu.Unlock(); return j.kept }

func (j *job) hasShown(id string) bool { j.mu.Lock(); defer j.mu.Unlock(); return j.shown[id] }

// steps are the job's steps as they are written down.
func (j *job) steps() []runlog.Step {
	out := make([]runlog.Step, len(j.list))
	for i, c := range j.list {
		out[i] = runlog.Step{ID: c.id, Task: c.node.task.Name, NoLog: c.node.task.NoLog, Nested: c.node.nested}
	}
	return out
}

func (j *job) run(ctx context.Context, seg step.Segment, blobs []blob) ([]step.Result, error) {
	sess, err := j.r.session(ctx, j.link)
	if err != nil {
		return nil, err
	}
	j.sess = sess
	for _, b := range blobs {
		if err := sess.PutBlob(ctx, b.hash, b.data); err != nil {
			return nil, err
		}
	}
	if rec := j.r.opt.Record; rec != nil && j.r.durable() != nil {
		if err := rec.Send(runlog.Sent{Host: j.link.host, Job: seg.ID, Steps: j.steps(), Depth: j.depth, Become: j.become}); err != nil {
			j.r.recordFailed(err)
			return nil, err
		}
	}
	j.sent = true
	j.r.track(j, true)
	defer j.r.track(j, false)
	body, err := sess.Do(ctx, shim.Job{ID: seg.ID, Kind: "segment", Body: seg}, j)
	if err != nil {
		return nil, err
	}
	var results []step.Result
	if err := packed.Unmarshal(body, &results); err != nil {
		return nil, &connection.Error{Class: connection.ClassShim, Host: j.link.host, Op: "read the results of " + j.link.host, Err: err,
			Hint: "The host does not speak sloth's protocol as it should; try --verify-shim."}
	}
	return results, nil
}

// failed says what a step without a result is, after its job ended with err.
func (j *job) failed(ctx context.Context, c *cell, err error) step.Result {
	switch {
	case errors.Is(context.Cause(ctx), errWorkflowTimeout):
		return step.Result{Status: event.Timeout, NotRun: true, Message: "the workflow's timeout ended it"}
	case ctx.Err() != nil:
		return step.Result{Status: event.Cancelled, NotRun: true, Message: "cancelled"}
	}
	f := j.r.lose(j.link, err)
	j.mu.Lock()
	begun := j.begun[c.id]
	j.mu.Unlock()
	if begun && connection.Unreachable(err) {
		return step.Result{ID: c.id, Status: event.Unknown, Message: "the host was lost while this step ran: " + f.Message, Failure: &f}
	}
	c.unsent = !j.sent && !j.r.owes(c.id) && connection.Unreachable(err)
	status := event.Unreachable
	if !connection.Unreachable(err) {
		status = event.Failed
	}
	return step.Result{Status: status, NotRun: true, Message: f.Message, Failure: &f}
}

// Event forwards what the worker says, under the names the controller knows: a
// host speaks for itself only.
func (j *job) Event(kind string, body []byte) {
	if kind == event.KindSecret {
		var value string
		if packed.Unmarshal(body, &value) == nil {
			j.r.learn(j.link.host, value)
		}
		return
	}
	e, err := event.Decode(kind, body)
	if err != nil {
		j.r.notice("warn", "%s sent an event that cannot be read: %v", j.link.host, err)
		return
	}
	var c *cell
	task := ""
	if w, _, ok := event.Located(e); ok {
		if c = j.cells[w.Step]; c == nil {
			return // a step that was never sent
		}
		task = c.node.task.Name
	}
	if e = Attribute(e, j.link.host, task); e == nil {
		return
	}
	j.mu.Lock()
	switch e.(type) {
	case event.TaskStarted:
		if j.begun != nil {
			j.begun[c.id] = true
		}
	case event.TaskDone:
		if j.shown != nil {
			j.shown[c.id] = true
		}
		j.r.past.mu.Lock()
		j.r.past.told[c.id] = true
		j.r.past.mu.Unlock()
	}
	j.mu.Unlock()
	if d, ok := e.(event.TaskDone); ok {
		j.r.depart(j.link.host, d.Failure)
		// Now, and not with the result: a later step of the segment may flush them.
		for _, name := range d.Notified {
			j.r.notify(j.link.host, name)
		}
	}
	j.r.emit(e)
	// With no_log the event is silent about what the result has.
	if d, ok := e.(event.TaskDone); ok && !c.node.task.NoLog {
		j.done(c, step.Result{
			ID: d.Step, Status: d.Status, Changed: d.Changed, Ignored: d.Ignored, Message: d.Message,
			Outputs: d.Outputs, Failure: d.Failure, Attempts: d.Attempts, Duration: d.Duration,
		})
	}
}

// Attribute puts the names the controller knows into an event of a worker, and
// gives nil for one that no worker may send.
func Attribute(e event.Event, host, task string) event.Event {
	if p, ok := e.(event.Progress); ok {
		p.Host = host
		return p
	}
	w, at, ok := event.Located(e)
	if !ok {
		return nil
	}
	w.Host, w.Task = host, task
	return at(w)
}

// Call serves what the host asks for.
func (j *job) Call(ctx context.Context, name string, body []byte) ([]byte, error) {
	s := &services{r: j.r, host: j.link.host, depth: j.depth, mayBecome: j.become, cells: j.cells, call: j.r.opt.RunID + "/" + j.link.host + "/" + shim.CallID(ctx)}
	return service.Dispatch(ctx, s, name, body)
}
