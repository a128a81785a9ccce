package runner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/mem"
	"github.com/sloth-runner/sloth/state/values"
)

// ledger counts the transactions of a store, and refuses them when it is full.
type ledger struct {
	state.Store
	mu      sync.Mutex
	commits int
	full    bool
}

func (l *ledger) book() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		return errors.New("no space left on device")
	}
	l.commits++
	return nil
}

func (l *ledger) Put(ctx context.Context, key string, value []byte, ttl time.Duration, r state.Revision) (state.Revision, error) {
	if err := l.book(); err != nil {
		return 0, err
	}
	return l.Store.Put(ctx, key, value, ttl, r)
}

func (l *ledger) Delete(ctx context.Context, key string, r state.Revision) error {
	if err := l.book(); err != nil {
		return err
	}
	return l.Store.Delete(ctx, key, r)
}

func (l *ledger) Commit(ctx context.Context, ops []state.Op) (state.Revision, error) {
	if err := l.book(); err != nil {
		return 0, err
	}
	return l.Store.Commit(ctx, ops)
}

// on lets a run keep its state in the ledger.
func (l *ledger) on(o *runner.Options) {
	vals := values.New(l, "test")
	o.State = func(ctx context.Context, call, op string, args []any) ([]any, error) {
		if call == "" {
			return vals.Do(ctx, op, args)
		}
		return vals.DoOnce(ctx, call, op, args)
	}
}

func (l *ledger) get(t *testing.T, key string) any {
	t.Helper()
	got, err := values.New(l.Store, "test").Do(t.Context(), "get", []any{key})
	if err != nil {
		t.Fatal(err)
	}
	return got[0]
}

func TestATasksSetsAreOneTransaction(t *testing.T) {
	f := newFleet(t, 3, sshdtest.Options{})
	script := `
local function twenty(who)
	for i = 1, 20 do
		state.set(who .. "/" .. i, i)
		assert(state.get(who .. "/" .. i) == i)
		assert(state.get("nobody's", "none") == "none")
	end
end
local far = task("far"):command(function() twenty(host.name) end):on_success(function() state.set(host.name .. "/over", true) end):build()
local here = task("here"):delegate_to("local"):command(function() twenty("local") end):build()
workflow.define("w", {tasks = {far, here}, config = {hosts = "all"}})`
	l := &ledger{Store: mem.New()}
	f.run(script, l.on).want(0)
	if l.commits != 4 {
		t.Errorf("%d transactions for a task on three hosts and one here", l.commits)
	}
	for _, who := range append(f.order, "local") {
		if got := l.get(t, who+"/20"); got != int64(20) {
			t.Errorf("%s/20 is %v", who, got)
		}
	}
	if got := l.get(t, "h3/over"); got != true {
		t.Errorf("h3/over is %v", got)
	}
}

func TestAtomicCallsAndNestedTasksSeeWhatWasSet(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	l := &ledger{Store: mem.New()}
	f.run(`
local look = function() return state.get("word") == "set", tostring(state.get("word")) end
local a = task("a"):delegate_to("h1"):command(function()
	state.set("n", 1)
	assert(state.increment("n") == 2)
	state.with_lock("l", function() state.set("n", state.get("n") + 1) end)
	state.set("word", "set")
	local ok, msg = task("inner"):delegate_to("h2"):command(look):run()
	return ok, msg
end):build()
local b = task("b"):delegate_to("local"):depends_on("a"):command(function()
	assert(state.get("n") == 3)
	state.set("word", nil)
	state.set("word", "set")
	local ok, msg = task("here"):delegate_to("h1"):command(look):run()
	return ok, msg
end):build()
workflow.define("w", {tasks = {a, b}})`, l.on).want(0)
}

func TestATaskWhoseSetsAreNotStoredFails(t *testing.T) {
	f := newFleet(t, 1, sshdtest.Options{})
	for _, where := range []string{"h1", "local"} {
		l := &ledger{Store: mem.New(), full: true}
		got := f.run(fmt.Sprintf(`
local a = task("a"):delegate_to(%q):command(function() state.set("k", 1) return true, "done" end):build()
local b = task("b"):delegate_to(%q):depends_on("a"):command(function() end):build()
workflow.define("w", {tasks = {a, b}})`, where, where), l.on).want(2)
		d := got.done("a", where)
		if d.Status != event.Failed || d.Failure == nil || !strings.Contains(d.Failure.Message, "what the task has set is not stored: state.set: no space left on device") {
			t.Errorf("%s: %s %+v", where, d.Status, d.Failure)
		}
		if d := got.done("b", where); d.Status != event.Skipped {
			t.Errorf("%s: b is %s", where, d.Status)
		}
	}
}

// A task that fails, or is ended, keeps what it has set.
func TestAFailedTasksSetsAreStored(t *testing.T) {
	f := newFleet(t, 1, sshdtest.Options{})
	l := &ledger{Store: mem.New()}
	f.run(`
local a = task("a"):command(function() state.set("failed", 1) error("no") end):on_failure(function() state.set("hook", 1) end):build()
local b = task("b"):timeout("300ms"):command(function() state.set("late", 1) exec.run("sleep 20") end):build()
workflow.define("w", {tasks = {a, b}, config = {hosts = "all"}})`, l.on).want(2)
	for _, key := range []string{"failed", "hook", "late"} {
		if got := l.get(t, key); got != int64(1) {
			t.Errorf("%s is %v", key, got)
		}
	}
	if l.commits != 2 {
		t.Errorf("%d transactions", l.commits)
	}
}
