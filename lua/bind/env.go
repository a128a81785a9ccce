package bind

import (
	"context"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// Env is what surrounds the calls of one task. It travels in the context of the
// task's Lua thread, and through it in that of every thread it starts.
type Env struct {
	Call modules.Call
	// Check says that this is a plan: nothing may be changed. Viewer then shows
	// the host as the plan would leave it, and Overlay takes what is planned.
	// Without a Viewer the machine is looked at as it is.
	Check   bool
	Viewer  facts.Viewer
	Overlay modules.Overlay
	// Inert says that a file is only being read (validate, list, completion):
	// calls that could change something are recorded, and not even checked.
	Inert bool
	// Effect is asked before the first effect of each call; an error keeps the
	// call from happening. It may be nil.
	Effect func(ctx context.Context, function string) error
	// Called gets a record of every call of a changing function or a tool, also
	// of those that changed nothing. Calls may come from several goroutines at
	// once. It may be nil.
	Called func(Record)
	// Seal is the key under which Records have digests; empty: they have none.
	Seal []byte
	// Approve is asked about each call of a changing function or a tool once it
	// is known what it would do, and before it does anything; an error keeps the
	// call from happening. It is not asked under plan, and may be nil.
	Approve func(Record) error
}

func (e *Env) approve(r Record) error {
	if e.Approve == nil || e.Check || e.Inert {
		return nil
	}
	return e.Approve(r)
}

// Record is one call of a function that could change something.
type Record struct {
	Function string // "file_ops.copy"
	File     string // where it was called; empty for ad-hoc calls
	Line     int
	Changed  bool // or, when Planned, would change
	Planned  bool
	Message  string
	Diff     modules.Diff
	// Args and Seen stand for the arguments and for what the check found, hex;
	// equal digests of one key mean equal calls.
	Args, Seen string
}

type envKey struct{}

// WithEnv returns a context whose calls are surrounded by e.
func WithEnv(ctx context.Context, e *Env) context.Context {
	return context.WithValue(ctx, envKey{}, e)
}

// EnvOf returns what surrounds calls under ctx, or nil.
func EnvOf(ctx context.Context) *Env {
	e, _ := ctx.Value(envKey{}).(*Env)
	return e
}
