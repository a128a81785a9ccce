package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/inventory"
	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
	"github.com/spf13/cobra"
)

// interruptible ends ctx at the first Ctrl-C; the second ends the program.
func interruptible(ctx context.Context) (context.Context, func()) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // signals do again what they do by themselves
	return ctx, stop
}

// callModule calls one module function on every host.
func (x *adhoc) callModule(ctx context.Context, pattern, function string, args []string) error {
	if _, _, err := bind.Lookup(all.Modules(), function); err != nil {
		return withHint(err, "Name a function with its module: -m file_ops.stat.")
	}
	params, err := inventory.ParseVars(args)
	if err != nil {
		return err
	}
	hosts, err := x.hosts(ctx, pattern)
	if err != nil {
		return err
	}
	defer x.fleet.close()
	ctx, stop := interruptible(ctx)
	defer stop()
	show, err := render.New(x.flags.output, x.app.stdout, x.app.stderr, render.Options{
		Color: color(x.app.stdout), Interactive: color(x.app.stdout), Verbosity: max(x.flags.verbosity, 1), Diff: true, Fold: inventory.Fold,
	})
	if err != nil {
		return err
	}
	run := newRunID(time.Now())
	h := &calls{show: newEventRedactor(x.app.redactor(), show.Handle), function: function}
	start := time.Now()
	h.emit(event.RunStarted{RunID: run, Workflow: function, Tasks: []string{function}, Hosts: hosts})
	each(hosts, x.flags.forks, func(_ int, host string) {
		if err := h.on(ctx, x.fleet, run, host, params); err != nil {
			f := *failureOf(err)
			h.emit(event.HostLost{Host: host, Failure: f})
			h.emit(event.TaskDone{Where: event.Where{Task: function, Host: host}, Status: event.Unreachable, Failure: &f})
			h.count(event.Unreachable)
		}
	})
	code := h.code()
	status := event.Success
	if code != exitOK {
		status = event.Failed
	}
	h.emit(event.RunDone{Status: status, ExitCode: code, Duration: time.Since(start)})
	if err := show.Close(); err != nil {
		return err
	}
	if code != exitOK {
		return exitError{code}
	}
	return nil
}

// calls is one function on many hosts.
type calls struct {
	mu          sync.Mutex
	show        *eventRedactor
	function    string
	failed      bool
	unreachable bool
}

func (h *calls) emit(e event.Event) { h.mu.Lock(); h.show.handle(e); h.mu.Unlock() }

// learn hides what a host says is secret.
func (h *calls) learn(value string) {
	h.mu.Lock()
	_ = h.show.r.Add("made on a host", value) // what it is too short for is shown anyway
	h.mu.Unlock()
}

func (h *calls) count(s event.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unreachable = h.unreachable || s == event.Unreachable
	h.failed = h.failed || s.Bad() && s != event.Unreachable
}

func (h *calls) code() int {
	switch {
	case h.failed:
		return exitFailed
	case h.unreachable:
		return exitUnreachable
	}
	return exitOK
}

func (h *calls) on(ctx context.Context, fl *fleet, run, host string, args map[string]any) error {
	s, err := fl.session(ctx, host, run, false, runner.SessionOptions{})
	if err != nil {
		return err
	}
	defer s.Close()
	spec := step.Spec{ID: run, Task: h.function, Call: h.function, Args: args, Become: fleetHosts{fl}.Become(host)}
	seg := step.Segment{ID: run, Host: step.Host{Name: host, Groups: fl.inv.Groups(host), Vars: fl.inv.Vars(host)}, Steps: []step.Spec{spec}}
	body, err := s.Do(ctx, shim.Job{ID: run, Kind: "segment", Body: seg}, &callHandler{h, host})
	if err != nil {
		return err
	}
	var results []step.Result
	if err := packed.Unmarshal(body, &results); err != nil {
		return err
	}
	for _, r := range results {
		h.count(r.Status)
	}
	return nil
}

// callHandler shows what one host says; a single function may ask for nothing.
type callHandler struct {
	h    *calls
	host string
}

func (c *callHandler) Event(kind string, body []byte) {
	if kind == event.KindSecret {
		var value string
		if packed.Unmarshal(body, &value) == nil {
			c.h.learn(value)
		}
		return
	}
	e, err := event.Decode(kind, body)
	if err != nil {
		return // a host that sends what cannot be read is silent
	}
	if e = runner.Attribute(e, c.host, c.h.function); e != nil {
		c.h.emit(e)
	}
}

func (c *callHandler) Call(context.Context, string, []byte) ([]byte, error) {
	return nil, errors.New("a single function call cannot ask the controller; use a .sloth file")
}

func newPing(a *app) *cobra.Command {
	x := &adhoc{app: a, flags: &hostFlags{}}
	c := &cobra.Command{
		Use:   "ping PATTERN",
		Short: "Log in to hosts and start the worker, to see that all is well",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if x.list {
				return x.listHosts(cmd.Context(), args[0])
			}
			hosts, err := x.hosts(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer x.fleet.close()
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			results := make([]render.HostOutput, len(hosts))
			each(hosts, x.flags.forks, func(i int, host string) { results[i] = x.ping(ctx, host) })
			if err := x.report(results); err != nil {
				return err
			}
			return verdict(ctx, results)
		},
	}
	x.flags.add(c.Flags(), "")
	x.addListHosts(c)
	return c
}

func (x *adhoc) ping(ctx context.Context, host string) render.HostOutput {
	out := render.HostOutput{Host: host}
	s, err := x.fleet.session(ctx, host, "ping", true, runner.SessionOptions{})
	if err != nil {
		out.Failure = failureOf(err)
		return out
	}
	defer s.Close()
	w, err := s.Welcome(ctx)
	if err != nil {
		out.Failure = failureOf(err)
		return out
	}
	out.Stdout = fmt.Appendf(nil, "pong as %s on %s/%s\n", w.User, w.OS, w.Arch)
	return out
}
