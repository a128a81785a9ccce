package runner

import (
	"context"
	"sync"

	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// scheduler runs the cells of one graph. Whenever a cell is done, pump looks
// for work that became possible; each job runs in a goroutine that wait awaits.
type scheduler struct {
	g   *graph
	opt schedOptions

	// runCells executes cells of one host, in order, as one segment. It calls
	// done for each cell, as soon as its result is known.
	runCells func(ctx context.Context, host string, cells []*cell, done func(*cell, step.Result))

	mu      sync.Mutex
	idle    sync.Cond     // signalled when a job ends
	jobs    int           // jobs in flight
	busy    int           // hosts with a job in flight, for forks
	running map[*node]int // cells sent and not done, per node
	halt    func()        // tells running segments to stop before their next step
}

type schedOptions struct {
	forks    int // hosts worked at once; at least 1
	parallel int // tasks at once; 1: each host in the list's order
	failFast bool
	maxFail  int // hosts that may fail; -1: no limit
	tally    *tally
	// onDone sees every result in the order it became known.
	onDone func(*cell)
	// elsewhere chooses another host for a cell whose own is lost, beside those
	// that have the task; empty: there is none.
	elsewhere func(c *cell, taken []string) string
}

func newScheduler(g *graph, o schedOptions) *scheduler {
	s := &scheduler{g: g, opt: o, running: map[*node]int{}}
	s.idle.L = &s.mu
	return s
}

// run executes the whole graph and returns when nothing runs any more. A
// cancelled ctx ends what runs; what had not begun is Cancelled.
func (s *scheduler) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { s.stop("the run was cancelled") })
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pump(ctx)
	for s.jobs > 0 {
		s.idle.Wait()
		s.pump(ctx)
	}
	if ctx.Err() != nil {
		s.stopLocked("the run was cancelled")
	}
	// What is left was never possible: the run was stopped.
	for _, n := range s.g.nodes {
		for _, c := range n.cells {
			if c.state != cellDone {
				s.finish(c, step.Result{Status: event.Cancelled, NotRun: true, Message: s.opt.tally.why()})
			}
		}
	}
}

// stop lets nothing new start; running segments end before their next step.
func (s *scheduler) stop(why string) {
	s.mu.Lock()
	s.stopLocked(why)
	s.mu.Unlock()
}

func (s *scheduler) stopLocked(why string) {
	if s.opt.tally.stop(why) && s.halt != nil {
		go s.halt()
	}
}

// pump starts every job that is possible now. The caller holds the lock.
func (s *scheduler) pump(ctx context.Context) {
	if ctx.Err() != nil {
		s.stopLocked("the run was cancelled")
	}
	for again := true; again && s.opt.tally.why() == ""; {
		again = false
		for _, host := range s.g.order {
			l := s.g.lanes[host]
			for s.opt.tally.why() == "" {
				cells := s.take(l)
				if len(cells) == 0 {
					break
				}
				if kept := s.skipDoomed(cells); len(kept) > 0 {
					s.start(ctx, l, kept)
				}
				again = true
			}
		}
	}
}

// take picks the next cells that l's host can run without waiting for anybody.
func (s *scheduler) take(l *lane) []*cell {
	if l.jobs == 0 && s.busy >= s.opt.forks && l.host != Local {
		return nil
	}
	if s.opt.parallel > 1 {
		return s.takeParallel(l)
	}
	if l.jobs > 0 {
		return s.takeAsync(l)
	}
	var cells []*cell
	for ; l.next < len(l.cells); l.next++ {
		c := l.cells[l.next]
		if c.state == cellDone {
			continue
		}
		if c.waits > 0 || c.node.task.Async && len(cells) > 0 {
			break
		}
		cells = append(cells, c)
		if c.node.task.Async {
			l.next++
			break
		}
		// A local cell may change what later ones capture: one at a time.
		if l.host == Local {
			l.next++
			break
		}
	}
	return cells
}

// takeAsync lets the lane go on beside jobs that were started with :async.
func (s *scheduler) takeAsync(l *lane) []*cell {
	for i := range l.next {
		if c := l.cells[i]; c.state == cellSent && !c.node.task.Async {
			return nil
		}
	}
	saved := l.jobs
	l.jobs = 0
	cells := s.take(l)
	l.jobs = saved
	return cells
}

func (s *scheduler) takeParallel(l *lane) []*cell {
	for _, c := range l.cells {
		if c.state != cellWaiting || c.waits > 0 {
			continue
		}
		if s.running[c.node] == 0 && len(s.running) >= s.opt.parallel && !c.node.task.Async {
			continue
		}
		return []*cell{c}
	}
	return nil
}

// skipDoomed finishes those cells whose dependency failed on their host and
// returns the others.
func (s *scheduler) skipDoomed(cells []*cell) []*cell {
	kept := cells[:0:0]
	gone := map[*cell]bool{}
	for _, c := range cells {
		if why := s.doom(c, gone); why != "" {
			gone[c] = true
			s.finish(c, step.Result{Status: event.Skipped, NotRun: true, Message: why})
			continue
		}
		kept = append(kept, c)
	}
	return kept
}

func (s *scheduler) doom(c *cell, gone map[*cell]bool) string {
	for _, d := range c.node.deps {
		if same := d.cell(c.host); same != nil {
			if gone[same] || same.doomed() {
				return "depends on " + d.task.Name + ", which failed here"
			}
			continue
		}
		for _, other := range d.cells {
			if other.doomed() {
				return "depends on " + d.task.Name + ", which failed on " + other.host
			}
		}
	}
	return ""
}

func (s *scheduler) start(ctx context.Context, l *lane, cells []*cell) {
	if l.jobs == 0 && l.host != Local {
		s.busy++
	}
	l.jobs++
	s.jobs++
	for _, c := range cells {
		c.state = cellSent
		s.running[c.node]++
	}
	go func() {
		s.runCells(ctx, l.host, cells, func(c *cell, r step.Result) {
			moved := s.failover(c, r)
			s.mu.Lock()
			defer s.mu.Unlock()
			if !moved {
				s.finish(c, r)
			}
			s.pump(ctx)
		})
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range cells {
			if c.state != cellDone && c.host == l.host {
				s.finish(c, step.Result{Status: event.Unknown, Message: "the host gave no result for this step"})
			}
		}
		l.jobs--
		s.jobs--
		if l.jobs == 0 && l.host != Local {
			s.busy--
		}
		s.idle.Signal()
	}()
}

// finish records a result and wakes whoever waited for it. The caller holds
// the lock.
func (s *scheduler) finish(c *cell, r step.Result) {
	if c.state == cellDone {
		return // a host that reports a step twice is not believed the second time
	}
	if c.state == cellSent {
		if s.running[c.node]--; s.running[c.node] == 0 {
			delete(s.running, c.node)
		}
	}
	c.state = cellDone
	c.result = r
	for _, w := range c.waiters {
		w.waits--
	}
	n := c.node
	if n.left--; n.left == 0 {
		for _, w := range n.waiters {
			w.waits--
		}
	}
	if s.opt.onDone != nil {
		s.opt.onDone(c)
	}
	if r.Status.Bad() && !r.Ignored && !r.NotRun {
		s.countFailure(c)
	}
}

func (s *scheduler) countFailure(c *cell) {
	failed := s.opt.tally.fail(c.host)
	switch {
	case s.opt.failFast:
		s.stopLocked("fail_fast: " + c.node.task.Name + " failed on " + c.host)
	case c.node.task.AnyErrorsFatal:
		s.stopLocked("any_errors_fatal: " + c.node.task.Name + " failed on " + c.host)
	case s.opt.maxFail >= 0 && failed > s.opt.maxFail:
		s.stopLocked(stopMaxFail)
	}
}

const stopMaxFail = "more hosts failed than max_fail allows"
