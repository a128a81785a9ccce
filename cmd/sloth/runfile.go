package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-multierror"
	"github.com/sloth-runner/sloth/cmd/sloth/remote"
	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/runlog"
	"github.com/sloth-runner/sloth/runner/template"
	"github.com/sloth-runner/sloth/state/stack"
)

// invocation is one run of a .sloth file.
type invocation struct {
	app      *app
	flags    *runFlags
	file     string
	workflow string // by name; empty: the file's only one
	early    early  // what the first reading printed
	// onHosts says that a task without a host runs on the workflow's hosts
	// (apply), and not here (run).
	onHosts bool
	what    string  // "apply", "plan", "run", "test"
	checks  *checks // of a test, else nil

	fleet     *fleet
	remote    *remote.Connections
	state     *stateAccess // the store, and the stack in it
	values    *stateAccess // for what runs
	peek      *stateAccess // for reading the file; nil: there is nothing in it
	stack     render.Stack
	back      *frozen       // --back-to
	artifacts *runArtifacts // nil where nothing is to change
	runner    *runner.Runner
	show      render.Renderer
	record    *runlog.Log
	runID     string
	left      atomic.Bool // by the third Ctrl-C
	ended     event.RunDone
	opens     *event.RunStarted // nil: the runner says it
	change    bool

	answers  []string   // to prompts, in order
	planning *planning  // what is written down of a check; nil: nothing
	saved    *savedPlan // what is to be applied; nil: the file itself
	// newShow makes another renderer than --output says; finish is called once
	// all hosts are left, with the code so far. Both may be nil.
	newShow func(render.Options) (render.Renderer, error)
	finish  func(code int) error

	params     map[string]any
	hidden     []string // parameters that the file says are secret
	valuesText []byte
	scriptHash string
	summary    *summary
}

// run loads the file, shows what happens, and returns the exit code's error.
func (v *invocation) run(ctx context.Context) error {
	dir, err := scriptDir(v.file)
	if err != nil {
		return err
	}
	v.state = &stateAccess{app: v.app, dir: dir, flags: v.flags, what: v.what + " " + filepath.Base(v.file)}
	if v.state.stack, err = v.app.stackOf(v.flags.stack, dir); err != nil {
		return err
	}
	defer v.state.close()
	if v.flags.backTo != "" {
		if err := v.openBack(ctx); err != nil {
			return err
		}
		sum := sha256.Sum256(v.back.file(v.file))
		v.scriptHash = hex.EncodeToString(sum[:])
	} else {
		if err := existing(v.file); err != nil {
			return err
		}
		v.scriptHash = fileHash(v.file)
	}
	sec, err := v.app.openSecrets(ctx, &v.flags.vault)
	if err != nil {
		return err
	}
	params, values, err := v.arguments(sec)
	if err != nil {
		return err
	}
	if v.fleet, err = v.app.openFleet(ctx, &v.flags.hostFlags, dir); err != nil {
		return err
	}
	defer v.fleet.close()
	if _, folder := stack.Folder(v.state.stack); !folder {
		v.fleet.stack = v.state.stack
	}
	v.openRemote(dir)
	defer func() { _ = v.remote.Close() }()
	v.fleet.addAliases(v.flags.hosts)
	if v.checks != nil {
		v.onHosts = len(v.flags.inventory) > 0 || v.flags.hosts != "" || len(v.fleet.inv.Hosts()) > 0
	}

	// First without effects: whatever is wrong is said before anything happens.
	v.peek = v.state.share(true)
	prog, vm, err := v.load(ctx, params, values, nil)
	v.peek.close()
	if err != nil {
		return err
	}
	defer func() { _ = vm.Close() }()
	for _, w := range prog.Warnings {
		v.fleet.warn(w.Error())
	}
	if v.checks != nil {
		if err := v.checks.refuse(prog); err != nil {
			return err
		}
	}
	w, err := v.choose(prog)
	if err != nil && prog.Cut == nil {
		return err
	}
	for _, t := range append(slices.Clone(prog.Tasks), prog.Ran...) {
		v.fleet.addAliases(t.Target.Pattern)
	}
	if w != nil {
		v.fleet.addAliases(w.Config.Hosts)
	}
	if done, err := v.listings(prog, w); done || err != nil {
		return err
	}
	if err := v.knownHosts(prog.Ran); err != nil {
		return err
	}
	if err := v.descriptors(w); err != nil {
		return err
	}
	v.params = params
	return v.inStack(ctx, func(ctx context.Context) error {
		if v.saved != nil {
			return v.applySaved(ctx, dir, prog, w, vm, params, values)
		}
		return v.execute(ctx, dir, prog, w, vm, params, values)
	})
}

// looks reports whether this run is to change nothing.
func (v *invocation) looks() bool { return v.flags.check || v.checks != nil }

// knownHosts refuses a file that runs tasks on hosts nobody knows, before it
// runs any. The tasks of workflows are looked at by the runner.
func (v *invocation) knownHosts(ran []*dsl.Task) error {
	var problems *multierror.Error
	for _, t := range ran {
		if t.Target.Pattern == "" || t.Target.Pattern == runner.Local {
			continue
		}
		if _, err := v.fleet.inv.Match(t.Target.Pattern, ""); err != nil {
			problems = multierror.Append(problems, fmt.Errorf("%s:%d: task %q: %w", t.Pos.File, t.Pos.Line, t.Name, err))
		}
	}
	return problems.ErrorOrNil()
}

func (v *invocation) execute(ctx context.Context, dir string, prog *dsl.Program, w *dsl.Workflow, vm *engine.VM, params map[string]any, values any) error {
	if err := v.openShow(); err != nil {
		return err
	}
	v.summary = newSummary()
	v.values = v.state.share(v.looks())
	defer v.values.close()
	topLevel := len(prog.Ran) > 0 || prog.Effects > 0
	opts := v.options(dir, params, values)
	vms := []*engine.VM{vm}
	if topLevel {
		// The file does things while it loads: load it again, for real.
		fresh := v.newVM()
		defer func() { _ = fresh.Close() }()
		vm = fresh
	} else {
		v.showEarlyOutput()
	}
	opts.VM = vm
	if v.planning != nil {
		v.planning.begin(dir, vm, params, values)
		v.planning.options(&opts)
	}
	vms = append(vms, vm)
	if err := v.openRecord(&opts); err != nil {
		return err
	}
	v.runID = opts.RunID
	if v.artifacts != nil {
		v.artifacts.run = opts.RunID
		defer func() {
			if err := v.artifacts.close(context.WithoutCancel(ctx)); err != nil {
				v.fleet.warn(fmt.Sprintf("old artifacts stay: %v", err))
			}
		}()
	}
	r, err := runner.New(ctx, opts)
	if err != nil {
		return errors.Join(err, v.closeRecord(true))
	}
	v.runner = r
	v.fleet.progress = func(host string, done, total int64) { r.Progress(host, "upload sloth-shim", done, total) }
	stop := v.interrupts(r)
	defer stop()
	audited := v.auditRun(ctx)

	start := time.Now()
	var code int
	var failure error
	if topLevel {
		v.opens = v.opening(prog, w)
		r.Begin()
		if prog, _, failure = v.load(ctx, params, values, r); failure == nil {
			w, failure = v.choose(prog)
		}
	}
	if failure == nil && prog.Failed {
		if !topLevel {
			r.Begin()
		}
		failure = runner.Refused(v.file + ": " + prog.Message)
	}
	switch {
	case failure != nil:
		code = r.End(start, failure)
	case w != nil:
		code = r.RunWorkflow(ctx, w, prog.Handlers)
	default:
		code = r.End(start, nil)
	}
	err = r.Close() // the last event is handled now
	if v.checks != nil {
		if code = v.checks.code(code); failure != nil && code == exitUsage {
			code = exitFailed // an assertion at the top level of the file
		}
	}
	v.summary.settle(code)
	if !v.left.Load() {
		// Before the end is written down: killed in between, it is resumed, and
		// remembered then.
		v.recordInStack(ctx, vms...)
	}
	audited()
	if e := v.closeRecord(v.left.Load()); err == nil {
		err = e
	}
	if e := v.show.Close(); err == nil {
		err = e
	}
	if v.finish != nil && failure == nil && err == nil {
		err = v.finish(code)
	}
	if failure != nil && code == exitOK {
		code = exitUsage
	}
	if err != nil {
		if code == exitOK {
			return err
		}
		v.app.printError(err) // how the run went is the more important code
	}
	if code == exitOK && v.flags.detailed && v.change {
		code = exitChanges
	}
	if code != exitOK {
		return exitError{code}
	}
	return nil
}

func (v *invocation) options(dir string, params map[string]any, values any) runner.Options {
	o := runner.Options{
		RunID: newRunID(time.Now()), Emit: newEventRedactor(v.app.redactor(), v.handle).handle, Secret: v.app.secrets.find, Learn: v.app.secrets.made, HostsByDefault: v.onHosts, DefaultPattern: v.flags.hosts,
		Limit: v.flags.limit, AllowEmpty: v.flags.allowEmpty, Tags: v.flags.tags, SkipTags: v.flags.skipTags, StartAt: v.flags.startAt,
		Forks: v.flags.forks, Check: v.flags.check, NoNested: v.flags.noNested, Params: params, Values: values, Root: dir,
		Modules: v.modules(), State: v.values.do, Require: v.libraries(dir),
		Render: template.Render,
	}
	if !v.looks() {
		o.Pending = pendingHandlers{v.state}
		v.artifacts = &runArtifacts{stack: v.state.stack}
		o.Artifacts = v.artifacts
	}
	if v.fleet.inv != nil {
		o.Hosts = fleetHosts{v.fleet}
	}
	o.Open = func(ctx context.Context, host string, so runner.SessionOptions) (runner.Session, error) {
		s, err := v.fleet.session(ctx, host, v.runID, v.flags.check, so)
		if err != nil {
			return nil, err // not a nil session in a full interface
		}
		return s, nil
	}
	if v.flags.step {
		o.Confirm = func(task string) bool {
			ok, err := v.app.confirm("Run task " + task + "?")
			return err == nil && ok
		}
	}
	return o
}

func randomText(n int) string {
	b := make([]byte, (n+1)/2)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)[:n]
}
