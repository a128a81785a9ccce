package worker_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

func TestStepsRunInOrderAndNotBehindAFailure(t *testing.T) {
	h := open(t, sshdtest.Start(t, sshdtest.Options{}), shim.Options{})
	got := h.must(step.Segment{Steps: []step.Spec{
		shell("a", "echo one > $HOME/order"),
		shell("b", "echo two >> $HOME/order", "a"),
		shell("bad", "echo three >> $HOME/order; exit 3"),
		shell("behind", "echo never >> $HOME/order", "bad"),
		shell("further", "echo never >> $HOME/order", "behind"),
		shell("beside", "echo four >> $HOME/order"),
	}})
	text, err := os.ReadFile(filepath.Join(h.Home, "order"))
	if err != nil || string(text) != "one\ntwo\nthree\nfour\n" {
		t.Errorf("%q, %v", text, err)
	}
	for id, want := range map[string]event.Status{"a": event.Success, "b": event.Success, "bad": event.Failed, "behind": event.Skipped, "further": event.Skipped, "beside": event.Success} {
		if got[id].Status != want {
			t.Errorf("%s: %s (%s), want %s", id, got[id].Status, got[id].Message, want)
		}
	}
	if r := got["behind"]; !r.NotRun || r.Message != "depends on bad, which failed here" {
		t.Errorf("%+v", r)
	}

	got = h.must(step.Segment{StopOnFailure: true, Steps: []step.Spec{shell("x", "exit 1"), shell("y", "touch $HOME/y")}})
	if r := got["y"]; !r.NotRun || r.Status != event.Skipped || exists(filepath.Join(h.Home, "y")) {
		t.Errorf("%+v", r)
	}
}

func TestStopBeforeTheNextStep(t *testing.T) {
	h := open(t, sshdtest.Start(t, sshdtest.Options{}), shim.Options{})
	hear := &heard{}
	hear.on = func(e event.Event) {
		if o, ok := e.(event.Output); ok && strings.Contains(string(o.Data), "begun") {
			if err := h.sess.Cancel("seg-"+t.Name(), "", false); err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(filepath.Join(h.Home, "go"), nil, 0o644); err != nil {
				t.Error(err)
			}
		}
	}
	got, err := h.do(within(t), hear, step.Segment{Steps: []step.Spec{
		shell("a", `echo begun; while [ ! -e $HOME/go ]; do sleep 0.02; done; sleep 0.3; touch $HOME/finished`),
		shell("b", "touch $HOME/second"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if r := got["a"]; r.Status != event.Success || !exists(filepath.Join(h.Home, "finished")) {
		t.Errorf("the step that ran: %+v", r)
	}
	if r := got["b"]; r.Status != event.Cancelled || !r.NotRun || r.Message != "stopped before this step" || exists(filepath.Join(h.Home, "second")) {
		t.Errorf("the next step: %+v", r)
	}
}

func TestFault55AHardCancelEndsEveryProcessOfAStep(t *testing.T) {
	for name, script := range map[string]string{
		"child":     "sleep NAP & echo begun; wait",
		"deaf":      `trap "" TERM; (trap "" TERM; sleep NAP) & echo begun; wait; sleep NAP`,
		"deaf leaf": `setsid -w true; sh -c 'trap "" TERM; echo begun; exec sleep NAP'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, sshdtest.Start(t, sshdtest.Options{}), shim.Options{})
			nap := naps(t, 100+len(name))
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			hear := &heard{on: func(e event.Event) {
				if _, ok := e.(event.Output); ok {
					cancel()
				}
			}}
			got, err := h.do(ctx, hear, step.Segment{Steps: []step.Spec{shell("a", strings.ReplaceAll(script, "NAP", nap)), shell("b", "touch $HOME/second")}})
			if err != nil {
				t.Fatal(err) // the worker confirms it in time
			}
			if got["a"].Status != event.Cancelled || got["b"].Status != event.Cancelled || exists(filepath.Join(h.Home, "second")) {
				t.Errorf("%+v", got)
			}
			if running(nap) {
				t.Error("a process of the step lives on")
			}
		})
	}
}

func TestFault54ADaemonDoesNotHoldUpItsStep(t *testing.T) {
	h := open(t, sshdtest.Start(t, sshdtest.Options{}), shim.Options{})
	nap := naps(t, 2)
	begin := time.Now()
	got := h.must(step.Segment{Steps: []step.Spec{shell("a", "setsid sleep "+nap+" & echo started"), shell("b", "true")}})
	if got["a"].Status != event.Success || got["b"].Status != event.Success {
		t.Errorf("%+v", got)
	}
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("it took %s", d)
	}
	if !running(nap) {
		t.Error("the daemon was ended with its step")
	}
}

func TestFactsOfAHost(t *testing.T) {
	h := open(t, sshdtest.Start(t, sshdtest.Options{}), shim.Options{})
	body, err := h.sess.Do(within(t), shim.Job{ID: "f", Kind: "facts", Body: []string{}}, &heard{})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := packed.Unmarshal(body, &got); err != nil || len(got) == 0 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := h.sess.Do(within(t), shim.Job{ID: "g", Kind: "mischief"}, &heard{}); err == nil || !strings.Contains(err.Error(), `there is no job of kind "mischief"`) {
		t.Errorf("got %v", err)
	}
}
