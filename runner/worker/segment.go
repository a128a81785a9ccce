package worker

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os/user"
	"slices"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/goroutine"
	"github.com/sloth-runner/sloth/lua/ship"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/service"
	"github.com/sloth-runner/sloth/runner/step"
	lua "github.com/yuin/gopher-lua"
)

// segment runs the steps of a segment in order. What one step gives is there
// for the next.
func (r *run) segment(j *job, body []byte) ([]step.Result, error) {
	var seg step.Segment
	if err := packed.Unmarshal(body, &seg); err != nil {
		return nil, fmt.Errorf("read the segment: %w", err)
	}
	s := &segmentRun{r: r, j: j, seg: &seg, outputs: map[string]any{}, bad: map[string]bool{}, modules: all.Modules()}
	results := make([]step.Result, 0, len(seg.Steps))
	for i := range seg.Steps {
		results = append(results, s.step(&seg.Steps[i]))
	}
	return results, nil
}

// segmentRun is one segment under way.
type segmentRun struct {
	r       *run
	j       *job
	seg     *step.Segment
	modules []modules.Module
	outputs map[string]any  // by task, of this segment
	bad     map[string]bool // tasks that failed here, or did not run for that
	stopped bool
	restart bool // the host restarts before what follows
}

func (s *segmentRun) step(spec *step.Spec) step.Result {
	notRun := func(status event.Status, why string) step.Result {
		s.bad[spec.Task] = true
		return step.Result{ID: spec.ID, Status: status, NotRun: true, Message: why}
	}
	for _, task := range spec.After {
		if s.bad[task] {
			return notRun(event.Skipped, "depends on "+task+", which failed here")
		}
	}
	select {
	case <-s.j.stop:
		return notRun(event.Cancelled, "stopped before this step")
	case <-s.j.ctx.Done():
		return notRun(event.Cancelled, "cancelled")
	default:
	}
	if s.restart {
		return step.Result{ID: spec.ID, Status: event.Skipped, NotRun: true, Later: true, Message: "the host restarts first"}
	}
	if s.stopped {
		return notRun(event.Skipped, "a step before it failed")
	}
	if s.r.abandoned() {
		return notRun(event.Cancelled, "nobody has listened for "+aloneFor.String()+"; nothing more is begun")
	}
	for task, out := range s.outputs {
		if slices.Contains(spec.After, task) {
			if spec.Deps == nil {
				spec.Deps = map[string]any{}
			}
			spec.Deps[task] = out
		}
	}
	res := s.run(spec)
	s.outputs[spec.Task] = res.Outputs
	if res.Status.Bad() && !res.Ignored {
		s.bad[spec.Task] = true
		s.stopped = s.stopped || s.seg.StopOnFailure || res.Failure != nil && res.Failure.Class == step.ClassPlan
	}
	return res
}

// run executes a step here, or in the executor of the user it becomes.
func (s *segmentRun) run(spec *step.Spec) step.Result {
	ctx, end, ok := s.j.begin(spec.ID)
	if !ok {
		return step.Result{ID: spec.ID, Status: event.Cancelled, NotRun: true, Message: "cancelled"}
	}
	defer end()
	var res step.Result
	if spec.Become != "" && s.r.role == roleWorker && !isMe(spec.Become) {
		res = s.r.runAs(ctx, s.j, s.seg, spec)
	} else {
		res = step.Execute(ctx, s.options(ctx, spec), *spec)
	}
	s.r.ended(s.j, res)
	if res.Restart != nil {
		s.restart = true
		s.r.restarting(s.j, res, spec)
	}
	return res
}

// isMe reports whether becoming that user would change nothing.
func isMe(name string) bool {
	me, err := user.Current()
	return err == nil && (me.Username == name || me.Uid == name)
}

func (s *segmentRun) options(ctx context.Context, spec *step.Spec) step.Options {
	e := &effects{r: s.r, j: s.j, step: spec.ID, where: event.Where{Task: spec.Task, Step: spec.ID, Handler: spec.Handler}}
	services := service.NewClient(ctx, caller{s.r, s.j, e}, s.ahead(ctx))
	o := step.Options{
		Host: s.seg.Host, Check: s.seg.Check, Modules: append(slices.Clone(s.modules), lockModule()),
		Env: bind.Env{Call: modules.Call{Machine: s.r.machine, Services: services, Env: environment(s.r.hello.Env)}, Effect: e.begin, Seal: s.seg.Seal},
		Emit: func(e event.Event) {
			if w, at, ok := event.Located(e); ok { // whoever gave the step knows the rest
				e = at(event.Where{Step: w.Step, Attempt: w.Attempt, Handler: w.Handler})
			}
			kind, body, err := event.Encode(e)
			if err != nil { // outputs that cannot be encoded must not hide how the step ended
				kind, body, _ = event.Encode(event.Log{Level: "error", Message: "an event cannot be sent: " + err.Error()})
			}
			s.r.emit(s.j.id, kind, body)
		},
	}
	o.Learn = func(value string) {
		if body, err := packed.Marshal(value); err == nil {
			s.r.emit(s.j.id, event.KindSecret, body)
		}
	}
	if s.r.durable() {
		o.Doubt = s.r.doubt
	}
	if s.r.hello.Durable != nil && !s.seg.Check {
		o.Env.Call.Restart = func(modules.Restart) {} // the step keeps what was asked for
	}
	if s.seg.Check {
		overlay := s.r.plan()
		o.Env.Viewer, o.Env.Overlay = overlay, overlay
	}
	if len(spec.Snapshot) > 0 {
		o.Source = func(ctx context.Context) (*engine.VM, step.Callbacks, func(), error) { return s.world(ctx, spec) }
	}
	return o
}

// caller is the way of one job's steps to the controller's services.
type caller struct {
	r *run
	j *job
	e *effects
}

func (c caller) Call(ctx context.Context, name string, body []byte) ([]byte, error) {
	if service.Changes(name, body) {
		if err := c.e.begin(ctx, name); err != nil {
			return nil, err
		}
	}
	return c.r.call(ctx, c.j.id, name, body)
}

func (c caller) Stream(ctx context.Context, name string, body []byte) (io.ReadCloser, error) {
	return c.r.stream(ctx, c.j.id, name, body)
}

// plan is the overlay that all steps of a plan share.
func (r *run) plan() *machine.Overlay {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.overlay == nil {
		r.overlay = machine.NewOverlay(r.machine)
	}
	return r.overlay
}

func environment(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}

// ahead is what travelled with the segment and need not be asked for.
func (s *segmentRun) ahead(ctx context.Context) service.Ahead {
	a := service.Ahead{Files: map[string]modules.FileEntry{}, Rendered: map[string]string{}}
	for _, f := range s.seg.Files {
		a.Files[f.Src] = modules.FileEntry{Path: f.Src, Mode: fs.FileMode(f.Mode), Size: f.Size, Hash: f.Hash}
	}
	for _, t := range s.seg.Rendered {
		a.Rendered[t.Src] = t.Hash
	}
	a.Blob = func(hash string) ([]byte, bool) {
		data, err := s.r.blob(ctx, hash)
		return data, err == nil
	}
	return a
}

// world makes a fresh Lua for one attempt: nothing of an earlier step is in it.
func (s *segmentRun) world(ctx context.Context, spec *step.Spec) (*engine.VM, step.Callbacks, func(), error) {
	vm := engine.New(dsl.VMOptions(engine.Options{MaxMemory: memoryLimit}))
	release := func() { _ = vm.Close() } // a thread that does not end is reported by the engine
	fail := func(err error) (*engine.VM, step.Callbacks, func(), error) {
		release()
		return nil, step.Callbacks{}, nil, err
	}
	bind.Install(vm, s.modules)
	goroutine.Install(vm)
	h := s.seg.Host
	dsl.InstallHost(vm, dsl.HostOptions{
		Name: h.Name, Address: h.Address, Groups: h.Groups, Vars: h.Vars, Values: s.seg.Values, Params: spec.Params, Modules: s.modules,
	})
	vm.Pristine()
	for _, src := range s.seg.Sources {
		text, err := s.r.blob(ctx, src.Hash)
		if err != nil {
			return fail(err)
		}
		if _, err := vm.Load(src.Name, text); err != nil {
			return fail(err)
		}
	}
	v, err := ship.Decode(vm, spec.Snapshot, ship.Limits{})
	if err != nil {
		return fail(fmt.Errorf("unpack the task: %w", err))
	}
	if _, ok := v.(*lua.LTable); !ok {
		return fail(fmt.Errorf("unpack the task: it is a %s", v.Type()))
	}
	return vm, step.CallbacksOf(v), release, nil
}
