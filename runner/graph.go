package runner

import (
	"fmt"
	"slices"

	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/runner/step"
)

// Local is the name of the controller itself where a host's name is expected.
const Local = "local"

// node is one task of the graph, with the hosts it runs on.
type node struct {
	task  *dsl.Task
	order int
	hosts []string // Local for the controller; empty: limited away
	cells []*cell
	on    map[string]*cell
	deps  []*node // what it names in depends_on
	after []*node // deps and their deps

	nested bool   // run by :run()
	depth  int    // how many :run() it is nested in
	call   string // a module function that is the whole command, for assertions
	args   map[string]any

	left    int     // cells that are not done
	waiters []*cell // cells that wait until all of this node is done
}

// cell is one task on one host: the unit of scheduling and of results.
type cell struct {
	node  *node
	host  string
	batch int // of the task's own serial

	waits   int     // nodes and cells elsewhere that must be done first
	waiters []*cell // cells elsewhere that wait for this one
	state   cellState
	unsent  bool // its host was lost before anything about it had left
	id      string
	result  step.Result
}

type cellState int

const (
	cellWaiting cellState = iota
	cellSent
	cellDone
)

// doomed reports whether whoever depends on c must not run.
func (c *cell) doomed() bool {
	r := &c.result
	return c.state == cellDone && (r.NotRun || r.Status.Bad() && !r.Ignored)
}

// graph is the part of a workflow that can be planned at once: its hosts are
// known. Order between tasks holds host by host.
type graph struct {
	nodes []*node
	lanes map[string]*lane
	order []string // lanes by first appearance
}

// lane is the queue of one host.
type lane struct {
	host  string
	cells []*cell
	next  int // first cell not yet sent
	jobs  int // jobs in flight
}

// graphOptions says how strictly the order of the list is kept.
type graphOptions struct {
	parallel bool // only depends_on orders tasks
	linear   bool // every task is a barrier
}

// newGraph links nodes, which come in an order that respects depends_on. done
// holds nodes of earlier stages; waiting for them is over already.
func newGraph(nodes []*node, o graphOptions) *graph {
	g := &graph{nodes: nodes, lanes: map[string]*lane{}}
	inStage := map[*node]bool{}
	for _, n := range nodes {
		inStage[n] = true
	}
	var prev *node
	for _, n := range nodes {
		g.addCells(n)
		for _, d := range n.deps {
			if !inStage[d] {
				continue
			}
			whole := o.linear || usesAllHosts(n.task, d.task.Name)
			n.waitFor(d, whole, o.parallel || d.task.Async)
		}
		if prev != nil && !o.parallel && !n.task.Async {
			n.waitFor(prev, o.linear, false)
		}
		if !n.task.Async {
			prev = n
		}
		n.chainBatches()
	}
	return g
}

func (g *graph) addCells(n *node) {
	n.left = len(n.cells)
	for _, c := range n.cells {
		l := g.lanes[c.host]
		if l == nil {
			l = &lane{host: c.host}
			g.lanes[c.host] = l
			g.order = append(g.order, c.host)
		}
		l.cells = append(l.cells, c)
	}
}

// waitFor makes each cell of n wait for the same host's cell of d, and for all
// of d where d has no such host. Without parallel the lane's own order already
// holds on a shared host.
func (n *node) waitFor(d *node, whole, parallel bool) {
	for _, c := range n.cells {
		same := d.cell(c.host)
		switch {
		case whole || same == nil:
			if d.left > 0 {
				c.waits++
				d.waiters = append(d.waiters, c)
			}
		case parallel:
			c.waits++
			same.waiters = append(same.waiters, c)
		}
	}
}

// chainBatches lets each batch of a task with :serial wait for the last one.
func (n *node) chainBatches() {
	for _, c := range n.cells {
		if c.batch == 0 {
			continue
		}
		for _, b := range n.cells {
			if b.batch == c.batch-1 {
				c.waits++
				b.waiters = append(b.waiters, c)
			}
		}
	}
}

// cell is n's cell on host, or nil.
func (n *node) cell(host string) *cell { return n.on[host] }

// sortTasks puts tasks into an order that respects depends_on and is the
// list's own wherever it can be.
func sortTasks(tasks []*dsl.Task) ([]*node, error) {
	byName := map[string]*node{}
	nodes := make([]*node, 0, len(tasks))
	for i, t := range tasks {
		n := &node{task: t, order: i}
		byName[t.Name] = n
		nodes = append(nodes, n)
	}
	var sorted []*node
	state := map[*node]int{}
	var visit func(n *node) error
	visit = func(n *node) error {
		switch state[n] {
		case 1:
			return fmt.Errorf("%s:%d: task %q depends on itself through others", n.task.Pos.File, n.task.Pos.Line, n.task.Name)
		case 2:
			return nil
		}
		state[n] = 1
		for _, name := range n.task.DependsOn {
			d := byName[name]
			if d == nil {
				continue // not in this selection (tags): nothing to wait for
			}
			if err := visit(d); err != nil {
				return err
			}
			n.deps = append(n.deps, d)
			for _, x := range append([]*node{d}, d.after...) {
				if !slices.Contains(n.after, x) {
					n.after = append(n.after, x)
				}
			}
		}
		state[n] = 2
		sorted = append(sorted, n)
		return nil
	}
	for _, n := range nodes {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}

// place gives n its hosts, cut into the batches of the task's own serial.
func (n *node) place(hosts []string, batches [][]string) {
	n.hosts = hosts
	n.cells = make([]*cell, 0, len(hosts))
	n.on = make(map[string]*cell, len(hosts))
	for i, b := range batches {
		for _, h := range b {
			c := &cell{node: n, host: h, batch: i}
			n.cells = append(n.cells, c)
			n.on[h] = c
		}
	}
	n.left = len(n.cells)
}
