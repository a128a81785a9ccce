package runner

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/runlog"
	"github.com/sloth-runner/sloth/runner/step"
	lua "github.com/yuin/gopher-lua"
)

// past is what is known of steps from an earlier controller of the same run, and
// what its hosts still have to tell.
type past struct {
	mu    sync.Mutex
	known map[string]step.Result
	owed  map[string]*adopted            // by step: its job goes on, or its end is on the host
	jobs  map[string]map[string]*adopted // by host, by job
	told  map[string]bool                // steps whose end was shown
	hosts map[string][]string            // by task: where its steps went that are not run again, in order
	wg    sync.WaitGroup                 // adoptions
	once  sync.Once
}

// adopted is a job that an earlier controller sent and whose results it never
// saw.
type adopted struct {
	sent *runlog.Sent
	done chan struct{} // closed when its steps are known as far as they ever will be
}

// recollect reads what the record of an earlier controller says.
func (r *Runner) recollect(s *runlog.Story) {
	p := &r.past
	p.known, p.owed, p.jobs, p.told = map[string]step.Result{}, map[string]*adopted{}, map[string]map[string]*adopted{}, map[string]bool{}
	if s == nil {
		return
	}
	for _, value := range s.Secrets {
		if r.opt.Learn != nil {
			r.opt.Learn(Local, value)
		}
	}
	for _, o := range s.Steps {
		var res step.Result
		switch {
		case o.Began:
			res = step.Result{Status: event.Unknown, Message: "the controller ended while this step ran on it"}
		case packed.Unmarshal(o.Result, &res) != nil:
			res = step.Result{Status: event.Unknown, Message: "what the record says of this step cannot be read"}
		}
		res.ID = o.Step
		r.learn(o.Host, res.Made...)
		p.learn(res)
	}
	p.hosts = map[string][]string{}
	for _, sent := range s.Sent {
		for _, st := range sent.Steps {
			if _, known := p.known[st.ID]; known || !sent.Over {
				p.hosts[st.Task] = append(p.hosts[st.Task], sent.Host)
			}
		}
		if sent.Over {
			continue
		}
		a := &adopted{sent: sent, done: make(chan struct{})}
		if p.jobs[sent.Host] == nil {
			p.jobs[sent.Host] = map[string]*adopted{}
		}
		p.jobs[sent.Host][sent.Job] = a
		for _, st := range sent.Steps {
			p.owed[st.ID] = a
		}
	}
}

// had gives up to n of those hosts to which an earlier controller has given a task
// of that name, each once a task: what began there is not begun elsewhere.
func (p *past) had(task string, hosts []string, n int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out, rest []string
	for _, h := range p.hosts[task] {
		if len(out) < n && slices.Contains(hosts, h) && !slices.Contains(out, h) {
			out = append(out, h)
		} else {
			rest = append(rest, h)
		}
	}
	if p.hosts != nil {
		p.hosts[task] = rest
	}
	return out
}

// learn keeps an outcome that makes a step not run again.
func (p *past) learn(res step.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if res.Status == event.Success || res.Status == event.Unknown || res.Status.Bad() && res.Ignored {
		p.known[res.ID] = res
	}
}

// adopt takes over the jobs that hosts still have from an earlier controller.
// It returns at once.
func (r *Runner) adopt() { r.past.once.Do(r.adoptAll) }

func (r *Runner) adoptAll() {
	if r.opt.Before == nil || r.durable() == nil {
		return
	}
	var hosts []string
	for _, sent := range r.opt.Before.Sent {
		if !slices.Contains(hosts, sent.Host) {
			hosts = append(hosts, sent.Host)
		}
	}
	for _, host := range hosts {
		r.past.wg.Go(func() {
			l := r.link(host)
			// Also where nothing is owed: the worker there waits to be told the end.
			sess, err := r.session(r.ctx, l)
			for id, a := range r.past.jobs[host] {
				r.adoptJob(l, sess, err, id, a)
			}
		})
	}
}

func (r *Runner) adoptJob(l *hostLink, sess Session, err error, id string, a *adopted) {
	defer close(a.done)
	var results []step.Result
	if err == nil {
		var body []byte
		if body, err = sess.Adopted(r.ctx, id); err == nil {
			err = packed.Unmarshal(body, &results)
		}
	}
	var lost *shim.Lost
	switch {
	case errors.As(err, &lost):
		results = found(lost, id, a.sent.Steps)
	case err != nil:
		f := r.lose(l, err)
		for _, s := range a.sent.Steps {
			results = append(results, step.Result{ID: s.ID, Status: event.Unknown, Message: "nobody knows how this step ended: " + f.Message, Failure: &f})
		}
	}
	tasks := map[string]string{}
	for _, s := range a.sent.Steps {
		tasks[s.ID] = s.Task
	}
	for _, res := range results {
		task, ours := tasks[res.ID]
		if !ours {
			continue
		}
		r.learn(a.sent.Host, res.Made...)
		r.write(a.sent.Host, task, res)
		r.past.learn(res)
	}
	if err == nil || lost != nil {
		r.over(id)
	}
}

// found turns what a journal has of a job into results. A step that had begun
// and not ended is unknown; one that had not begun is in no result.
func found(l *shim.Lost, job string, steps []runlog.Step) []step.Result {
	if l.Blind {
		out := make([]step.Result, len(steps))
		for i, s := range steps {
			out[i] = unknown(s.ID, l)
		}
		return out
	}
	var out []step.Result
	for _, f := range l.Found {
		if f.Job != job {
			continue
		}
		var res step.Result
		if !f.Ended || packed.Unmarshal(f.Result, &res) != nil {
			res = unknown(f.Step, l)
		}
		res.ID = f.Step
		out = append(out, res)
	}
	return out
}

func unknown(id string, l *shim.Lost) step.Result {
	why := "interrupted: the worker was ended while this step ran"
	hint := "Look at the host. If the step may run again: sloth runs resume last --rerun-unknown."
	switch {
	case l.Rebooted:
		why = "interrupted: the host was restarted while this step ran"
	case l.Blind:
		why = "the worker was ended, and there is no journal that says which steps had begun"
	case l.Ends:
		why = "interrupted: logind ended the worker with its login session (KillUserProcesses=yes) while this step ran"
		hint += " So that runs survive there: loginctl enable-linger USER, or USER in KillExcludeUsers= of logind.conf, or become root."
	}
	return step.Result{ID: id, Status: event.Unknown, Message: why, Failure: &event.Failure{Class: classTask, Message: why, Hint: hint}}
}

const classTask = "task"

// recall finishes those cells that are known from before, waiting for a host
// that still has to tell, and returns the others, which all have their identity.
func (r *Runner) recall(ctx context.Context, host string, cells []*cell, done func(*cell, step.Result)) ([]*cell, error) {
	rest := cells[:0:0]
	for _, c := range cells {
		if err := r.identify(c, host); err != nil {
			return nil, err
		}
		if res, ok := r.known(ctx, c.id); ok {
			r.tellAgain(c, res)
			done(c, res)
			continue
		}
		rest = append(rest, c)
	}
	return rest, nil
}

// known gives the outcome of a step from before.
func (r *Runner) known(ctx context.Context, id string) (step.Result, bool) {
	p := &r.past
	p.mu.Lock()
	a := p.owed[id]
	p.mu.Unlock()
	if a != nil {
		select {
		case <-a.done:
		case <-ctx.Done():
			return step.Result{Status: event.Cancelled, NotRun: true, Message: "cancelled"}, true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	res, ok := p.known[id]
	if ok && res.Status == event.Unknown && r.opt.RerunUnknown {
		return res, false
	}
	return res, ok
}

// owes reports whether a step was sent by the run that this one resumes.
func (r *Runner) owes(id string) bool {
	r.past.mu.Lock()
	defer r.past.mu.Unlock()
	return r.past.owed[id] != nil
}

// tellAgain shows an outcome from before, once, and queues its handlers.
func (r *Runner) tellAgain(c *cell, res step.Result) {
	for _, name := range res.Notified {
		r.notify(c.host, name)
	}
	if res.NotRun {
		return
	}
	r.past.mu.Lock()
	told := r.past.told[c.id]
	r.past.told[c.id] = true
	r.past.mu.Unlock()
	if told {
		return
	}
	message := res.Message
	if message == "" && res.Status == event.Success {
		message = "done before the run was resumed"
	}
	r.emit(endOf(c, res, message))
}

// endOf is the event for a result that no worker has shown.
func endOf(c *cell, res step.Result, message string) event.TaskDone {
	d := event.TaskDone{
		Where:  event.Where{Task: c.node.task.Name, Host: c.host, Step: c.id, Handler: c.node.task.Handler},
		Status: res.Status, Changed: res.Changed, Ignored: res.Ignored, Nested: c.node.nested, Message: message,
		Duration: res.Duration, Attempts: res.Attempts, Outputs: res.Outputs, Failure: res.Failure,
	}
	if c.node.task.NoLog {
		d.Outputs, d.Failure, d.Message = nil, nil, ""
	}
	return d
}

// identify gives a cell its identity, once: what it runs, where, and how often
// the same came before.
func (r *Runner) identify(c *cell, host string) error {
	if c.id != "" {
		return nil
	}
	if host == Local {
		sum := sha256.New()
		callbacks := c.node.task.Callbacks()
		for _, name := range slices.Sorted(maps.Keys(callbacks)) {
			_, _ = sum.Write([]byte(name))
			digest(sum.Write, callbacks[name].Proto)
		}
		c.id = r.identity(c.node.task.Name, Local, "", sum.Sum(nil))
		return nil
	}
	snap, err := r.snapshot(c.node.task, host)
	if err != nil {
		return err
	}
	c.id = r.identity(c.node.task.Name, host, "", snap.digest[:])
	return nil
}

// digest hashes what a function does, and not where in its file it stands.
func digest(write func([]byte) (int, error), p *lua.FunctionProto) {
	if p == nil {
		return
	}
	var b []byte
	for _, op := range p.Code {
		b = binary.BigEndian.AppendUint32(b, op)
	}
	for _, k := range p.Constants {
		b = fmt.Appendf(b, "%s:%q;", k.Type(), k.String())
	}
	_, _ = write(b) // a hash takes everything
	for _, inner := range p.FunctionPrototypes {
		digest(write, inner)
	}
}

// write puts a result into the record of the run. A record that cannot be
// written stops the run before its next step.
func (r *Runner) write(host, task string, res step.Result) {
	if r.opt.Record == nil || res.NotRun {
		return
	}
	body, err := packed.Marshal(res)
	if err == nil {
		err = r.opt.Record.Done(runlog.Outcome{Host: host, Task: task, Step: res.ID, Status: res.Status, Result: body})
	}
	r.recordFailed(err)
}

func (r *Runner) over(job string) {
	if r.opt.Record != nil {
		r.recordFailed(r.opt.Record.Over(job))
	}
}

// recordFailed stops a run that can no longer be written down.
func (r *Runner) recordFailed(err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	again := r.stopped != ""
	if !again {
		r.stopped = "the run cannot be written down"
		for s := range r.active {
			go s.stop(r.stopped)
		}
	}
	r.mu.Unlock()
	r.outcome.fail(event.Failed)
	if !again {
		r.notice("error", "%v; nothing more is begun", err)
	}
}

// durable is what the worker on a host is asked for, so that the run outlives
// its link; nil for a plan.
func (r *Runner) durable() *wire.Durable {
	if r.opt.Record == nil || r.opt.Check {
		return nil
	}
	return &wire.Durable{Key: r.opt.Key, Run: r.opt.RunID, Owner: r.opt.Owner, Resume: r.opt.Before != nil, Lock: r.opt.LockWait >= 0, LockWait: max(r.opt.LockWait, 0).Seconds()}
}

// adoptions are the handlers of the jobs that a host still has.
func (r *Runner) adoptions(l *hostLink) map[string]shim.Handler {
	out := map[string]shim.Handler{}
	for id, a := range r.past.jobs[l.host] {
		j := &job{r: r, link: l, id: id, cells: map[string]*cell{}, depth: a.sent.Depth, become: a.sent.Become, done: func(*cell, step.Result) {}}
		for _, s := range a.sent.Steps {
			t := &dsl.Task{Name: s.Task, NoLog: s.NoLog}
			j.cells[s.ID] = &cell{id: s.ID, host: l.host, node: &node{task: t, nested: s.Nested}}
		}
		out[id] = j
	}
	return out
}

// trust lets a host that goes on with a job of an earlier controller name the
// functions that it was sent then, where they are still the same.
func (r *Runner) trust(p *plan) {
	byName := map[string]*dsl.Task{}
	for _, t := range append(slices.Clone(p.tasks), r.handlers.known...) {
		byName[t.Name] = t
	}
	r.mu.Lock()
	r.byName = byName
	r.mu.Unlock()
	for host, jobs := range r.past.jobs {
		for _, a := range jobs {
			for _, s := range a.sent.Steps {
				if t := byName[s.Task]; t != nil {
					if snap, err := r.snapshot(t, host); err == nil {
						r.remember(host, snap)
					}
				}
			}
		}
	}
}
