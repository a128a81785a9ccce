package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// rig runs a graph with a fake fleet that notes when each cell began and ended.
type rig struct {
	mu    sync.Mutex
	log   []string            // "begin a@h1", "end a@h1"
	segs  []string            // "h1:a,b"
	fail  map[string]bool     // "a@h1"
	gates map[string]chan int // a cell waits for its gate
	most  int                 // hosts at once
	now   map[string]int
	nodes []*node
	sched *scheduler
}

func newRig(t *testing.T, tasks []*dsl.Task, hosts map[string]string, g graphOptions, o schedOptions) *rig {
	t.Helper()
	nodes, err := sortTasks(tasks)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		var list []string
		if h := hosts[n.task.Name]; h != "" {
			list = strings.Fields(h)
		}
		cut, err := batches(list, n.task.Serial)
		if err != nil {
			t.Fatal(err)
		}
		n.place(list, cut)
	}
	if o.forks == 0 {
		o.forks = 10
	}
	if o.parallel == 0 {
		o.parallel = 1
	}
	o.tally = newTally()
	r := &rig{fail: map[string]bool{}, gates: map[string]chan int{}, now: map[string]int{}, nodes: nodes}
	r.sched = newScheduler(newGraph(nodes, g), o)
	r.sched.runCells = r.run
	return r
}

func (r *rig) run(ctx context.Context, host string, cells []*cell, done func(*cell, step.Result)) {
	var names []string
	for _, c := range cells {
		names = append(names, c.node.task.Name)
	}
	r.mu.Lock()
	r.segs = append(r.segs, host+":"+strings.Join(names, ","))
	r.now[host]++
	r.most = max(r.most, len(r.now))
	r.mu.Unlock()
	for _, c := range cells {
		key := c.node.task.Name + "@" + host
		r.note("begin " + key)
		if gate := r.gates[key]; gate != nil {
			select {
			case <-gate:
			case <-ctx.Done():
			}
		}
		r.note("end " + key)
		res := step.Result{Status: event.Success}
		if r.fail[key] {
			res = step.Result{Status: event.Failed, Ignored: c.node.task.IgnoreErrors}
		}
		done(c, res)
	}
	r.mu.Lock()
	if r.now[host]--; r.now[host] == 0 {
		delete(r.now, host)
	}
	r.mu.Unlock()
}

func (r *rig) note(s string) { r.mu.Lock(); r.log = append(r.log, s); r.mu.Unlock() }

// before fails unless a happened before b.
func (r *rig) before(t *testing.T, a, b string) {
	t.Helper()
	i, j := slices.Index(r.log, a), slices.Index(r.log, b)
	if i < 0 || j < 0 || i > j {
		t.Errorf("%q did not come before %q in %v", a, b, r.log)
	}
}

func (r *rig) status(task, host string) event.Status {
	for _, n := range r.nodes {
		if n.task.Name == task {
			return n.cell(host).result.Status
		}
	}
	return ""
}

func tk(name string, deps ...string) *dsl.Task { return &dsl.Task{Name: name, DependsOn: deps} }

func TestOneHostsTasksAreOneSegment(t *testing.T) {
	hosts := map[string]string{"a": "h1 h2", "b": "h1 h2", "c": "h1 h2"}
	r := newRig(t, []*dsl.Task{tk("a"), tk("b"), tk("c", "a")}, hosts, graphOptions{}, schedOptions{})
	r.sched.run(context.Background())
	slices.Sort(r.segs)
	if got := fmt.Sprint(r.segs); got != "[h1:a,b,c h2:a,b,c]" {
		t.Errorf("segments are %s", got)
	}
}

func TestASlowHostDelaysOnlyItself(t *testing.T) {
	hosts := map[string]string{"a": "h1 h2", "b": "h1 h2"}
	r := newRig(t, []*dsl.Task{tk("a"), tk("b")}, hosts, graphOptions{}, schedOptions{})
	r.gates["a@h1"] = make(chan int)
	finished := make(chan struct{})
	go func() { r.sched.run(context.Background()); close(finished) }()
	await(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return slices.Contains(r.log, "end b@h2") })
	close(r.gates["a@h1"])
	<-finished
	r.before(t, "end b@h2", "end a@h1")
}

func TestANewHostWaitsForAllOfTheTaskBefore(t *testing.T) {
	hosts := map[string]string{"web": "w1 w2", "db": "w1 d1"}
	r := newRig(t, []*dsl.Task{tk("web"), tk("db")}, hosts, graphOptions{}, schedOptions{})
	r.sched.run(context.Background())
	r.before(t, "end web@w1", "begin db@d1")
	r.before(t, "end web@w2", "begin db@d1")
	r.before(t, "end web@w1", "begin db@w1")
}

func TestLinearMakesEveryTaskABarrier(t *testing.T) {
	hosts := map[string]string{"a": "h1 h2 h3", "b": "h1 h2 h3"}
	r := newRig(t, []*dsl.Task{tk("a"), tk("b")}, hosts, graphOptions{linear: true}, schedOptions{})
	r.sched.run(context.Background())
	for _, x := range strings.Fields("h1 h2 h3") {
		for _, y := range strings.Fields("h1 h2 h3") {
			r.before(t, "end a@"+x, "begin b@"+y)
		}
	}
}

func TestAFailureTakesItsHostOutOfWhatDependsOnIt(t *testing.T) {
	hosts := map[string]string{"a": "h1 h2", "b": "h1 h2", "c": "h1 h2", "free": "h1 h2"}
	r := newRig(t, []*dsl.Task{tk("a"), tk("b", "a"), tk("c", "b"), tk("free")}, hosts, graphOptions{linear: true}, schedOptions{maxFail: -1})
	r.fail["a@h1"] = true
	r.sched.run(context.Background())
	for cell, want := range map[string]event.Status{
		"a h1": event.Failed, "b h1": event.Skipped, "c h1": event.Skipped, "free h1": event.Success,
		"a h2": event.Success, "b h2": event.Success, "c h2": event.Success,
	} {
		f := strings.Fields(cell)
		if got := r.status(f[0], f[1]); got != want {
			t.Errorf("%s is %s, want %s", cell, got, want)
		}
	}
}

func TestFailFastCancelsWhatHasNotStarted(t *testing.T) {
	hosts := map[string]string{"a": "h1", "b": "h2"}
	r := newRig(t, []*dsl.Task{tk("a"), tk("b")}, hosts, graphOptions{}, schedOptions{failFast: true, maxFail: -1})
	r.fail["a@h1"] = true
	r.sched.run(context.Background())
	if got := r.status("b", "h2"); got != event.Cancelled {
		t.Errorf("b is %s", got)
	}
}

func TestMaxFailStopsOnceMoreHostsFailed(t *testing.T) {
	a := tk("a")
	a.Serial = []string{"1"}
	r := newRig(t, []*dsl.Task{a}, map[string]string{"a": "h1 h2 h3 h4"}, graphOptions{}, schedOptions{maxFail: 1})
	r.fail["a@h1"], r.fail["a@h2"] = true, true
	r.sched.run(context.Background())
	if r.status("a", "h2") != event.Failed || r.status("a", "h3") != event.Cancelled || r.sched.opt.tally.why() != stopMaxFail {
		t.Errorf("h2 %s, h3 %s, stopped %q", r.status("a", "h2"), r.status("a", "h3"), r.sched.opt.tally.why())
	}
}

func TestSerialBatchesOfOneTaskWaitForEachOther(t *testing.T) {
	a := tk("a")
	a.Serial = []string{"2"}
	r := newRig(t, []*dsl.Task{a}, map[string]string{"a": "h1 h2 h3 h4"}, graphOptions{}, schedOptions{maxFail: -1})
	r.sched.run(context.Background())
	for _, x := range []string{"h1", "h2"} {
		for _, y := range []string{"h3", "h4"} {
			r.before(t, "end a@"+x, "begin a@"+y)
		}
	}
}

func TestForksLimitHostsAtOnce(t *testing.T) {
	r := newRig(t, []*dsl.Task{tk("a"), tk("b")}, map[string]string{"a": "h1 h2 h3 h4 h5 h6", "b": "h1 h2 h3 h4 h5 h6"}, graphOptions{}, schedOptions{forks: 2, maxFail: -1})
	r.sched.run(context.Background())
	if r.most > 2 {
		t.Errorf("%d hosts at once with 2 forks", r.most)
	}
	if len(r.segs) != 6 {
		t.Errorf("segments: %v", r.segs)
	}
}

func TestParallelTasksRunBesideEachOther(t *testing.T) {
	hosts := map[string]string{"a": Local, "b": Local, "c": Local}
	r := newRig(t, []*dsl.Task{tk("a"), tk("b"), tk("c", "a")}, hosts, graphOptions{parallel: true}, schedOptions{parallel: 2, maxFail: -1})
	r.gates["a@local"] = make(chan int)
	finished := make(chan struct{})
	go func() { r.sched.run(context.Background()); close(finished) }()
	await(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return slices.Contains(r.log, "end b@local") })
	close(r.gates["a@local"])
	<-finished
	r.before(t, "end a@local", "begin c@local")
}

func TestAsyncDoesNotHoldUpTheNextTask(t *testing.T) {
	a := tk("a")
	a.Async = true
	r := newRig(t, []*dsl.Task{a, tk("b"), tk("c", "a")}, map[string]string{"a": "h1", "b": "h1", "c": "h1"}, graphOptions{}, schedOptions{maxFail: -1})
	r.gates["a@h1"] = make(chan int)
	finished := make(chan struct{})
	go func() { r.sched.run(context.Background()); close(finished) }()
	await(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return slices.Contains(r.log, "end b@h1") })
	close(r.gates["a@h1"])
	<-finished
	r.before(t, "end a@h1", "begin c@h1")
}

func TestCancelEndsTheRun(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r := newRig(t, []*dsl.Task{tk("a"), tk("b")}, map[string]string{"a": "h1", "b": "h2"}, graphOptions{}, schedOptions{maxFail: -1})
	r.gates["a@h1"] = make(chan int)
	finished := make(chan struct{})
	go func() { r.sched.run(ctx); close(finished) }()
	await(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return slices.Contains(r.log, "begin a@h1") })
	cancel()
	<-finished
	if got := r.status("b", "h2"); got != event.Cancelled {
		t.Errorf("b is %s", got)
	}
}

func TestSortKeepsTheListsOrder(t *testing.T) {
	nodes, err := sortTasks([]*dsl.Task{tk("c", "b"), tk("a"), tk("b")})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.task.Name)
	}
	if got := strings.Join(names, " "); got != "b c a" {
		t.Errorf("order is %s", got)
	}
	if _, err := sortTasks([]*dsl.Task{tk("a", "b"), tk("b", "a")}); err == nil {
		t.Error("a cycle was accepted")
	}
}

func TestBatches(t *testing.T) {
	ten := strings.Fields("1 2 3 4 5 6 7 8 9 10")
	for _, c := range []struct {
		serial []string
		want   string
	}{
		{nil, "[[1 2 3 4 5 6 7 8 9 10]]"},
		{[]string{"25%"}, "[[1 2] [3 4] [5 6] [7 8] [9 10]]"},
		{[]string{"1", "5"}, "[[1] [2 3 4 5 6] [7 8 9 10]]"},
		{[]string{"1%"}, "[[1] [2] [3] [4] [5] [6] [7] [8] [9] [10]]"},
		{[]string{"100%"}, "[[1 2 3 4 5 6 7 8 9 10]]"},
	} {
		got, err := batches(ten, c.serial)
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("serial %v gives %v, %v; want %s", c.serial, got, err, c.want)
		}
	}
	for _, bad := range []string{"x", "-1", "1.5", "%"} {
		if _, err := batches(ten, []string{bad}); err == nil {
			t.Errorf("serial %q was accepted", bad)
		}
	}
}

func TestTagsSelectAsInAnsible(t *testing.T) {
	for _, c := range []struct {
		tags, only, skip string
		want             bool
	}{
		{"", "", "", true}, {"web", "web", "", true}, {"web", "db", "", false}, {"always", "db", "", true},
		{"never", "", "", false}, {"never web", "web", "", true}, {"web", "", "web", false}, {"always web", "", "web", false},
		{"", "untagged", "", true}, {"web", "tagged", "", true}, {"web", "all", "", true}, {"always", "", "all", true}, {"web", "", "tagged", false},
	} {
		if got := wanted(strings.Fields(c.tags), strings.Fields(c.only), strings.Fields(c.skip)); got != c.want {
			t.Errorf("tags %q with --tags %q --skip-tags %q: %v", c.tags, c.only, c.skip, got)
		}
	}
}

// await polls until ok, at most ten seconds.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for limit := time.After(10 * time.Second); !ok(); {
		select {
		case <-limit:
			t.Fatal("the condition never came true")
		case <-tick.C:
		}
	}
}
