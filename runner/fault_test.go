package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/runlog"
	"github.com/sloth-runner/sloth/runner/step"
)

// processesOf are all processes of a server: they have its folder in their
// environment or in their command line.
func processesOf(s *sshdtest.Server) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		cmd, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if strings.Contains(string(env)+string(cmd), s.Dir) && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// A host that stands still in the middle of a run holds up nobody but itself, and
// goes on when it moves again.
func TestFault33AFrozenHostThaws(t *testing.T) {
	f := newFleet(t, 3, sshdtest.Options{})
	script, want := lines(12)
	script = strings.ReplaceAll(script, `exec.run("echo`, `exec.run("sleep 0.02; echo`)
	f.run(script)
	f.forgetLines()
	f.silence, f.patience, f.runID = 1500*time.Millisecond, 30*time.Second, "frozen"
	frozen := make(chan []int, 1)
	ended := map[string]time.Time{}
	var once bool
	thawed := make(chan time.Time, 1)
	got := f.run(script, f.recorded(t.TempDir()), func(o *runner.Options) {
		emit := o.Emit
		o.Emit = func(e event.Event) {
			emit(e)
			d, ok := e.(event.TaskDone)
			if !ok {
				return
			}
			if ended[d.Host] = time.Now(); d.Host != "h1" || once {
				return
			}
			once = true
			pids := processesOf(f.servers["h1"])
			for _, p := range pids {
				_ = syscall.Kill(p, syscall.SIGSTOP)
			}
			frozen <- pids
			time.AfterFunc(4*time.Second, func() {
				thawed <- time.Now()
				for _, p := range pids {
					_ = syscall.Kill(p, syscall.SIGCONT)
				}
			})
		}
	})
	if pids := <-frozen; len(pids) < 2 {
		t.Errorf("only %v were stopped", pids)
	}
	if got.code != 0 {
		t.Fatalf("exit code %d: %+v", got.code, got.bad())
	}
	at := <-thawed
	for _, host := range f.order {
		if f.hostLines(host) != want {
			t.Errorf("%s has %q", host, f.hostLines(host))
		}
		if host != "h1" && !ended[host].Before(at) {
			t.Errorf("%s ended %s after h1 moved again", host, ended[host].Sub(at))
		}
	}
	got.endsOnce(12, 3)
}

// What a host says is data to everybody: it is neither a template nor code for
// the tasks that use it later.
func TestFault41WhatAHostSaysIsNotEvaluated(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	dir := t.TempDir()
	hostile := "{{ 7 * 7 }}{% for i in [1] %}x{% endfor %}{{ .Env }} ${HOME} $(id) ]] .. os.exit(3) .. [["
	for _, s := range f.servers {
		if err := os.WriteFile(filepath.Join(s.Home, "fact"), []byte(hostile), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "page.j2"), []byte("[{{ said }}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := f.runIn(dir, `
local a = task("a"):delegate_to("h1"):command(function()
  local f = io.open(os.getenv("HOME") .. "/fact")
  local text = f:read("*a")
  f:close()
  return true, text, { said = text }
end):build()
local b = task("b"):delegate_to("h2"):depends_on("a"):command(function(this, params, deps)
  file_ops.template({ src = "page.j2", dest = os.getenv("HOME") .. "/page", vars = { said = deps.a.said } })
  file_ops.copy({ content = deps.a.said, dest = os.getenv("HOME") .. "/copy" })
  return true, deps.a.said
end):build()
local here = task("here"):delegate_to("local"):depends_on("a"):command(function(this, params, deps) return true, deps.a.said end):build()
workflow.define("w", {tasks = {a, b, here}})`).want(0)
	if got := r.done("here", "local").Message; got != hostile {
		t.Errorf("the controller has %q", got)
	}
	for file, want := range map[string]string{"page": "[" + hostile + "]", "copy": hostile} {
		text, err := os.ReadFile(filepath.Join(f.servers["h2"].Home, file))
		if err != nil || string(text) != want {
			t.Errorf("%s: %q %v", file, text, err)
		}
	}
}

// One machine under two names is told, once.
func TestFault49OneMachineUnderTwoNames(t *testing.T) {
	f := newFleet(t, 3, sshdtest.Options{})
	r := f.run(`
workflow.define("w"):config({ hosts = "all" }):tasks({ task("a"):command(function() return true end):build(), task("b"):command(function() return true end):build() })`).want(0)
	n := 0
	for _, e := range r.events {
		if l, ok := e.(event.Log); ok && strings.Contains(l.Message, "are one machine") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("it was told %d times", n)
	}
}

// liar is a session with a host whose worker makes up its results.
type liar struct {
	runner.Session
	lie func(seg step.Segment) []step.Result
}

func (l liar) Do(ctx context.Context, j shim.Job, h shim.Handler) ([]byte, error) {
	seg := j.Body.(step.Segment)
	body, err := packed.Marshal(l.lie(seg))
	if err != nil {
		return nil, err
	}
	if k, ok := h.(shim.Keeper); ok {
		k.Keep(body, false)
	}
	return body, nil
}

// Results that are missing, made up or of other hosts never count for a success.
func TestFault40ResultsThatAreMadeUp(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	script := `
workflow.define("w"):config({ hosts = "all" }):tasks({
  task("a"):command(function() return true end):build(),
  task("b"):depends_on("a"):command(function() return true end):build(),
})`
	var mu sync.Mutex
	var other []step.Result
	for name, c := range map[string]struct {
		code int
		lie  func(step.Segment) []step.Result
	}{
		"none": {7, func(step.Segment) []step.Result { return nil }},
		"of no step": {7, func(step.Segment) []step.Result {
			return []step.Result{{ID: "x", Status: event.Success}, {Status: event.Success}}
		}},
		"only the second": {7, func(s step.Segment) []step.Result { return []step.Result{{ID: s.Steps[1].ID, Status: event.Success}} }},
		"of another host": {7, func(step.Segment) []step.Result { mu.Lock(); defer mu.Unlock(); return slices.Clone(other) }},
		"of no status": {7, func(s step.Segment) []step.Result {
			return []step.Result{{ID: s.Steps[0].ID, Status: "great"}, {ID: s.Steps[1].ID}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.run(script, f.recorded(t.TempDir()), func(o *runner.Options) {
				open := o.Open
				o.Open = func(ctx context.Context, host string, so runner.SessionOptions) (runner.Session, error) {
					s, err := open(ctx, host, so)
					if err != nil || host != "h1" {
						return s, err
					}
					return liar{s, c.lie}, nil
				}
				emit := o.Emit
				o.Emit = func(e event.Event) {
					emit(e)
					if d, ok := e.(event.TaskDone); ok && d.Host == "h2" {
						mu.Lock()
						other = append(other, step.Result{ID: d.Step, Status: event.Success})
						mu.Unlock()
					}
				}
			})
			if r.code != c.code {
				t.Errorf("exit code %d, want %d: %+v", r.code, c.code, r.bad())
			}
			for _, task := range []string{"a", "b"} {
				if d := r.done(task, "h2"); d.Status != event.Success {
					t.Errorf("h2 %s: %+v", task, d)
				}
			}
		})
	}
}

// A host that asks for a restart it takes years over does not keep the run.
func TestFault40ARestartWithoutEnd(t *testing.T) {
	f := newFleet(t, 1, sshdtest.Options{})
	var asked time.Duration
	r := f.run(`workflow.define("w"):config({ hosts = "all" }):tasks({ task("a"):command(function() return true end):build() })`, f.recorded(t.TempDir()), func(o *runner.Options) {
		open := o.Open
		o.Open = func(ctx context.Context, host string, so runner.SessionOptions) (runner.Session, error) {
			s, err := open(ctx, host, so)
			if err != nil {
				return nil, err
			}
			return restarting{liar{s, func(s step.Segment) []step.Result {
				return []step.Result{{ID: s.Steps[0].ID, Status: event.Success, Restart: &modules.Restart{Timeout: 1 << 62, Delay: 1 << 62, Settle: -1}}}
			}}, &asked}, nil
		}
	})
	if r.code != 0 || asked <= 0 || asked > 24*time.Hour {
		t.Errorf("exit code %d, waited for %s", r.code, asked)
	}
}

type restarting struct {
	liar
	asked *time.Duration
}

func (r restarting) AwaitRestart(_ context.Context, limit time.Duration) error {
	*r.asked = limit
	return nil
}

// The record knows who answered, and a resumed run goes by it.
func TestFault48TheRecordKnowsTheMachines(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	root := t.TempDir()
	f.runID = "met"
	f.run(`workflow.define("w"):config({ hosts = "all" }):tasks({ task("a"):command(function() return false end):build() })`, f.recorded(root), closing(t)).want(2)
	s, err := runlog.Read(filepath.Join(root, f.runID))
	if err != nil {
		t.Fatal(err)
	}
	id, _ := os.ReadFile("/etc/machine-id")
	for _, host := range f.order {
		if m := s.Met[host]; m.MachineID != strings.TrimSpace(string(id)) || m.Kept == "" {
			t.Errorf("%s: %+v", host, m)
		}
	}
	// Where another machine answers now, nothing more is done.
	text, err := json.Marshal(s.Met)
	if err != nil || len(text) == 0 {
		t.Fatal(err)
	}
	f.patience = 5 * time.Second
	r := f.run(`workflow.define("w"):config({ hosts = "all" }):tasks({ task("a"):command(function() return exec.run("touch $HOME/never").success end):build() })`, f.resumed(root, f.runID), func(o *runner.Options) {
		for host, m := range o.Before.Met {
			if host == "h1" {
				m.MachineID = "0123456789abcdef"
				o.Before.Met[host] = m
			}
		}
	}, closing(t))
	if _, err := os.Stat(filepath.Join(f.servers["h1"].Home, "never")); err == nil || r.code != 4 {
		t.Errorf("exit code %d, %v: %+v", r.code, err, r.bad())
	}
	if fmt.Sprint(r.done("a", "h2").Status) != string(event.Success) {
		t.Errorf("%+v", r.done("a", "h2"))
	}
}
