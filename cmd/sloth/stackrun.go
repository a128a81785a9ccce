package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/state/stack"
	"github.com/sloth-runner/sloth/state/values"
)

// stackPatience bounds what is written when a run has ended.
const stackPatience = 30 * time.Second

// inStack runs fn with the run's stack, and holds it for as long as fn runs. One
// that has a name of its own is made where it is not there.
func (v *invocation) inStack(ctx context.Context, fn func(context.Context) error) error {
	name := v.state.stack
	if _, folder := stack.Folder(name); folder {
		v.stack = render.Stack{ID: stack.IDOf(name), Name: "default"}
		if v.looks() {
			return fn(ctx)
		}
		return v.holdFolder(ctx, name, fn)
	}
	s, err := v.state.stacks()
	if err != nil {
		return err
	}
	t, err := s.Get(ctx, name)
	switch {
	case errors.Is(err, stack.ErrNone) && v.looks():
	case errors.Is(err, stack.ErrNone):
		if t, err = s.Create(ctx, stack.Stack{Name: name, CreatedBy: owner()}); err != nil {
			return v.app.storeError(err)
		}
		fmt.Fprintf(v.app.stderr, "sloth: there was no stack %q yet; made it\n", name)
	case err != nil:
		return v.app.storeError(err)
	}
	v.stack = render.Stack{ID: t.ID, Name: name}
	if v.looks() {
		return fn(ctx)
	}
	return v.app.holdStack(ctx, s, name, v.flags.waitLock, fn)
}

// holdStack runs fn while nobody else runs the stack.
func (a *app) holdStack(ctx context.Context, s *stack.Stacks, name string, wait time.Duration, fn func(context.Context) error) error {
	err := s.Hold(ctx, name, wait, fn)
	var held *values.LockedError
	if errors.As(err, &held) && held.Name == name {
		a.printError(withHint(fmt.Errorf("the stack %q is in use by %s, since %s", name, held.Who, held.Since.Format(time.TimeOnly)),
			"One run at a time changes a stack. Wait for it with --wait-lock 10m."))
		return exitError{exitLocked}
	}
	var lost *values.LostError
	if errors.As(err, &lost) && lost.Name == name {
		return withHint(fmt.Errorf("the run was stopped: its hold on the stack %q could not be renewed, and somebody else may have it now", name),
			"Look with sloth runs show last, then resume it.")
	}
	return err
}

// record adds the run to the history of its stack. What cannot be written is
// said and no more: the run itself is over.
func (v *invocation) recordInStack(ctx context.Context, vms ...*engine.VM) {
	if v.looks() || v.summary.ended.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stackPatience)
	defer cancel()
	s, err := v.state.stacks()
	if err == nil {
		run, sources, text := v.stackRun(vms)
		err = s.Record(ctx, run, v.summary.results, sources, text)
		if err == nil {
			_, err = s.Prune(ctx, run.Stack, keepRuns, time.Now().Add(-keepRunFor))
		}
	}
	if err != nil {
		v.fleet.warn(fmt.Sprintf("the run is not in the history of its stack: %v", hintInside(err)))
	}
}

// stackRun is the run as its stack remembers it.
func (v *invocation) stackRun(vms []*engine.VM) (stack.Run, []stack.Content, []byte) {
	m, red := v.summary, v.app.redactor()
	r := stack.Run{
		ID: v.runID, Stack: v.state.stack, What: v.what, File: v.file, Workflow: m.workflow, Began: m.began, Ended: m.ended, Owner: owner(),
		Status: string(m.end.Status), ExitCode: m.end.ExitCode, Message: m.end.Message, Changed: m.changed,
		Script: v.scriptHash, Hosts: m.hosts, Outputs: m.outputs, Git: gitOf(v.state.dir), BackTo: v.flags.backTo,
	}
	r.Dir, _ = os.Getwd()
	notKept := func(what string) { r.NotKept = append(r.NotKept, what+" holds a secret") }
	for i, arg := range hideValues(v.app.args, func(name string) bool { return slices.Contains(v.hidden, name) }) {
		safe := red.String(arg)
		if safe != v.app.args[i] && !slices.Contains(r.NotKept, "the command line holds a secret") {
			notKept("the command line")
		}
		r.Argv = append(r.Argv, safe)
	}
	if v.saved != nil {
		r.NotKept = append(r.NotKept, "it applied a saved plan")
	}
	r.Params, _ = red.Any(v.params).(map[string]any)
	for _, name := range v.hidden {
		if _, given := r.Params[name]; given {
			r.Params = maps.Clone(r.Params)
			r.Params[name] = modules.Hidden
		}
	}
	text := v.valuesText
	if red.String(string(text)) != string(text) {
		text = nil
		notKept("the values file")
	}
	var sources []stack.Content
	for _, c := range v.loaded(vms) {
		if red.String(string(c.Text)) != string(c.Text) {
			notKept(c.Name)
			continue
		}
		sources = append(sources, c)
	}
	return r, sources, text
}

// loaded are the files that the script consisted of.
func (v *invocation) loaded(vms []*engine.VM) []stack.Content {
	var out []stack.Content
	for _, vm := range vms {
		for _, c := range vm.Chunks() {
			known := slices.ContainsFunc(out, func(o stack.Content) bool { return o.Name == c.Name })
			if known || !v.isFile(c.Name) {
				continue // what is no file came out of a string
			}
			out = append(out, stack.Content{Name: c.Name, Text: c.Source})
		}
	}
	return out
}

func (v *invocation) isFile(name string) bool {
	if v.back != nil {
		return v.back.file(name) != nil
	}
	st, err := os.Stat(name)
	return err == nil && st.Mode().IsRegular()
}

// pendingHandlers keeps handlers under the run's stack.
type pendingHandlers struct{ s *stateAccess }

// Load gives what earlier runs left.
func (p pendingHandlers) Load(ctx context.Context) (map[string][]string, error) {
	s, err := p.s.stacks()
	if err != nil {
		return nil, err
	}
	out, err := s.Pending(ctx, p.s.stack)
	return out, hintInside(err)
}

// Save notes what was notified and what has run.
func (p pendingHandlers) Save(ctx context.Context, notified, ran []runner.Notified) error {
	s, err := p.s.stacks()
	if err != nil {
		return err
	}
	return hintInside(s.SavePending(ctx, p.s.stack, handlersOf(notified), handlersOf(ran)))
}

func handlersOf(list []runner.Notified) []stack.Handler {
	out := make([]stack.Handler, len(list))
	for i, n := range list {
		out[i] = stack.Handler{Host: n.Host, Name: n.Handler}
	}
	return out
}

// stackArgument is the stack that a positional argument of run names, where the
// file has no such workflow.
func (v *invocation) stackArgument() error {
	name := v.workflow
	if v.flags.stack != "" && v.flags.stack != name {
		return withHint(fmt.Errorf("%s has no workflow %q", v.file, name), "With --stack the argument is a workflow.")
	}
	if err := stack.CheckName(name); err != nil {
		return fmt.Errorf("%s has no workflow %q, and it can be no stack: %w", v.file, name, err)
	}
	v.flags.stack, v.state.stack, v.workflow = name, name, ""
	return nil
}

// frozen is the script and the values of an earlier run, in the place of those
// on disk.
type frozen struct {
	run    stack.Run
	files  map[string][]byte // by absolute path
	values []byte
}

// file is the text of a file as it was then, nil where it had no part in it.
func (f *frozen) file(name string) []byte {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil
	}
	return f.files[abs]
}

// openBack reads what --back-to names.
func (v *invocation) openBack(ctx context.Context) error {
	s, err := v.state.stacks()
	if err != nil {
		return err
	}
	b := &frozen{files: map[string][]byte{}}
	if b.run, err = s.Find(ctx, v.state.stack, v.flags.backTo); err != nil {
		return v.app.storeError(err)
	}
	if err := b.run.Repeatable(); err != nil {
		return err
	}
	for _, c := range b.run.Sources {
		text, err := s.Text(ctx, c.Hash)
		if err != nil {
			return v.app.storeError(err)
		}
		abs, err := filepath.Abs(c.Name)
		if err != nil {
			return err
		}
		b.files[abs] = text
	}
	if b.run.Values != "" {
		if b.values, err = s.Text(ctx, b.run.Values); err != nil {
			return v.app.storeError(err)
		}
	}
	if b.file(v.file) == nil {
		return fmt.Errorf("run %s ran %s, and not %s", b.run.ID, b.run.File, v.file)
	}
	v.flags.backTo, v.back = b.run.ID, b
	return nil
}

// include reads a file as it was then, and else as it is.
func (f *frozen) include(path string) ([]byte, error) {
	if text := f.file(path); text != nil {
		return text, nil
	}
	return os.ReadFile(path)
}

// require finds a library as it was then, and else as it is.
func (f *frozen) require(dir string, now func(context.Context, string) ([]byte, string, error)) func(context.Context, string) ([]byte, string, error) {
	return func(ctx context.Context, name string) ([]byte, string, error) {
		p := strings.ReplaceAll(name, ".", "/")
		for _, try := range []string{name, p + ".lua", p + "/init.lua", "lua/" + p + ".lua", "lua/" + p + "/init.lua", p + ".sloth"} {
			path := try
			if !filepath.IsAbs(try) {
				path = filepath.Join(dir, try)
			}
			if text := f.file(path); text != nil {
				return text, path, nil
			}
		}
		return now(ctx, name)
	}
}
