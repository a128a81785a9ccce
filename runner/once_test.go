package runner_test

import (
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/faultproxy"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/runlog"
	"github.com/sloth-runner/sloth/state/mem"
	"github.com/sloth-runner/sloth/state/values"
)

// storms is how many runs the exactly-once tests make; SLOTH_STORMS sets another
// number.
func storms(t *testing.T, usual int) int {
	if s := os.Getenv("SLOTH_STORMS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return usual
}

// behindProxies puts a bad network before every server.
func (f *fleet) behindProxies() {
	f.proxies = map[string]*faultproxy.Proxy{}
	for name, s := range f.servers {
		f.proxies[name] = faultproxy.Start(f.t, s.Addr())
	}
	f.patience = 30 * time.Second
}

// recorded gives each run a record of its own.
func (f *fleet) recorded(root string) func(*runner.Options) {
	return func(o *runner.Options) {
		f.t.Helper()
		key := make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			f.t.Fatal(err)
		}
		log, err := runlog.Create(root, runlog.Head{RunID: o.RunID, Key: key})
		if err != nil {
			f.t.Fatal(err)
		}
		o.Record, o.Key = log, key
	}
}

// lines is a workflow of n steps that each append their number to a file, and
// what that file must hold in the end.
func lines(n int) (script, want string) {
	var b strings.Builder
	b.WriteString("local tasks = {}\n")
	for i := range n {
		fmt.Fprintf(&b, `tasks[%d] = task("t%d"):command(function() local r = exec.run("echo %d >> $HOME/lines") return r.success, "", { n = %d } end):build()
`, i+1, i, i, i)
		want += fmt.Sprintln(i)
	}
	b.WriteString(`workflow.define("lines"):config({ hosts = "all" }):tasks(tasks)` + "\n")
	return b.String(), want
}

func (f *fleet) hostLines(host string) string {
	b, err := os.ReadFile(filepath.Join(f.servers[host].Home, "lines"))
	if err != nil && !os.IsNotExist(err) {
		f.t.Fatal(err)
	}
	return string(b)
}

func (f *fleet) forgetLines() {
	for _, s := range f.servers {
		if err := os.RemoveAll(filepath.Join(s.Home, "lines")); err != nil {
			f.t.Fatal(err)
		}
	}
}

// Cuts, resets and silent losses at random bytes: every line once, in order, on
// every host, and the record says the same.
func TestFault02EveryStepOnceThroughCuts(t *testing.T) {
	f := newFleet(t, 3, sshdtest.Options{})
	script, want := lines(20)
	f.run(script) // the shim is there
	f.behindProxies()
	f.silence = 2 * time.Second
	root := t.TempDir()
	for n := range storms(t, 6) {
		f.forgetLines()
		// Where even the last word was lost, a worker waits for a while for more.
		for _, s := range f.servers {
			for _, pid := range workers(s.Home) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		f.runID = fmt.Sprintf("storm-%d", n)
		rng := mrand.New(mrand.NewPCG(uint64(n), 7)) //nolint:gosec // the same storm at every run
		for _, host := range f.order {
			p := f.proxies[host]
			d, most := faultproxy.ToServer, int64(9000)
			if rng.IntN(2) == 0 {
				d, most = faultproxy.ToClient, 12000
			}
			at := rng.Int64N(most)
			switch rng.IntN(4) {
			case 0:
				p.CutAfter(at, d)
			case 1:
				p.ResetAfter(at, d)
			case 2: // twice
				second := rng.Int64N(3000) + 1
				p.After(at, d, func(l *faultproxy.Link) {
					l.Cut()
					go p.ResetAfter(second, faultproxy.ToClient)
				})
			case 3: // lost without a word
				// A handshake that is never answered is a host that is not there.
				p.After(at+5000, d, func(*faultproxy.Link) {
					p.Blackhole()
					go p.Heal()
				})
			}
		}
		got := f.run(script, f.recorded(root))
		if got.code != 0 {
			t.Fatalf("storm %d: exit code %d: %+v", n, got.code, got.bad())
		}
		for _, host := range f.order {
			if f.hostLines(host) != want {
				t.Fatalf("storm %d: %s has %q", n, host, f.hostLines(host))
			}
		}
		got.endsOnce(20, 3)
		s, err := runlog.Read(filepath.Join(root, f.runID))
		if err != nil || len(s.Steps) != 60 {
			t.Fatalf("storm %d: the record has %d steps of 60, %v", n, len(s.Steps), err)
		}
		for _, o := range s.Steps {
			if o.Status != event.Success {
				t.Errorf("storm %d: the record says %s of %s on %s", n, o.Status, o.Task, o.Host)
			}
		}
	}
}

// bad are the ends of steps that did not go well, and lost hosts.
func (r *ran) bad() (out []event.Event) {
	for _, e := range r.events {
		switch e := e.(type) {
		case event.TaskDone:
			if e.Status.Bad() {
				out = append(out, e)
			}
		case event.HostLost:
			out = append(out, e)
		}
	}
	return out
}

// endsOnce checks that the end of every step was shown once.
func (r *ran) endsOnce(tasks, hosts int) {
	r.t.Helper()
	seen := map[string]int{}
	for _, e := range r.events {
		if d, ok := e.(event.TaskDone); ok {
			seen[d.Task+" on "+d.Host]++
		}
	}
	for what, n := range seen {
		if n != 1 {
			r.t.Errorf("the end of %s was shown %d times", what, n)
		}
	}
	if len(seen) != tasks*hosts {
		r.t.Errorf("%d ends of steps were shown", len(seen))
	}
}

// With the worker killed exactly the step in flight is unknown; what follows
// goes on without it, and nothing is done twice.
func TestFault04AKilledWorkerMakesOneStepUnknown(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	f.patience = 30 * time.Second
	script := `
local tasks = {
  task("before"):command(function() return exec.run("echo before >> $HOME/lines").success end):build(),
  task("flight"):command(function() return exec.run("echo flight >> $HOME/lines; [ $PWD = /nowhere ] || sleep 0.5; cat $HOME/hold 2>/dev/null && sleep 60; true").success end):build(),
  task("free"):command(function() return exec.run("echo free >> $HOME/lines").success end):build(),
  task("bound"):depends_on("flight"):command(function() return exec.run("echo bound >> $HOME/lines").success end):build(),
}
workflow.define("w"):config({ hosts = "all" }):tasks(tasks)`
	f.run(script)
	f.forgetLines()
	h1 := f.servers["h1"]
	if err := os.WriteFile(filepath.Join(h1.Home, "hold"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	f.runID = "killed"
	got := f.run(script, f.recorded(t.TempDir()), func(o *runner.Options) {
		emit := o.Emit
		o.Emit = func(e event.Event) {
			emit(e)
			if s, ok := e.(event.TaskStarted); ok && s.Host == "h1" && s.Task == "flight" {
				go once.Do(func() { killWorker(t, f, "h1", "flight\n") })
			}
		}
	})
	if got.code != 7 {
		t.Errorf("exit code %d, want 7; %+v", got.code, got.bad())
	}
	for task, want := range map[string]event.Status{"before": event.Success, "flight": event.Unknown, "free": event.Success, "bound": event.Skipped} {
		if d := got.done(task, "h1"); d.Status != want {
			t.Errorf("%s on h1: %s (%s), want %s", task, d.Status, d.Message, want)
		}
		if d := got.done(task, "h2"); d.Status != event.Success {
			t.Errorf("%s on h2: %s", task, d.Status)
		}
	}
	if l := f.hostLines("h1"); l != "before\nflight\nfree\n" {
		t.Errorf("h1 has %q", l)
	}
}

// killWorker waits until the host has written what, and kills its worker.
func killWorker(t *testing.T, f *fleet, host, what string) {
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(f.hostLines(host), what) {
		if time.Now().After(deadline) {
			t.Errorf("%s never wrote %q", host, what)
			return
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // polls for the condition
	}
	for _, pid := range workers(f.servers[host].Home) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// workers are the processes that run as workers with that home.
func workers(home string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cmd, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if strings.Contains(string(cmd), "\x00worker\x00") && strings.Contains("\x00"+string(env), "\x00HOME="+home+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// A run whose record is taken up by another controller does nothing twice: what
// was done stays done, what failed is tried again, handlers that were notified
// run.
func TestAResumedRunGoesOnWhereItStopped(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	f.patience = 30 * time.Second
	root := t.TempDir()
	script := `
local tasks = {
  task("one"):notify("restart"):command(function() return exec.run("echo one >> $HOME/lines").success end):build(),
  task("gate"):command(function() return exec.run("test -e $HOME/gate").success end):build(),
  task("two"):depends_on("gate"):command(function() return exec.run("echo two >> $HOME/lines").success end):build(),
}
handler("restart"):command(function() return exec.run("echo restart >> $HOME/lines").success end):build()
workflow.define("w"):config({ hosts = "all" }):tasks(tasks)`
	dir := t.TempDir()
	f.runID = "resumed"
	got := f.runIn(dir, script, f.recorded(root), closing(t))
	if got.code != 2 || f.hostLines("h1") != "one\n" {
		t.Fatalf("exit code %d, %q: %+v", got.code, f.hostLines("h1"), got.bad())
	}
	for _, s := range f.servers {
		if err := os.WriteFile(filepath.Join(s.Home, "gate"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got = f.runIn(dir, script, f.resumed(root, "resumed"), closing(t))
	if got.code != 0 {
		t.Fatalf("exit code %d: %+v", got.code, got.bad())
	}
	for _, host := range f.order {
		if l := f.hostLines(host); l != "one\ntwo\nrestart\n" {
			t.Errorf("%s has %q", host, l)
		}
	}
	if d := got.done("one", "h1"); d.Message != "done before the run was resumed" || d.Status != event.Success {
		t.Errorf("%+v", d)
	}
}

// Hosts that were chosen by strategy are not chosen anew: what is done on one is
// not done again on another.
func TestAResumedRunStaysWithTheHostsItChose(t *testing.T) {
	f := newFleet(t, 3, sshdtest.Options{})
	f.patience, f.runID = 30*time.Second, "chosen"
	root, dir := t.TempDir(), t.TempDir()
	script := `
local tasks = {}
for i = 1, 5 do
  tasks[i] = task("once " .. i):delegate_to({ group = "all", strategy = "random" }):command(function()
    return exec.run("echo " .. i .. " >> $HOME/lines").success
  end):build()
end
tasks[6] = task("twice"):delegate_to({ group = "all", strategy = "random", spread = 2 }):command(function()
  return exec.run("echo two >> $HOME/lines").success
end):build()
tasks[7] = task("gate"):delegate_to("h1"):command(function() return exec.run("test -e $HOME/gate").success end):build()
workflow.define("w"):tasks(tasks)`
	lines := func() (n int) {
		for _, h := range f.order {
			n += strings.Count(f.hostLines(h), "\n")
		}
		return n
	}
	if got := f.runIn(dir, script, f.recorded(root), closing(t)); got.code != 2 || lines() != 7 {
		t.Fatalf("exit code %d, %d lines: %+v", got.code, lines(), got.bad())
	}
	if err := os.WriteFile(filepath.Join(f.servers["h1"].Home, "gate"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := f.runIn(dir, script, f.resumed(root, "chosen"), closing(t)); got.code != 0 || lines() != 7 {
		t.Errorf("exit code %d, %d lines: %+v", got.code, lines(), got.bad())
	}
}

// resumed goes on with a run.
func (f *fleet) resumed(root, id string) func(*runner.Options) {
	return func(o *runner.Options) {
		f.t.Helper()
		log, story, err := runlog.Resume(filepath.Join(root, id), "tester")
		if err != nil {
			f.t.Fatal(err)
		}
		o.RunID, o.Record, o.Key, o.Before = id, log, story.Head.Key, story
	}
}

// closing ends the record with the run.
func closing(t *testing.T) func(*runner.Options) {
	return func(o *runner.Options) {
		log, emit := o.Record, o.Emit
		o.Emit = func(e event.Event) {
			emit(e)
			if d, ok := e.(event.RunDone); ok {
				if err := log.Close(&runlog.End{Status: d.Status, Code: d.ExitCode}); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// A task may restart its host: the next one runs when the host is back with
// another boot id, and none runs twice. The host here is one whose boot id
// changes and whose worker dies.
func TestFault05APlannedRestart(t *testing.T) {
	if os.Geteuid() != 0 {
		sshdtest.MustSkip(t, "only root can give a server its own mounts")
	}
	f := newFleet(t, 2, sshdtest.Options{Wrapper: []string{"unshare", "-m"}})
	f.patience, f.runID = 30*time.Second, "restart"
	got := f.run(`
local boot = "/proc/sys/kernel/random/boot_id"
local down = "echo 0000-second > $HOME/boot && mount --bind $HOME/boot " .. boot .. " && kill -9 $PPID"
workflow.define("w"):config({ hosts = "all" }):tasks({
  task("before"):command(function() return exec.run("cat " .. boot .. " >> $HOME/lines").success end):build(),
  task("restart"):command(function()
    assert(reboot({ command = down, timeout = "40s" }).changed)
    return exec.run("echo still >> $HOME/lines").success
  end):build(),
  task("after"):command(function() return exec.run("cat " .. boot .. " >> $HOME/lines").success end):build(),
  task("bound"):depends_on("restart"):command(function() return exec.run("echo bound >> $HOME/lines").success end):build(),
})`, f.recorded(t.TempDir()))
	if got.code != 0 {
		t.Fatalf("exit code %d: %+v", got.code, got.bad())
	}
	for _, host := range f.order {
		l := strings.Split(f.hostLines(host), "\n")
		if len(l) != 5 || l[0] == "0000-second" || l[1] != "still" || l[2] != "0000-second" || l[3] != "bound" {
			t.Errorf("%s has %q", host, l)
		}
	}
	got.endsOnce(4, 2)
}

// What a step asks of the controller happens once too: values are counted once,
// and tasks that it has run elsewhere run once, whatever becomes of the links.
func TestFault02CallsAreServedOnceThroughCuts(t *testing.T) {
	f := newFleet(t, 3, sshdtest.Options{})
	script := `
local other = task("other"):delegate_to("h1"):command(function(this, params)
  return exec.run("echo nested >> $HOME/nested").success, "", { n = 1 }
end)
local tasks = {}
for i = 1, 10 do
  tasks[i] = task("t" .. i):command(function()
    local n = state.increment("count")
    state.set(host.name .. "/" .. i, n)
    local ok = true
    if i % 5 == 0 then ok = other:run() end
    return ok and exec.run("echo " .. i .. " >> $HOME/lines").success
  end):build()
end
workflow.define("calls"):config({ hosts = "all" }):tasks(tasks)`
	f.run(script)
	f.behindProxies()
	root := t.TempDir()
	for n := range storms(t, 4) {
		f.forgetLines()
		for _, s := range f.servers {
			_ = os.RemoveAll(filepath.Join(s.Home, "nested")) // there, or not yet
		}
		f.store = mem.New()
		f.runID = fmt.Sprintf("calls-%d", n)
		rng := mrand.New(mrand.NewPCG(uint64(n), 3)) //nolint:gosec // the same storm at every run
		for _, host := range f.order {
			p := f.proxies[host]
			second := rng.Int64N(2500) + 1
			p.After(rng.Int64N(9000), faultproxy.ToClient, func(l *faultproxy.Link) {
				l.Reset()
				go p.CutAfter(second, faultproxy.ToServer)
			})
		}
		got := f.run(script, f.recorded(root))
		if got.code != 0 {
			t.Fatalf("storm %d: exit code %d: %+v", n, got.code, got.bad())
		}
		for _, host := range f.order {
			if l := f.hostLines(host); l != "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n" {
				t.Fatalf("storm %d: %s has %q", n, host, l)
			}
		}
		nested, err := os.ReadFile(filepath.Join(f.servers["h1"].Home, "nested"))
		if err != nil || strings.Count(string(nested), "\n") != 6 {
			t.Fatalf("storm %d: the nested task ran %q, %v", n, nested, err)
		}
		count, err := values.New(f.store, "test").Do(t.Context(), "get", []any{"count"})
		if err != nil || fmt.Sprint(count[0]) != "30" {
			t.Fatalf("storm %d: counted %v of 30, %v", n, count, err)
		}
		set, err := values.New(f.store, "test").Do(t.Context(), "keys", []any{"h*"})
		if err != nil || len(set[0].([]any)) != 30 {
			t.Fatalf("storm %d: set %v, %v", n, set, err)
		}
	}
}
