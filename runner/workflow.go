package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// plan is one workflow on its way: which tasks, on which hosts, in which
// batches, and what came of them.
type plan struct {
	r       *Runner
	w       *dsl.Workflow
	tasks   []*dsl.Task // in an order that respects depends_on
	hosts   map[*dsl.Task][]string
	records map[string]*record
	batches [][]string      // of the workflow's own serial; one without
	rolling map[string]bool // hosts that the batches divide
	maxFail int
	tally   *tally

	mu sync.Mutex // guards records
}

// record is what is known of one task, over all hosts and batches.
type record struct {
	task    *dsl.Task
	results map[string]step.Result // by host
	order   []string               // hosts by completion
}

// plan resolves everything that can be known before anything runs.
func (r *Runner) plan(w *dsl.Workflow, handlers []*dsl.Task) (*plan, error) {
	r.handlers.known = handlers
	selected, err := r.selectTasks(w.Tasks)
	if err != nil {
		return nil, err
	}
	if err := r.checkArtifacts(selected); err != nil {
		return nil, err
	}
	nodes, err := sortTasks(selected)
	if err != nil {
		return nil, err
	}
	p := &plan{r: r, w: w, hosts: map[*dsl.Task][]string{}, records: map[string]*record{}, maxFail: -1, tally: newTally()}
	byDefault := w.Config.Hosts
	if r.opt.DefaultPattern != "" {
		byDefault = r.opt.DefaultPattern
	}
	var problems []error
	for _, n := range nodes {
		t := n.task
		if t.Retries == 0 && w.Config.Retries > 0 {
			t.Retries, t.Backoff = w.Config.Retries, w.Config.Backoff
		}
		p.tasks = append(p.tasks, t)
		p.records[t.Name] = &record{task: t, results: map[string]step.Result{}}
		if t.Target.Func != nil {
			continue
		}
		hosts, err := r.targets(t, byDefault)
		if err != nil {
			problems = append(problems, err)
		}
		p.hosts[t] = hosts
	}
	if err := joinErrors(problems); err != nil {
		return nil, err
	}
	if err := p.cutBatches(byDefault); err != nil {
		return nil, err
	}
	return p, r.canSend(p)
}

func (p *plan) cutBatches(byDefault string) error {
	var all []string
	seen := map[string]bool{}
	add := func(hosts []string) {
		for _, h := range hosts {
			if h != Local && !seen[h] {
				seen[h] = true
				all = append(all, h)
			}
		}
	}
	if byDefault != "" {
		hosts, err := p.r.match(byDefault)
		if err != nil {
			return fmt.Errorf("workflow %q: config.hosts: %w", p.w.Name, err)
		}
		add(hosts)
	} else {
		for _, t := range p.tasks {
			add(p.hosts[t])
		}
	}
	p.batches = [][]string{all}
	if len(p.w.Config.Serial) > 0 {
		for _, t := range p.tasks {
			for _, d := range t.DependsOn {
				if usesAllHosts(t, d) {
					return fmt.Errorf("%s:%d: task %q reads deps.%s.hosts, which waits for %s everywhere; config.serial goes batch by batch, so that can never be", t.Pos.File, t.Pos.Line, t.Name, d, d)
				}
			}
		}
		cut, err := batches(all, p.w.Config.Serial)
		if err != nil {
			return fmt.Errorf("workflow %q: %w", p.w.Name, err)
		}
		p.batches = cut
		p.rolling = seen
	}
	if p.w.Config.MaxFail != "" {
		n, err := share(p.w.Config.MaxFail, len(all))
		if err != nil {
			return fmt.Errorf("workflow %q: max_fail: %w", p.w.Name, err)
		}
		p.maxFail = n
	}
	return nil
}

func (p *plan) taskNames() []string {
	names := make([]string, len(p.tasks))
	for i, t := range p.tasks {
		names[i] = t.Name
	}
	return names
}

// hostNames lists the hosts whose tasks are known so far.
func (p *plan) hostNames() []string {
	var out []string
	seen := map[string]bool{}
	for _, t := range p.tasks {
		for _, h := range p.hosts[t] {
			if !seen[h] {
				seen[h] = true
				out = append(out, h)
			}
		}
	}
	return out
}

// run executes batch after batch, handlers included.
func (p *plan) run(ctx context.Context) error {
	for i, batch := range p.batches {
		if i > 0 && (p.tally.why() != "" || ctx.Err() != nil || p.tally.all(p.batches[i-1])) {
			p.cancelBatch(batch)
			continue
		}
		if err := p.runBatch(ctx, i, batch); err != nil {
			return err
		}
	}
	return nil
}

// runBatch runs the whole workflow on the hosts of one batch. A task whose
// hosts are only known when its turn comes divides the list into stages.
func (p *plan) runBatch(ctx context.Context, index int, batch []string) error {
	nodes, err := sortTasks(p.tasks)
	if err != nil {
		return err
	}
	for start := 0; start < len(nodes); {
		end := start
		for end < len(nodes) && (end == start || nodes[end].task.Target.Func == nil) {
			end++
		}
		stage := nodes[start:end]
		if t := stage[0].task; t.Target.Func != nil {
			hosts, err := p.r.dynamicTargets(ctx, t)
			if err != nil {
				return err
			}
			p.hosts[t] = hosts
		}
		for _, n := range stage {
			if err := p.place(n, index, batch); err != nil {
				return err
			}
		}
		p.runStage(ctx, stage, p.elsewhere(batch))
		start = end
	}
	p.flush(ctx, batch)
	return nil
}

// place gives n the hosts it has in this batch.
func (p *plan) place(n *node, index int, batch []string) error {
	t := n.task
	hosts := p.hosts[t]
	if p.rolling != nil {
		here := make([]string, 0, len(batch))
		for _, h := range hosts {
			// A host outside the rolling set, a load balancer say, has its turn in every batch.
			if !p.rolling[h] || slices.Contains(batch, h) {
				here = append(here, h)
			}
		}
		if hosts = here; t.RunOnce && index > 0 {
			hosts = nil
		}
	}
	cut, err := batches(hosts, t.Serial)
	if err != nil {
		return fmt.Errorf("%s:%d: task %q: %w", t.Pos.File, t.Pos.Line, t.Name, err)
	}
	n.place(hosts, cut)
	return nil
}

func (p *plan) runStage(ctx context.Context, nodes []*node, elsewhere func(*cell, []string) string) {
	c := p.w.Config
	parallel := max(c.MaxParallelTasks, 1)
	g := newGraph(nodes, graphOptions{parallel: parallel > 1, linear: c.Strategy == "linear"})
	s := newScheduler(g, schedOptions{
		forks: p.r.opt.Forks, parallel: parallel, failFast: c.FailFast, maxFail: p.maxFail,
		tally: p.tally, onDone: p.record, elsewhere: elsewhere,
	})
	s.runCells = p.runCells
	p.r.conduct(ctx, s)
	if p.tally.why() == stopMaxFail {
		p.r.outcome.tooMany()
	}
	for _, n := range nodes {
		if len(n.cells) == 0 && len(p.records[n.task.Name].results) == 0 {
			p.r.emit(event.TaskDone{Where: event.Where{Task: n.task.Name}, Status: event.Skipped, Message: "no host is left for it"})
		}
	}
}

// record keeps a result and shows those that no worker has shown.
func (p *plan) record(c *cell) {
	p.mu.Lock()
	rec := p.records[c.node.task.Name]
	if _, again := rec.results[c.host]; !again {
		rec.order = append(rec.order, c.host)
	}
	rec.results[c.host] = c.result
	p.mu.Unlock()
	res := &c.result
	if res.NotRun {
		p.r.emit(event.TaskDone{
			Where:  event.Where{Task: c.node.task.Name, Host: c.host, Step: c.id},
			Status: res.Status, Message: res.Message, Failure: res.Failure,
		})
	}
	if !res.Ignored && res.Status.Bad() {
		if f := res.Failure; f != nil && f.Class == "lock" {
			p.r.outcome.lock()
		} else {
			p.r.outcome.fail(res.Status)
		}
	}
}

func (p *plan) cancelBatch(batch []string) {
	for _, t := range p.tasks {
		for _, h := range p.hosts[t] {
			if slices.Contains(batch, h) {
				p.r.emit(event.TaskDone{Where: event.Where{Task: t.Name, Host: h}, Status: event.Cancelled, Message: p.whyStopped()})
				p.records[t.Name].results[h] = step.Result{Status: event.Cancelled, NotRun: true}
			}
		}
	}
}

func (p *plan) whyStopped() string {
	if why := p.tally.why(); why != "" {
		return why
	}
	return "every host of the batch before failed"
}

// here reports whether host has its turn in a batch.
func (p *plan) here(host string, batch []string) bool {
	if p.rolling[host] {
		return slices.Contains(batch, host)
	}
	for _, hosts := range p.hosts {
		if slices.Contains(hosts, host) {
			return true
		}
	}
	return false
}

// flush runs the handlers that were notified, host by host, each once, and
// those that earlier runs left on the hosts of this batch.
func (p *plan) flush(ctx context.Context, batch []string) {
	r := p.r
	if r.opt.Check {
		return
	}
	if ctx.Err() == nil && p.tally.why() == "" {
		r.recallPending(ctx)
		for _, host := range r.handlers.leftOn() {
			if p.here(host, batch) && !p.tally.failedOn(host) {
				r.adoptPending(host)
			}
		}
	}
	var nodes []*node
	byTask := map[*dsl.Task]*node{}
	for _, host := range r.handlers.hosts() {
		if p.tally.failedOn(host) || r.isDeparted(host) || p.tally.why() != "" || ctx.Err() != nil {
			r.notice("warn", "%s: the handlers %s stay pending because the host failed or the run was stopped", host, strings.Join(r.handlers.pendingOn(host), ", "))
			continue
		}
		run, unknown := r.handlers.take(host)
		for _, name := range unknown {
			r.notice("warn", "there is no handler %q; it was notified on %s", name, host)
		}
		for _, t := range run {
			n := byTask[t]
			if n == nil {
				n = &node{task: t}
				byTask[t] = n
				nodes = append(nodes, n)
			}
			n.hosts = append(n.hosts, host)
		}
	}
	slices.SortStableFunc(nodes, func(a, b *node) int {
		return slices.Index(r.handlers.known, a.task) - slices.Index(r.handlers.known, b.task)
	})
	for i, n := range nodes {
		n.order = i
		n.place(n.hosts, [][]string{n.hosts})
		if p.records[n.task.Name] == nil {
			p.records[n.task.Name] = &record{task: n.task, results: map[string]step.Result{}}
		}
	}
	if len(nodes) == 0 {
		return
	}
	p.runStage(ctx, nodes, nil)
	for _, n := range nodes {
		for _, c := range n.cells {
			r.handled(c.host, n.task.Name, c.result)
		}
	}
}
