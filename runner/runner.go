// Package runner is the controller's half of a run: it turns tasks and hosts
// into a graph of steps, decides when each one starts, sends each host what it
// can do without asking anybody, and serves what hosts ask for. It is the only
// package that joins connections to the language.
package runner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/runlog"
	"github.com/sloth-runner/sloth/runner/step"
)

// Hosts is what a run knows of the inventory.
type Hosts interface {
	// Match gives the hosts of pattern that limit leaves, in inventory order. A
	// pattern that matches nothing is an error.
	Match(pattern, limit string) ([]string, error)
	Vars(host string) map[string]any
	Groups(host string) []string
	// Address is what is dialled, for people and for the script's host table.
	Address(host string) string
	// Become is the user that tasks on host become; empty: none.
	Become(host string) string
}

// Session is an open worker on one host; *shim.Session is the real one.
type Session interface {
	PutBlob(ctx context.Context, hash string, data []byte) error
	Do(ctx context.Context, job shim.Job, h shim.Handler) ([]byte, error)
	Cancel(job, step string, hard bool) error
	// Adopted waits for a job of SessionOptions.Adopt.
	Adopted(ctx context.Context, job string) ([]byte, error)
	// AwaitRestart waits for a host that restarts.
	AwaitRestart(ctx context.Context, limit time.Duration) error
	// Leave ends the session and lets the worker go on.
	Leave() error
	Close() error
}

// Options is all that a run needs to know. The zero value of an optional field
// means what its comment says.
type Options struct {
	RunID string
	VM    *engine.VM
	Hosts Hosts // nil: there is no inventory, tasks run on the controller

	// Open starts a worker on host. Errors of class *connection.Error make the
	// host unreachable.
	Open func(ctx context.Context, host string, o SessionOptions) (Session, error)
	// Emit sees every event of the run, numbered by order, from one goroutine.
	Emit func(event.Event)

	// Record is where the run is written down, so that it outlives links, workers
	// and this process; nil: it outlives none. Key seals what hosts keep, Owner
	// says for people who this is.
	Record *runlog.Log
	Key    []byte
	Owner  string
	// Before is what an earlier controller of this run wrote down; nil: there was
	// none. Steps that are done are not run again, and unknown ones only with
	// RerunUnknown.
	Before       *runlog.Story
	RerunUnknown bool
	// LockWait is how long to wait for another run that changes the same host;
	// negative: hosts are not locked.
	LockWait time.Duration

	// HostsByDefault says that a task without a host runs on the workflow's
	// hosts (apply); otherwise it runs on the controller (run).
	HostsByDefault bool
	DefaultPattern string // --hosts
	Limit          string
	AllowEmpty     bool
	Tags, SkipTags []string
	StartAt        string
	Confirm        func(task string) bool // nil: never ask

	Forks    int // 0: 64
	Check    bool
	NoNested bool

	Params  map[string]any
	Values  any
	Modules []modules.Module
	Root    string // the script's folder: controller-side files are below it

	// Seal gives the key under which the calls on host are digested; nil: they
	// are not.
	Seal func(host string) []byte
	// Expect gives what a saved plan says of a step; ok is false for one that is
	// not in it. nil: there is no plan.
	Expect func(host, step string) (e *step.Expect, ok bool)
	// Opened hears of every file of the controller that is read for hosts, by
	// its content's hash (hex SHA-256). An error refuses it. nil: nobody asks.
	Opened func(name, hash string) error

	// State performs one operation of the state module.
	// call names the call for good where it may come twice; empty: it does not.
	State func(ctx context.Context, call, op string, args []any) ([]any, error)
	// Pending keeps notified handlers that a run does not come to for the next
	// one; nil: they end with it.
	Pending Pending
	// Artifacts keeps files that tasks make; nil: tasks that have some fail.
	Artifacts Artifacts
	// Secret finds a secret by name.
	Secret func(ctx context.Context, name string) (string, error)
	// Learn is told each secret that comes into being on a host, or on the
	// controller (Local), before any event that may hold it. It may be nil.
	Learn func(host, value string)
	// Render renders a template; nil: templates are refused.
	Render func(src []byte, name, engine string, vars map[string]any) ([]byte, error)
	// Require finds a Lua library.
	Require func(ctx context.Context, name string) (source []byte, path string, err error)
}

// Runner runs workflows and single tasks of one program.
type Runner struct {
	opt    Options
	root   *files
	ctx    context.Context // of the sessions: it outlives a workflow's
	cancel context.CancelFunc

	events chan event.Event
	pumped chan struct{}

	machine modules.Machine
	overlay *machine.Overlay
	params  map[string]any

	mu       sync.Mutex
	hosts    map[string]*hostLink
	hostVars map[string]map[string]any // set by host.set
	learned  map[string]map[string]bool
	occurs   map[string]int // how often a step identity occurred
	snaps    map[*dsl.Task]*snapshot
	limit    map[string]bool        // hosts left by Limit; nil until asked
	load     map[string]int         // tasks given by delegate_to{group=}
	sent     map[string]*sentTo     // per host: what it was given
	machines map[[2]string][]string // hosts by machine id and boot id
	twins    map[[2]string]bool     // of which that was told
	world    atomic.Int64           // grows whenever Lua ran on the controller

	byName   map[string]*dsl.Task // tasks and handlers of the workflow
	handlers handlers
	saves    pendingLog
	jobs     map[*job]bool
	active   map[*scheduler]bool
	stopped  string
	leaving  bool
	kill     context.CancelFunc
	past     past
	departed map[string]bool // hosts that are not as the saved plan has them

	outcome outcome
}

// New prepares a run; ctx is for all of it. Close must be called.
func New(ctx context.Context, o Options) (*Runner, error) {
	if o.Forks <= 0 {
		o.Forks = 64
	}
	root, err := openFiles(o.Root)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &Runner{
		ctx: ctx, cancel: cancel, opt: o, root: root, machine: machine.New(), params: maps.Clone(o.Params),
		events: make(chan event.Event, 1024), pumped: make(chan struct{}),
		hosts: map[string]*hostLink{}, hostVars: map[string]map[string]any{}, learned: map[string]map[string]bool{}, occurs: map[string]int{},
		snaps: map[*dsl.Task]*snapshot{}, sent: map[string]*sentTo{}, load: map[string]int{}, machines: map[[2]string][]string{}, twins: map[[2]string]bool{}, departed: map[string]bool{}, active: map[*scheduler]bool{}, jobs: map[*job]bool{},
	}
	root.opened = o.Opened
	r.saves.cond.L = &r.saves.mu
	r.overlay = machine.NewOverlay(r.machine)
	r.recollect(o.Before)
	go func() {
		defer close(r.pumped)
		for e := range r.events {
			o.Emit(e)
		}
	}()
	return r, nil
}

// Close ends every session and waits for the last event to be handled.
func (r *Runner) Close() error {
	r.mu.Lock()
	links := r.hosts
	r.hosts = map[string]*hostLink{}
	r.mu.Unlock()
	// Sessions that are still being opened are given up.
	var wg sync.WaitGroup
	for _, l := range links {
		select {
		case <-l.ready:
		default:
			r.cancel()
		}
	}
	r.mu.Lock()
	leave := r.leaving
	r.mu.Unlock()
	for _, l := range links {
		wg.Go(func() { l.close(leave) })
	}
	wg.Wait()
	r.cancel()
	r.past.wg.Wait()
	r.awaitPending()
	close(r.events)
	<-r.pumped
	return r.root.close()
}

// VM is the Lua world that tasks of the controller run in.
func (r *Runner) VM() *engine.VM { return r.opt.VM }

// Emit adds an event to the run's stream.
func (r *Runner) Emit(e event.Event) { r.emit(e) }

// Progress tells how far long work on a host is. It may be dropped.
func (r *Runner) Progress(host, what string, done, total int64) {
	select {
	case r.events <- event.Progress{Host: host, What: what, Done: done, Total: total}:
	default:
	}
}

// Begin opens the stream for a file that does things while it loads.
func (r *Runner) Begin() {
	r.emit(event.RunStarted{RunID: r.opt.RunID, Check: r.opt.Check})
	r.adopt()
}

// Refused is the error of a file whose top level returned false: the run has
// failed as if a task had.
type Refused string

func (r Refused) Error() string { return string(r) }

// End closes the stream of a run without a workflow, and gives the exit code.
func (r *Runner) End(start time.Time, err error) int { return r.end(start, err) }

func (r *Runner) emit(e event.Event) { r.events <- e }

// notice tells people something about the run itself.
func (r *Runner) notice(level, format string, args ...any) {
	r.emit(event.Log{Level: level, Message: fmt.Sprintf(format, args...)})
}

// Stop ends the run early. The first call lets running steps finish, a hard
// one ends them on their hosts too. It returns at once.
func (r *Runner) Stop(hard bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = "interrupted"
	r.outcome.interrupt()
	for s := range r.active {
		go s.stop("interrupted")
	}
	if hard && r.kill != nil {
		r.kill()
	}
}

// Detach ends the run here and lets the hosts go on with what they were sent.
// It gives the hosts that have something under way.
func (r *Runner) Detach() []string {
	r.mu.Lock()
	r.leaving = true
	r.stopped = "left"
	r.outcome.interrupt()
	var hosts []string
	for j := range r.jobs {
		if !slices.Contains(hosts, j.link.host) {
			hosts = append(hosts, j.link.host)
		}
	}
	links := slices.Collect(maps.Values(r.hosts))
	for s := range r.active {
		go s.stop(r.stopped)
	}
	r.mu.Unlock()
	for _, l := range links {
		select {
		case <-l.ready:
			if l.err == nil && l.sess != nil {
				go func() { _ = l.sess.Leave() }() // its jobs end with an error, and the run with them
			}
		default:
		}
	}
	slices.Sort(hosts)
	return hosts
}

// RunWorkflow runs w and returns the exit code for the process. The events tell
// everything else.
func (r *Runner) RunWorkflow(ctx context.Context, w *dsl.Workflow, handlers []*dsl.Task) int {
	start := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	r.kill = cancel
	r.mu.Unlock()

	if w.Config.Environment != "" {
		if r.params == nil {
			r.params = map[string]any{}
		}
		if _, set := r.params["environment"]; !set {
			r.params["environment"] = w.Config.Environment
		}
	}
	p, err := r.plan(w, handlers)
	if err != nil {
		return r.end(start, err)
	}
	if w.Config.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, w.Config.Timeout, errWorkflowTimeout)
		defer stop()
	}
	r.emit(event.RunStarted{RunID: r.opt.RunID, Workflow: w.Name, Tasks: p.taskNames(), Hosts: p.hostNames(), Check: r.opt.Check})
	r.trust(p)
	r.adopt()
	err = p.run(ctx)
	if err == nil && errors.Is(context.Cause(ctx), errWorkflowTimeout) {
		err = fmt.Errorf("the workflow %q did not end within %s", w.Name, w.Config.Timeout)
		r.outcome.fail(event.Timeout)
	}
	if done := p.complete(context.WithoutCancel(ctx)); err == nil {
		err = done
	}
	return r.end(start, err)
}

var errWorkflowTimeout = fmt.Errorf("workflow timeout")

// end closes the event stream's story and gives the exit code.
func (r *Runner) end(start time.Time, err error) int {
	status, code := r.outcome.verdict()
	done := event.RunDone{Status: status, ExitCode: code, Duration: time.Since(start)}
	if err != nil {
		done.Message = err.Error()
		if code == 0 {
			done.Status, done.ExitCode = event.Failed, 1
			if refused := Refused(""); errors.As(err, &refused) {
				done.ExitCode = 2
			}
		}
	}
	r.emit(done)
	return done.ExitCode
}
