package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-multierror"
	"github.com/sloth-runner/sloth/cmd/sloth/remote"
	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/inventory"
	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/goroutine"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/runlog"
	"github.com/sloth-runner/sloth/runner/template"
	lua "github.com/yuin/gopher-lua"
	"golang.org/x/term"
)

// invocation is one run of a .sloth file.
type invocation struct {
	app      *app
	flags    *runFlags
	file     string
	workflow string // by name; empty: the file's only one
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
	if err != nil {
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
			if err := v.artifacts.close(); err != nil {
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
	switch {
	case failure != nil:
		code = r.End(start, failure)
	case w != nil:
		code = r.RunWorkflow(ctx, w, prog.Handlers)
	default:
		code = r.End(start, nil)
	}
	if failure == nil && prog.Failed && code == exitOK {
		code = exitFailed
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
	if prog != nil && prog.Failed {
		v.app.printError(fmt.Errorf("%s: %s", v.file, prog.Message))
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

func (v *invocation) newVM() *engine.VM {
	o := engine.Options{Stuck: func(name string) {
		fmt.Fprintf(os.Stderr, "sloth: %s does not end; a Lua loop ignores its deadline\n", name)
		os.Exit(exitFailed)
	}}
	if v.back != nil {
		o.Require = v.libraries(v.state.dir)
	}
	return engine.New(dsl.VMOptions(o))
}

// libraries finds Lua libraries below dir.
func (v *invocation) libraries(dir string) func(context.Context, string) ([]byte, string, error) {
	if v.back != nil {
		return v.back.require(dir, dsl.Libraries(dir))
	}
	return dsl.Libraries(dir)
}

// load runs the file's top level: without effects where r is nil.
func (v *invocation) load(ctx context.Context, params map[string]any, values any, r *runner.Runner) (*dsl.Program, *engine.VM, error) {
	vm := v.newVM()
	asked := 0
	o := dsl.Options{
		Params: params, Values: values, Modules: v.modules(), Inert: r == nil,
		Prompt: func(_ context.Context, name string, secret bool) (string, error) {
			text, err := v.answer(&asked, name, secret)
			if secret && err == nil {
				v.app.secrets.learn(name, text)
			}
			return text, err
		},
		Pause: func(_ context.Context, message string) error {
			_, err := v.app.ask(message+" [Enter] ", false)
			return err
		},
	}
	if f := v.flags; !f.listHosts && !f.listTasks && !f.listTags && !f.vault.blind {
		o.Secret = v.app.secrets.find
		if v.planning != nil {
			o.Secret = v.planning.secret(o.Secret)
		}
	}
	if r == nil && v.peek != nil {
		o.State = func(ctx context.Context, op string, args []any) ([]any, error) { return v.peek.do(ctx, "", op, args) }
	}
	if r != nil {
		vm = r.VM()
		env := r.Env(0)
		env.Call.Log = func(level, message string, fields map[string]any) {
			r.Emit(event.Log{Where: event.Where{Host: runner.Local}, Level: level, Message: message, Fields: fields})
		}
		if v.planning != nil {
			v.planning.topLevel(&env)
		}
		if v.checks != nil {
			env.Effect = v.checks.effect
		}
		o.Env = &env
	}
	// Tasks may run others, whether or not the file itself does.
	o.RunTask = func(ctx context.Context, t *dsl.Task) ([]lua.LValue, error) {
		if v.runner == nil {
			return nil, errors.New("nothing runs while the file is only read")
		}
		return v.runner.RunTask(ctx, t)
	}
	if v.back != nil {
		o.Include = v.back.include
	}
	bind.Install(vm, o.Modules)
	goroutine.Install(vm)
	loader := dsl.Install(vm, o)
	vm.Pristine()
	load := loader.LoadFile
	if v.back != nil {
		load = func(ctx context.Context, path string) (*dsl.Program, error) {
			return loader.LoadSource(ctx, path, v.back.file(path))
		}
	}
	prog, err := load(ctx, v.file)
	if err != nil && r == nil {
		_ = vm.Close()
	}
	return prog, vm, err
}

// arguments reads --param and --values.
func (v *invocation) arguments(sec *secrets) (map[string]any, any, error) {
	var values any
	params := map[string]any{}
	if f := v.flags.values; f != "" {
		var err error
		if v.back != nil {
			v.valuesText = v.back.values
		} else if v.valuesText, err = os.ReadFile(f); err != nil {
			return nil, nil, fmt.Errorf("read values: %w", err)
		}
		if values, err = sec.readValues(f, v.valuesText); err != nil {
			return nil, nil, err
		}
		if m, ok := values.(map[string]any); ok {
			if p, ok := m["params"].(map[string]any); ok {
				params = p
			}
		} else if values != nil {
			return nil, nil, fmt.Errorf("read values %s: the file must be a map", f)
		}
	}
	for _, p := range v.flags.params {
		k, val, ok := strings.Cut(p, "=")
		if !ok {
			return nil, nil, withHint(fmt.Errorf("--param %q has no value", p), "Write --param name=value.")
		}
		params[k] = val
	}
	return params, values, nil
}

// choose finds the workflow to run; nil means that the file's own top level is
// all there is.
func (v *invocation) choose(prog *dsl.Program) (*dsl.Workflow, error) {
	w, err := v.chosen(prog)
	if err == nil && v.checks != nil {
		v.checks.prepare(v, w)
	}
	return w, err
}

func (v *invocation) chosen(prog *dsl.Program) (*dsl.Workflow, error) {
	names := make([]string, 0, len(prog.Workflows))
	for _, w := range prog.Workflows {
		if w.Name == v.workflow {
			return w, nil
		}
		names = append(names, w.Name)
	}
	switch {
	case v.workflow != "" && v.what != "run":
		return nil, fmt.Errorf("%s has no workflow %q; it has %s", v.file, v.workflow, strings.Join(names, ", "))
	}
	if v.workflow != "" {
		if err := v.stackArgument(); err != nil {
			return nil, err
		}
	}
	switch {
	case len(prog.Workflows) == 1:
		return prog.Workflows[0], nil
	case len(prog.Workflows) > 1:
		return nil, withHint(fmt.Errorf("%s has several workflows: %s", v.file, strings.Join(names, ", ")), "Name the one to run behind the file.")
	}
	return nil, nil
}

func (v *invocation) options(dir string, params map[string]any, values any) runner.Options {
	o := runner.Options{
		RunID: newRunID(time.Now()), Emit: newEventRedactor(v.app.redactor(), v.handle).handle, Secret: v.app.secrets.find, HostsByDefault: v.onHosts, DefaultPattern: v.flags.hosts,
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

// openShow makes the renderer of the run.
func (v *invocation) openShow() error {
	a := v.app
	o := render.Options{
		Color: color(a.stdout), Interactive: color(a.stdout), Verbosity: v.flags.verbosity, Diff: v.flags.diff || v.flags.check,
		Fold: inventory.Fold, Stack: v.stack,
	}
	if f, ok := a.stdout.(*os.File); ok && terminal(f) {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil {
			o.Width, o.Height = w, h
		}
	}
	var err error
	if v.newShow == nil {
		v.newShow = a.newShow
	}
	if v.newShow != nil {
		v.show, err = v.newShow(o)
		return err
	}
	v.show, err = render.New(v.flags.output, a.stdout, a.stderr, o)
	if err != nil {
		return fmt.Errorf("--%w", err)
	}
	return nil
}

// handle gives each event to the renderer and keeps what the exit code needs.
func (v *invocation) handle(e event.Event) {
	if v.checks != nil {
		if e = v.checks.see(e); e == nil {
			return
		}
	}
	switch x := e.(type) {
	case event.RunStarted:
		if v.opens != nil && x.Workflow == "" {
			x.Workflow, x.Tasks, x.Hosts = v.opens.Workflow, v.opens.Tasks, v.opens.Hosts
			e = x
		}
	case event.TaskDone:
		v.change = v.change || x.Changed
	case event.RunDone:
		v.ended = x
	}
	if v.planning != nil {
		v.planning.event(e)
	}
	v.summary.add(e)
	if v.record != nil {
		v.record.Event(e)
	}
	v.show.Handle(e)
}

// interrupts makes Ctrl-C stop after the current steps, the second kill them,
// and the third leave at once, as the end of the terminal does.
func (v *invocation) interrupts(r *runner.Runner) func() {
	sig := make(chan os.Signal, 3)
	signal.Notify(sig, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(sig, syscall.SIGHUP)
	}
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case s := <-sig:
				if s == syscall.SIGHUP {
					n = max(n, 3)
				}
				switch {
				case n == 1 && s != syscall.SIGTERM:
					fmt.Fprintln(v.app.stderr, "\nstopping after the current steps; press Ctrl-C again to end them")
					r.Stop(false)
				case n <= 2:
					fmt.Fprintln(v.app.stderr, "\nending the current steps; press Ctrl-C again to leave the hosts alone with them")
					r.Stop(true)
				case n == 3:
					v.left.Store(true)
					hosts := r.Detach()
					fmt.Fprintf(v.app.stderr, "\nleaving; ")
					if len(hosts) > 0 {
						fmt.Fprintf(v.app.stderr, "what had begun goes on on %s. ", strings.Join(hosts, ", "))
					}
					fmt.Fprintf(v.app.stderr, "Go on with `sloth runs resume %s`\n", v.runID)
				default:
					os.Exit(exitInterrupted)
				}
			}
		}
	}()
	return func() { signal.Stop(sig); close(done); <-finished }
}

func randomText(n int) string {
	b := make([]byte, (n+1)/2)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)[:n]
}
