package render

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
)

const (
	// maxDiffs and maxDiffText limit what is kept of the changes of one task on
	// one host.
	maxDiffs    = 200
	maxDiffText = 256 << 10
)

// collector keeps what a document says at the end: aggregates by task and host.
type collector struct {
	o       Options
	run     event.RunStarted
	end     *event.RunDone
	began   time.Time
	tasks   map[string]*taskResult
	order   []string
	tally   *tally
	outputs map[string]any
	flights map[flightKey]*flight // the last lines that each task printed
	changes map[flightKey]*changes
	lost    []event.HostLost
}

func newCollector(o Options) *collector {
	return &collector{
		o: o, began: o.Now(), tasks: map[string]*taskResult{}, tally: newTally(), outputs: map[string]any{},
		flights: map[flightKey]*flight{}, changes: map[flightKey]*changes{},
	}
}

// taskResult is one task on all of its hosts.
type taskResult struct {
	name  string
	hosts map[string]*hostResult
	order []string
}

// hostResult is one task on one host. A task that ran there several times is
// summed up.
type hostResult struct {
	status   event.Status
	changed  bool
	ignored  bool
	nested   bool
	message  string
	duration time.Duration
	attempts int
	outputs  any
	failure  *event.Failure
	tail     []string
	changes
}

// changes are what a task did, up to the limits.
type changes struct {
	list      []change
	size      int
	truncated bool
}

type change struct {
	function, file string
	line           int
	planned        bool
	message        string
	modules.Change
}

func (c *changes) add(e event.Called) {
	one := change{function: e.Function, file: e.File, line: e.Line, planned: e.Planned, message: e.Message}
	if e.Diff.Empty() {
		c.append(one)
		return
	}
	for _, d := range e.Diff.Changes {
		one.Change = d
		c.append(one)
	}
}

func (c *changes) append(one change) {
	n := len(one.Before) + len(one.After) + len(one.message) + len(one.What)
	if len(c.list) >= maxDiffs || c.size+n > maxDiffText {
		c.truncated = true
		return
	}
	c.size += n
	c.list = append(c.list, one)
}

func (c *collector) task(name string) *taskResult {
	t := c.tasks[name]
	if t == nil {
		t = &taskResult{name: name, hosts: map[string]*hostResult{}}
		c.tasks[name] = t
		c.order = append(c.order, name)
	}
	return t
}

func (c *collector) handle(e event.Event) {
	switch e := e.(type) {
	case event.RunStarted:
		if c.run.RunID == "" || c.run.RunID != e.RunID {
			c.began = c.o.Now()
		}
		c.run = e
		for _, h := range e.Hosts {
			c.tally.host(h)
		}
	case event.TaskStarted:
		delete(c.flights, keyOf(e.Where))
	case event.Output:
		k := keyOf(e.Where)
		if c.flights[k] == nil {
			c.flights[k] = &flight{}
		}
		c.flights[k].add(e.Stream, e.Data)
	case event.Called:
		if !e.Changed {
			return
		}
		k := keyOf(e.Where)
		if c.changes[k] == nil {
			c.changes[k] = &changes{}
		}
		c.changes[k].add(e)
	case event.TaskDone:
		c.done(e)
	case event.HostLost:
		c.tally.lost(e.Host)
		c.lost = append(c.lost, e)
	case event.RunDone:
		c.end = &e
	}
}

func (c *collector) done(d event.TaskDone) {
	c.tally.add(d)
	k, host := keyOf(d.Where), hostOf(d.Where)
	t := c.task(d.Task)
	h := t.hosts[host]
	if h == nil {
		h = &hostResult{}
		t.hosts[host] = h
		t.order = append(t.order, host)
	}
	// A failure that counts stays, whatever follows it.
	if h.status == "" || !h.status.Bad() || h.nested || h.ignored {
		h.status, h.ignored, h.nested, h.message, h.outputs, h.failure = d.Status, d.Ignored, d.Nested, d.Message, d.Outputs, d.Failure
	}
	h.changed = h.changed || d.Changed
	h.duration += d.Duration
	h.attempts += d.Attempts
	if f := c.flights[k]; f != nil && d.Status.Bad() {
		h.tail = f.last(d.Message)
	}
	if done := c.changes[k]; done != nil {
		for _, one := range done.list {
			h.append(one)
		}
		h.truncated = h.truncated || done.truncated
	}
	delete(c.flights, k)
	delete(c.changes, k)
	if m, ok := d.Outputs.(map[string]any); ok && d.Status == event.Success {
		for name, v := range m {
			c.outputs[name] = v
		}
	}
}

// worst orders statuses by how much they matter for a task as a whole.
var worst = []event.Status{event.Failed, event.Timeout, event.Unknown, event.Unreachable, event.Cancelled, event.Success, event.Skipped}

// sum is the task as a whole: the worst status and the first failure of that
// kind, the longest time.
func (t *taskResult) sum() (status event.Status, changed bool, took time.Duration, failure *event.Failure) {
	status = event.Skipped
	for _, name := range t.order {
		h := t.hosts[name]
		changed = changed || h.changed
		took = max(took, h.duration)
		s := h.status
		if s.Bad() && h.ignored {
			s = event.Success
		}
		if slices.Index(worst, s) < slices.Index(worst, status) {
			status, failure = s, nil
			if s.Bad() {
				failure = h.failure
			}
		}
	}
	return status, changed, took, failure
}

// document writes one document at the end, and shows the run beside it.
type document struct {
	*collector
	aside *text
	out   io.Writer
	write func(io.Writer, *collector) error
}

func (d *document) Handle(e event.Event) {
	d.handle(e)
	d.aside.Handle(e)
}

func (d *document) Suspend() func() { return d.aside.Suspend() }

func (d *document) Close() error {
	err := d.aside.Close()
	if bad := d.write(d.out, d.collector); bad != nil {
		return fmt.Errorf("write the results: %w", bad)
	}
	return err
}

// seconds is a duration as documents have it: 9.073s.
func seconds(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Seconds()) }

// outcome is the run as a whole; one that never ended failed.
func (c *collector) outcome() (status string, took time.Duration, code int, message string) {
	if c.end == nil {
		return "failed", c.o.Now().Sub(c.began), 1, "the run did not end"
	}
	return strings.ToLower(string(c.end.Status)), c.end.Duration, c.end.ExitCode, c.end.Message
}
