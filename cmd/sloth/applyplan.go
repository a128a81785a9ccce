package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/inventory"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/runner/saved"
	"github.com/spf13/pflag"
)

// beside are the flags that may be given with a plan. All others are in it.
var beside = []string{
	"allow-unknown", "plan-key", "check", "output", "verbose", "diff", "resume", "rerun-unknown", "wait-lock", "reconnect-for", "forks", "timeout", "verify-shim",
	"ask-pass", "ask-become-pass", "ask-vault-pass", "vault-password-file", "vault-id", "detailed-exitcode",
}

// planFlags are those of apply that only a plan has a use for.
type planFlags struct {
	key          string
	allowUnknown bool
	only         bool // --check: see whether the plan still fits
}

func (p *planFlags) add(fs *pflag.FlagSet) {
	addPlanKey(fs, &p.key)
	fs.BoolVar(&p.allowUnknown, "allow-unknown", false, "with a saved plan: also do what the plan could not know")
}

// applyPlan applies exactly what a saved plan has.
func (a *app) applyPlan(ctx context.Context, path string, args []string, given *pflag.FlagSet, pf planFlags) error {
	if len(args) > 0 {
		return withHint(fmt.Errorf("%s is a plan, and names its workflow itself", path), "Make another plan for another workflow.")
	}
	var problem error
	given.Visit(func(f *pflag.Flag) {
		if problem == nil && !slices.Contains(beside, f.Name) {
			problem = withHint(fmt.Errorf("--%s cannot be given with a plan: %s has the flags that it was made with", f.Name, path), "Make another plan with other flags.")
		}
	})
	if problem != nil {
		return problem
	}
	secret, err := planKey(pf.key, false)
	if err != nil {
		return err
	}
	plan, err := saved.Read(path, secret)
	if err != nil {
		return withHint(err, planHint(err))
	}
	if unknown := plan.Unknown(); len(unknown) > 0 && !pf.allowUnknown && !pf.only {
		return withHint(fmt.Errorf("%s has what is unknown until applied:\n  %s", path, strings.Join(short(unknown), "\n  ")),
			"Nothing was executed. --allow-unknown applies it nevertheless; what the plan does know is still held to it.")
	}
	name, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	more, err := givenFlags(given)
	if err != nil {
		return err
	}
	flags, err := a.flagsOf(plan, more)
	if err != nil {
		return err
	}
	// The command is as good from another folder, for going on with the run.
	a.args = []string{"apply", name}
	for _, f := range more {
		if f.Name == "resume" || f.Name == "rerun-unknown" { // said anew each time
			continue
		}
		for _, value := range f.Values {
			a.args = append(a.args, "--"+f.Name+"="+value)
		}
	}
	if err := fromWhere(plan); err != nil {
		return fmt.Errorf("go to where the plan was made: %w", err)
	}
	flags.check = pf.only
	v := &invocation{app: a, flags: flags, file: plan.File, workflow: plan.Workflow, onHosts: true, what: "apply"}
	v.saved = &savedPlan{path: filepath.Base(name), plan: plan, secret: secret, allow: pf.allowUnknown, only: pf.only}
	v.planning = newPlanning(v, secret, plan.Salt)
	return v.run(ctx)
}

func planHint(err error) string {
	switch {
	case errors.Is(err, saved.ErrFormat):
		return "Nothing was executed. Apply it with the sloth that made it, or make a new plan."
	case errors.Is(err, saved.ErrKey):
		return "Nothing was executed. Name the key that it was made with: --plan-key FILE; or make a new plan."
	}
	return "Nothing was executed. Make a new plan: sloth plan -o FILE."
}

// short keeps a long list readable.
func short(list []string) []string {
	const most = 30
	if len(list) <= most {
		return list
	}
	return append(slices.Clone(list[:most]), fmt.Sprintf("and %d more", len(list)-most))
}

// flagsOf are the flags that the plan was made with, and those given beside it.
func (a *app) flagsOf(plan *saved.Plan, given []saved.Flag) (*runFlags, error) {
	f := &runFlags{}
	fs := pflag.NewFlagSet("plan", pflag.ContinueOnError)
	f.add(fs, "o")
	f.addDurable(fs)
	set := func(name string, values []string) error {
		if name == "state" && len(values) == 1 {
			a.state = values[0]
			return nil
		}
		to := fs.Lookup(name)
		if to == nil {
			return fmt.Errorf("the plan has a flag that this sloth does not know: --%s", name)
		}
		if list, ok := to.Value.(pflag.SliceValue); ok {
			return list.Replace(values)
		}
		return to.Value.Set(strings.Join(values, ","))
	}
	var errs []error
	for _, rec := range plan.Flags {
		errs = append(errs, set(rec.Name, rec.Values))
	}
	for _, g := range given {
		if fs.Lookup(g.Name) != nil && g.Name != "check" {
			errs = append(errs, set(g.Name, g.Values))
		}
	}
	return f, errors.Join(errs...)
}

// givenFlags are the flags of this command, with names of files that hold from
// everywhere.
func givenFlags(fs *pflag.FlagSet) ([]saved.Flag, error) {
	flags := recordFlags(fs, nil)
	var errs []error
	abs := func(path string) string {
		full, err := filepath.Abs(path)
		errs = append(errs, err)
		return full
	}
	for _, f := range flags {
		for i, value := range f.Values {
			label, file, labelled := strings.Cut(value, "@")
			switch {
			case f.Name == "plan-key" || f.Name == "vault-password-file" && !strings.HasPrefix(value, "~/"):
				f.Values[i] = abs(value)
			case f.Name == "vault-id" && labelled && file != "prompt" && !strings.HasPrefix(file, "~/"):
				f.Values[i] = label + "@" + abs(file)
			}
		}
	}
	return flags, errors.Join(errs...)
}

// savedPlan is the plan that an invocation applies.
type savedPlan struct {
	path   string
	plan   *saved.Plan
	secret []byte
	allow  bool
	only   bool
}

// applySaved repeats the check that made the plan, and applies it when nothing
// has changed.
func (v *invocation) applySaved(ctx context.Context, dir string, prog *dsl.Program, w *dsl.Workflow, vm *engine.VM, params map[string]any, values any) error {
	s := v.saved
	if v.flags.resume == "" {
		err := v.checkAgain(ctx, dir, prog, w, vm, params, values)
		if err != nil {
			return err
		}
	}
	if s.only {
		fmt.Fprintf(v.app.stderr, "%s still fits\n", s.path)
		return nil
	}
	// Local tasks of the check may have left their marks in that world.
	v.planning = newPlanning(v, s.secret, s.plan.Salt)
	v.planning.expect = s.plan.Expect(v.planning.key, s.allow)
	prog, vm, err := v.load(ctx, params, values, nil)
	if err != nil {
		return err
	}
	defer func() { _ = vm.Close() }()
	if w, err = v.choose(prog); err != nil {
		return err
	}
	v.planning.begin(dir, vm, params, values)
	hosts := make([]string, 0, len(s.plan.Hosts))
	for _, h := range s.plan.Hosts {
		hosts = append(hosts, h.Name)
	}
	if _, err := v.planning.found(hosts); err != nil {
		return withHint(fmt.Errorf("%s cannot be applied any more: %w", s.path, err), "Nothing was executed. Make a new plan.")
	}
	return v.execute(ctx, dir, prog, w, vm, params, values)
}

// checkAgain makes the same plan once more, and compares.
func (v *invocation) checkAgain(ctx context.Context, dir string, prog *dsl.Program, w *dsl.Workflow, vm *engine.VM, params map[string]any, values any) error {
	s := v.saved
	detailed, step := v.flags.detailed, v.flags.step
	v.flags.check, v.flags.detailed, v.flags.step = true, false, false
	defer func() { v.flags.check, v.flags.detailed, v.flags.step = false, detailed, step }()
	var said bytes.Buffer
	v.newShow = func(o render.Options) (render.Renderer, error) {
		o.Interactive, o.Color = false, false
		return render.New("basic", &said, &said, o)
	}
	defer func() { v.newShow = nil }()
	var now *saved.Plan
	v.finish = func(int) (err error) {
		now, err = v.planning.found(v.planning.rec.Hosts())
		return err
	}
	defer func() { v.finish = nil }()
	if terminal(v.app.stderr) {
		fmt.Fprintf(v.app.stderr, "checking that %s still fits\n", s.path)
	}
	err := v.execute(ctx, dir, prog, w, vm, params, values)
	v.change = false
	var exit exitError
	switch {
	case err != nil && !errors.As(err, &exit):
		return err
	case err != nil && exit.code != exitFailed || now == nil:
		_, _ = v.app.stderr.Write(said.Bytes())
		v.app.printError(withHint(fmt.Errorf("%s: the check before it did not go well", s.path), "Nothing was executed."))
		return exit
	}
	differences := s.plan.Compare(now)
	if len(differences) == 0 {
		if err != nil {
			_, _ = v.app.stderr.Write(said.Bytes())
		}
		return err
	}
	return withHint(fmt.Errorf("%s does not fit any more:\n%s", s.path, strings.Join(short(fold(differences)), "\n")), "Nothing was executed. Make a new plan.")
}

// fold says once what is so on several hosts.
func fold(list []saved.Difference) []string {
	hosts := map[string][]string{}
	var order []string
	for _, d := range list {
		if _, again := hosts[d.Text]; !again {
			order = append(order, d.Text)
		}
		hosts[d.Text] = append(hosts[d.Text], d.Host)
	}
	out := make([]string, 0, len(order))
	for _, text := range order {
		line := strings.ReplaceAll(text, "\n", "\n  ")
		if on := hosts[text]; on[0] != "" {
			line = inventory.Fold(on) + ": " + line
		}
		out = append(out, "  "+line)
	}
	return out
}

// answer asks a person once, though a plan reads its file more than once.
func (v *invocation) answer(asked *int, name string, secret bool) (string, error) {
	*asked++
	var text string
	if v.saved != nil && *asked <= len(v.answers) {
		text = v.answers[*asked-1]
	} else {
		var err error
		if text, err = v.app.ask(name+": ", secret); err != nil {
			return "", err
		}
		v.answers = append(v.answers, text)
	}
	if v.planning != nil {
		return text, v.planning.input(saved.KindAnswer, "", name, text)
	}
	return text, nil
}
