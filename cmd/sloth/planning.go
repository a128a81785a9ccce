package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/saved"
)

// planning writes down what the check of a run finds and what it stands on, to
// be saved or to be compared with a saved plan.
type planning struct {
	v   *invocation
	key saved.Key
	rec *saved.Recorder
	// expect is set while a saved plan is applied.
	expect *saved.Expectations

	dir    string // of the script
	vm     *engine.VM
	params map[string]any
	values any
	top    error // what the file does while it loads
}

// begin notes what a pass runs with.
func (p *planning) begin(dir string, vm *engine.VM, params map[string]any, values any) {
	p.dir, p.vm, p.params, p.values = dir, vm, params, values
}

func newPlanning(v *invocation, secret []byte, salt string) *planning {
	key := saved.KeyOf(secret, salt)
	return &planning{v: v, key: key, rec: saved.NewRecorder(key)}
}

// options lets the run pass by here.
func (p *planning) options(o *runner.Options) {
	o.Seal = p.key.Host
	o.Secret = p.secret(o.Secret)
	require := o.Require
	o.Require = func(ctx context.Context, name string) ([]byte, string, error) {
		src, path, err := require(ctx, name)
		if err == nil {
			err = p.input(saved.KindSource, "", below(p.dir, path), string(src))
		}
		return src, path, err
	}
	o.Opened = func(name, hash string) error {
		return p.note(saved.KindFile, "", name, hash)
	}
	if p.expect != nil {
		o.Expect = p.expect.Step
	}
}

// secret notes by name what is asked for, and never its text.
func (p *planning) secret(find func(context.Context, string) (string, error)) func(context.Context, string) (string, error) {
	return func(ctx context.Context, name string) (string, error) {
		text, err := find(ctx, name)
		if err == nil {
			err = p.input(saved.KindSecret, "", name, text)
		}
		return text, err
	}
}

func (p *planning) input(kind, host, name, content string) error {
	if err := p.note(kind, host, name, content); err != nil {
		return fmt.Errorf("%s %s: %w", kind, name, err)
	}
	return nil
}

// note writes down an input, or holds it to the plan that is applied.
func (p *planning) note(kind, host, name, content string) error {
	if p.expect != nil {
		return p.expect.Input(kind, host, name, content)
	}
	return p.rec.Input(kind, host, name, content)
}

// topLevel refuses calls that change something while the file loads: they belong
// to no step.
func (p *planning) topLevel(env *bind.Env) {
	refuse := func(r bind.Record) error {
		place := r.Function
		if r.File != "" {
			place = fmt.Sprintf("%s:%d: %s", r.File, r.Line, r.Function)
		}
		return withHint(fmt.Errorf("%s changes something while the file is loaded; a saved plan has only what tasks do", place), "Call it in a task.")
	}
	env.Approve = refuse
	env.Called = func(r bind.Record) {
		if r.Changed && p.top == nil {
			p.top = refuse(r)
		}
	}
}

func (p *planning) event(e event.Event) { p.rec.Event(e) }

// found is the plan that the pass comes to.
func (p *planning) found(hosts []string) (*saved.Plan, error) {
	errs := []error{p.top}
	note := func(kind, host, name, content string) { errs = append(errs, p.input(kind, host, name, content)) }
	for _, c := range p.vm.Chunks() {
		if strings.HasSuffix(c.Name, ".sloth") || strings.HasSuffix(c.Name, ".lua") {
			note(saved.KindSource, "", below(p.dir, c.Name), string(c.Source))
		}
	}
	if m, ok := p.values.(map[string]any); ok {
		for name, v := range m {
			note(saved.KindValue, "", name, saved.Canonical(v))
		}
	}
	for name, v := range p.params {
		note(saved.KindParam, "", name, saved.Canonical(v))
	}
	note(saved.KindVersion, "", "sloth", version)
	for _, platform := range slices.Compact(append(shim.Platforms(), runtime.GOOS+"/"+runtime.GOARCH)) {
		goos, arch, _ := strings.Cut(platform, "/")
		if h, ok := p.v.fleet.shims.(shim.Hasher); ok {
			if hash, err := h.Hash(goos, arch); err == nil {
				note(saved.KindShim, "", platform, hash)
			}
		}
	}
	for _, host := range hosts {
		if host != runner.Local {
			errs = append(errs, p.host(host))
		}
	}
	plan := &saved.Plan{}
	p.rec.Fill(plan)
	return plan, errors.Join(errs...)
}

// host notes what the run uses of the inventory.
func (p *planning) host(name string) error {
	h := fleetHosts{p.v.fleet}
	for k, v := range h.Vars(name) {
		if err := p.input(saved.KindVariable, name, k, saved.Canonical(v)); err != nil {
			return err
		}
	}
	t, _, err := p.v.fleet.target(name)
	if err != nil {
		return err
	}
	groups := make([]any, 0, 4)
	for _, g := range h.Groups(name) {
		groups = append(groups, g)
	}
	return p.input(saved.KindHost, name, name, saved.Canonical([]any{t.Kind, t.Address, t.Port, t.User, t.Jump, groups, h.Become(name)}))
}

// below is a path as it is written from the script's folder, wherever that is.
func below(dir, path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(dir, abs)
	if err != nil {
		return path
	}
	return filepath.ToSlash(rel)
}
