package runner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// hostLink is the one session of a run with a host, opened at first use.
type hostLink struct {
	host  string
	once  sync.Once
	ready chan struct{} // closed when sess or err is set
	sess  Session
	err   error
	lost  atomic.Bool
}

func (r *Runner) link(host string) *hostLink {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.hosts[host]
	if l == nil {
		l = &hostLink{host: host, ready: make(chan struct{})}
		r.hosts[host] = l
	}
	return l
}

// session opens the worker on first use, for the whole run: whoever asks later
// gets the same session, or the same error, and nobody's ctx ends it.
func (r *Runner) session(ctx context.Context, l *hostLink) (Session, error) {
	l.once.Do(func() {
		go func() {
			defer close(l.ready)
			l.sess, l.err = r.opt.Open(r.ctx, l.host, r.sessionOptions(l))
		}()
	})
	select {
	case <-l.ready:
		return l.sess, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// SessionOptions is what a run asks of a session with a host.
type SessionOptions struct {
	// Durable is nil where the worker is to end with its link.
	Durable *wire.Durable
	Adopt   map[string]shim.Handler
	Settle  func() error
	Met     func(wire.Welcome)
	Expect  *shim.Identity
	Link    func(err error)
}

func (r *Runner) sessionOptions(l *hostLink) SessionOptions {
	o := SessionOptions{Durable: r.durable(), Met: func(w wire.Welcome) { r.met(l.host, w) }}
	if o.Durable == nil {
		return o
	}
	o.Expect = r.expected(l.host)
	o.Adopt, o.Settle = r.adoptions(l), r.opt.Record.Sync
	o.Link = func(err error) {
		if err == nil {
			r.notice("notice", "%s: reconnected", l.host)
			return
		}
		r.notice("warn", "%s: the link broke (%v); reconnecting, what had begun goes on there", l.host, err)
	}
	return o
}

// close ends the session; the run's context has ended an opening under way.
func (l *hostLink) close(leave bool) {
	l.once.Do(func() { close(l.ready) })
	<-l.ready
	if l.err != nil || l.sess == nil {
		return
	}
	if leave {
		_ = l.sess.Leave() // it ends as a broken link does
		return
	}
	l.sess.Close()
}

// lose tells once that a host cannot be used any more.
func (r *Runner) lose(l *hostLink, err error) event.Failure {
	f := failureOf(err)
	if l.lost.CompareAndSwap(false, true) {
		r.emit(event.HostLost{Host: l.host, Failure: f})
	}
	return f
}

// failureOf turns an error into what people and records see.
func failureOf(err error) event.Failure {
	var c *connection.Error
	if errors.As(err, &c) {
		return event.Failure{Class: string(c.Class), Message: c.Error(), Hint: c.Hint}
	}
	return event.Failure{Class: string(connection.ClassTask), Message: err.Error()}
}

// runRemote executes cells of one host, as one segment. Where the worker dies
// under it, what had not begun is sent again to the next one.
func (r *Runner) runRemote(ctx context.Context, host string, cells []*cell, p outputsOf, done func(*cell, step.Result)) {
	bad := map[string]bool{} // tasks that failed here
	settle := func(c *cell, res step.Result) {
		if res.Status.Bad() && !res.Ignored {
			bad[c.node.task.Name] = true
		}
		done(c, res)
	}
	for {
		kept := cells[:0:0]
		for _, c := range cells {
			if d := dependsOnOne(c, bad); d != "" {
				settle(c, step.Result{Status: event.Skipped, NotRun: true, Message: "depends on " + d + ", which failed here"})
				bad[c.node.task.Name] = true
				continue
			}
			kept = append(kept, c)
		}
		var err error
		if cells, err = r.recall(ctx, host, kept, settle); err != nil {
			f := failureOf(err)
			for _, c := range kept {
				done(c, step.Result{Status: event.Failed, NotRun: true, Message: f.Message, Failure: &f})
			}
			return
		}
		if len(cells) == 0 {
			return
		}
		if cells = r.onlyPlanned(cells, settle); len(cells) == 0 {
			return
		}
		if cells = r.sendOnce(ctx, host, cells, p, settle); len(cells) == 0 {
			return
		}
	}
}

// maxRestart bounds each part of waiting for a restart.
const maxRestart = 6 * time.Hour

// awaitRestart waits until the host, which a step has asked to restart, is back.
func (r *Runner) awaitRestart(ctx context.Context, j *job, how modules.Restart) error {
	begun := time.Now()
	// These are a host's own words.
	for _, d := range []*time.Duration{&how.Timeout, &how.Delay, &how.Settle} {
		*d = max(0, min(*d, maxRestart))
	}
	r.notice("notice", "%s: restarting; what follows waits until it is back", j.link.host)
	if err := j.sess.AwaitRestart(ctx, how.Timeout+how.Delay); err != nil {
		return err
	}
	r.notice("notice", "%s: back after %s", j.link.host, time.Since(begun).Round(time.Second))
	if how.Settle <= 0 {
		return nil
	}
	select {
	case <-time.After(how.Settle):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func dependsOnOne(c *cell, bad map[string]bool) string {
	for _, d := range c.node.deps {
		if bad[d.task.Name] {
			return d.task.Name
		}
	}
	return ""
}

// sendOnce sends cells and settles them. It returns those that had not begun
// when their worker died.
func (r *Runner) sendOnce(ctx context.Context, host string, cells []*cell, p outputsOf, settle func(*cell, step.Result)) []*cell {
	seg, blobs, err := r.segment(host, cells, p)
	if err != nil {
		f := failureOf(err)
		for _, c := range cells {
			settle(c, step.Result{Status: event.Failed, NotRun: true, Message: f.Message, Failure: &f})
		}
		return nil
	}
	l := r.link(host)
	j := &job{r: r, link: l, id: seg.ID, list: cells, cells: map[string]*cell{}, done: settle, depth: cells[0].node.depth, shown: map[string]bool{}, begun: map[string]bool{}}
	for i, c := range cells {
		j.cells[c.id] = c
		j.become = j.become || seg.Steps[i].Become != ""
	}
	results, err := j.run(ctx, seg, blobs)
	var lost *shim.Lost
	if errors.As(err, &lost) {
		results = found(lost, seg.ID, j.steps())
		for _, res := range results {
			r.learn(host, res.Made...)
			if c := j.cells[res.ID]; c != nil && !j.hasShown(res.ID) {
				r.emit(endOf(c, res, res.Message))
			}
		}
	}
	kept := j.hasKept()
	ended := map[string]bool{}
	var restart *modules.Restart
	for _, res := range results {
		if res.Later {
			continue
		}
		if res.Restart != nil && !r.opt.Check {
			restart = res.Restart
		}
		if c := j.cells[res.ID]; c != nil {
			ended[c.id] = true
			if !kept {
				r.write(host, c.node.task.Name, res)
			}
			if !j.hasShown(c.id) { // else its event did
				for _, name := range res.Notified {
					r.notify(host, name)
				}
			}
			settle(c, res)
		}
	}
	if err == nil || lost != nil {
		if j.sent && !kept {
			r.over(seg.ID)
		}
		var left []*cell
		for _, c := range cells {
			if (lost != nil || restart != nil) && !ended[c.id] && !j.hasShown(c.id) {
				left = append(left, c)
			}
		}
		if restart == nil || lost != nil && lost.Rebooted {
			return left
		}
		if err = r.awaitRestart(ctx, j, *restart); err == nil {
			return left
		}
		cells = left
	}
	for _, c := range cells {
		settle(c, j.failed(ctx, c, err))
	}
	return nil
}

// track keeps the jobs in flight, so that they can be told to stop.
func (r *Runner) track(j *job, running bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if running {
		r.jobs[j] = true
	} else {
		delete(r.jobs, j)
	}
}

// haltJobs asks every worker to begin no further step.
func (r *Runner) haltJobs() {
	r.mu.Lock()
	jobs := make([]*job, 0, len(r.jobs))
	for j := range r.jobs {
		jobs = append(jobs, j)
	}
	r.mu.Unlock()
	for _, j := range jobs {
		// A worker that is gone has nothing to stop.
		_ = j.sess.Cancel(j.id, "", false)
	}
}

// conduct runs s and lets Stop reach it meanwhile.
func (r *Runner) conduct(ctx context.Context, s *scheduler) {
	s.halt = r.haltJobs
	r.mu.Lock()
	r.active[s] = true
	if r.stopped != "" {
		s.opt.tally.stop(r.stopped)
	}
	r.mu.Unlock()
	s.run(ctx)
	r.mu.Lock()
	delete(r.active, s)
	r.mu.Unlock()
}

// facts asks the host itself, once in a run.
func (r *Runner) facts(ctx context.Context, host string) (map[string]any, error) {
	l := r.link(host)
	sess, err := r.session(ctx, l)
	if err != nil {
		r.lose(l, err)
		return nil, fmt.Errorf("facts of %s: %w", host, err)
	}
	ctx, cancel := context.WithTimeout(ctx, factsTimeout)
	defer cancel()
	body, err := sess.Do(ctx, shim.Job{ID: "facts-" + host, Kind: "facts", Body: []string{}}, noHandler{})
	if err != nil {
		return nil, fmt.Errorf("facts of %s: %w", host, err)
	}
	var facts map[string]any
	if err := packed.Unmarshal(body, &facts); err != nil {
		return nil, fmt.Errorf("facts of %s: %w", host, err)
	}
	return facts, nil
}

const factsTimeout = 60 * time.Second

// noHandler is for jobs that neither say nor ask anything.
type noHandler struct{}

func (noHandler) Event(string, []byte) {}

func (noHandler) Call(context.Context, string, []byte) ([]byte, error) {
	return nil, errors.New("this job may not ask the controller anything")
}
