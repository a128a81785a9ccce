package runner

import (
	"slices"

	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// failover gives a cell whose host was lost to another host, where its task may
// run on any of a group and nothing of it had left for the lost one. What may
// have begun stays where it is. It reports whether the cell goes on.
func (s *scheduler) failover(c *cell, r step.Result) bool {
	if !c.unsent || r.Status != event.Unreachable || s.opt.elsewhere == nil {
		return false
	}
	for {
		s.mu.Lock()
		taken := make([]string, 0, len(c.node.on)+1)
		for h := range c.node.on {
			taken = append(taken, h)
		}
		s.mu.Unlock()
		// Not under the lock: whoever knows the hosts may have to ask.
		host := s.opt.elsewhere(c, taken)
		if host == "" {
			return false
		}
		s.mu.Lock()
		if c.node.on[host] != nil { // another cell of the task was faster
			s.mu.Unlock()
			continue
		}
		defer s.mu.Unlock()
		if s.opt.tally.why() != "" || c.state != cellSent {
			return false
		}
		if s.running[c.node]--; s.running[c.node] == 0 {
			delete(s.running, c.node)
		}
		s.g.move(c, host)
		return true
	}
}

// move puts a cell that was not sent into the lane of another host, where its
// task stands in the order. What depends on it on its old host waits for it.
func (g *graph) move(c *cell, host string) {
	n := c.node
	for _, later := range g.nodes {
		x := later.on[c.host]
		if x != nil && x.state == cellWaiting && slices.Contains(later.deps, n) {
			x.waits++
			n.waiters = append(n.waiters, x)
		}
	}
	for _, d := range n.deps {
		if d.left > 0 {
			c.waits++
			d.waiters = append(d.waiters, c)
		}
	}
	old := g.lanes[c.host]
	at := slices.Index(old.cells, c)
	old.cells = slices.Delete(old.cells, at, at+1)
	if at < old.next {
		old.next--
	}
	delete(n.on, c.host)
	n.on[host] = c
	c.host, c.id, c.state, c.unsent = host, "", cellWaiting, false
	l := g.lanes[host]
	if l == nil {
		l = &lane{host: host}
		g.lanes[host] = l
		g.order = append(g.order, host)
	}
	at = l.next
	for at < len(l.cells) && slices.Index(g.nodes, l.cells[at].node) < slices.Index(g.nodes, n) {
		at++
	}
	l.cells = slices.Insert(l.cells, at, c)
}

// elsewhere chooses another host for a cell of this batch: one of the task's
// group that is neither lost nor away and has no cell of the task; none: "".
func (p *plan) elsewhere(batch []string) func(c *cell, taken []string) string {
	return func(c *cell, taken []string) string {
		r, t := p.r, c.node.task
		if t.Target.Group == "" || r.opt.Expect != nil { // a saved plan names its hosts
			return ""
		}
		group, err := r.match(t.Target.Group)
		if err != nil {
			return "" // it was found once: the loss is the news
		}
		lost := c.host
		hosts, live := r.present(slices.DeleteFunc(slices.Clone(group), func(h string) bool {
			return h == lost || slices.Contains(taken, h) || r.link(h).lost.Load() || p.rolling[h] && !slices.Contains(batch, h)
		}))
		if len(hosts) == 0 {
			return ""
		}
		r.mu.Lock()
		r.rank(hosts, live, t.Target.Strategy)
		r.load[hosts[0]]++
		r.mu.Unlock()
		r.notice("warn", "task %s had not begun on %s, which is lost: it goes to %s", t.Name, lost, hosts[0])
		return hosts[0]
	}
}
