package runner_test

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/state/mem"
	"github.com/sloth-runner/sloth/state/stack"
)

// keptPending keeps handlers in a store, as the program does.
type keptPending struct {
	s  *stack.Stacks
	mu sync.Mutex
	n  int // saves
}

func (k *keptPending) Load(ctx context.Context) (map[string][]string, error) {
	return k.s.Pending(ctx, "shop")
}

func (k *keptPending) Save(ctx context.Context, notified, ran []runner.Notified) error {
	k.mu.Lock()
	k.n++
	k.mu.Unlock()
	return k.s.SavePending(ctx, "shop", kept(notified), kept(ran))
}

func kept(list []runner.Notified) []stack.Handler {
	out := make([]stack.Handler, len(list))
	for i, n := range list {
		out[i] = stack.Handler{Host: n.Host, Name: n.Handler}
	}
	return out
}

const pendingScript = `
handler("restart"):command(function()
  if DOWN then error("no") end
  log.info("restarted")
  return true
end):build()
local change = task("change"):delegate_to({"h1", "h2"}):notify("restart"):command(function()
  file_ops.copy({ dest = utils.env("HOME") .. "/f", content = "CONTENT" })
  return true
end):build()
local more = task("more"):delegate_to({"h1", "h2"}):command(function(this)
  if BREAK and host.name == "h1" then error("broken") end
  return true
end):build()
workflow.define("w", {tasks = {change, more}})
`

// A handler that was notified where the host failed then runs in the next run,
// although that changes nothing, and once.
func TestPendingHandlers(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	store := mem.New()
	defer store.Close()
	k := &keptPending{s: stack.New(store)}
	keep := func(o *runner.Options) { o.Pending = k }
	script := func(content, fail, broken string) string {
		return strings.NewReplacer("CONTENT", content, "DOWN", fail, "BREAK", broken).Replace(pendingScript)
	}
	pending := func(want map[string][]string) {
		t.Helper()
		got, err := k.s.Pending(t.Context(), "shop")
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("pending: %v, want %v (%v)", got, want, err)
		}
	}
	restarted := func(r *ran) (hosts []string) {
		for _, e := range r.events {
			if d, ok := e.(event.TaskDone); ok && d.Task == "restart" && d.Status == event.Success {
				hosts = append(hosts, d.Host)
			}
		}
		return hosts
	}

	r := f.run(script("one", "false", "true"), keep).want(2)
	if got := restarted(r); !reflect.DeepEqual(got, []string{"h2"}) {
		t.Errorf("restarted on %v", got)
	}
	left := map[string][]string{"h1": {"restart"}}
	pending(left)

	// A plan neither runs nor forgets it, and a script without it warns.
	f.run(script("one", "false", "false"), keep, func(o *runner.Options) { o.Check = true }).want(0)
	pending(left)
	other := f.run(`workflow.define("w", {tasks = {task("x"):delegate_to("h1"):command(function() return true end):build()}})`, keep).want(0)
	if got := other.logs(); !strings.Contains(got, `there is no handler "restart"; it was notified on h1`) {
		t.Error(got)
	}
	pending(left)
	// Neither does a run that has nothing to do on that host.
	f.run(`workflow.define("w", {tasks = {task("x"):delegate_to("h2"):command(function() return true end):build()}})`, keep).want(0)
	pending(left)

	// A handler that fails stays.
	f.run(script("one", "true", "false"), keep).want(2)
	pending(left)

	r = f.run(script("one", "false", "false"), keep).want(0)
	if got := restarted(r); !reflect.DeepEqual(got, []string{"h1"}) {
		t.Errorf("restarted on %v", got)
	}
	if got := r.logs(); !strings.Contains(got, "h1: an earlier run left pending: restart") {
		t.Error(got)
	}
	pending(map[string][]string{})
	r = f.run(script("one", "false", "false"), keep).want(0)
	if got := restarted(r); len(got) > 0 {
		t.Errorf("restarted on %v", got)
	}
	// Nothing was notified: nothing was written.
	n := k.n
	f.run(script("one", "false", "false"), keep).want(0)
	if k.n != n {
		t.Errorf("%d saves for nothing", k.n-n)
	}
}

// Handlers that an earlier step of the same segment notified run where a later
// one flushes them, and once.
func TestAFlushRunsWhatEarlierStepsNotified(t *testing.T) {
	f := newFleet(t, 1, sshdtest.Options{})
	got := f.run(`
handler("h"):command(function() return exec.run("echo handler >> $HOME/lines").success end):build()
workflow.define("w"):config({ hosts = "all" }):tasks({
  task("a"):notify("h"):command(function() return exec.run("echo a >> $HOME/lines").success end):build(),
  task("b"):depends_on("a"):command(function() flush_handlers() return exec.run("echo b >> $HOME/lines").success end):build(),
})`)
	if got.code != 0 || f.hostLines("h1") != "a\nhandler\nb\n" {
		t.Fatalf("exit code %d, %q: %+v", got.code, f.hostLines("h1"), got.bad())
	}
}
