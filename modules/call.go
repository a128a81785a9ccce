package modules

import (
	"context"
	"errors"

	"github.com/sloth-runner/sloth/facts"
)

type callKey struct{}

// WithCall puts c into the context that Check, Apply and Query are given.
func WithCall(ctx context.Context, c Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallOf returns what surrounds the current call. Without WithCall its Output
// and Log discard and its Services are nil.
func CallOf(ctx context.Context) Call {
	c, _ := ctx.Value(callKey{}).(Call)
	if c.Output == nil {
		c.Output = func(string, []byte) {}
	}
	if c.Log == nil {
		c.Log = func(string, string, map[string]any) {}
	}
	return c
}

// ErrUnknown is what a plan's Viewer answers about things that only a real
// change can tell, such as the content of a file that a planned package brings.
var ErrUnknown = errors.New("unknown until applied")

// Validator is implemented by argument structs whose arguments depend on each
// other ("one of src and content"). It is called once they are filled and
// before anything is looked at.
type Validator interface {
	Validate() error
}

// Skipper is implemented by a Tool that can tell by looking that it has
// nothing to do (exec.run with creates). Under plan it is asked with the plan's
// Viewer; reason is shown, and the call then counts as unchanged.
type Skipper interface {
	Skip(ctx context.Context, v facts.Viewer) (reason string, skip bool, err error)
}

// Flusher is implemented by a Machine that syncs folders lazily: a file's
// content is on disk before it gets its name, the name itself after Flush.
// Whoever reports a step as done calls it first.
type Flusher interface {
	Flush() error
}

// NotedTool is noted once a plan holds a call of a tool, such as exec.run: from
// then on something that is missing may be there in a real run.
const NotedTool = "tool"

// NotedChange is noted once a plan holds a call of a Changer with something to
// do: from then on the host is no longer what a real run would find.
const NotedChange = "change"

// Noted asks a plan's Viewer for a fact remembered with Overlay.Note. On a real
// machine nothing is ever noted.
func Noted(v facts.Viewer, key string) (string, bool) {
	if o, ok := v.(interface{ Noted(string) (string, bool) }); ok {
		return o.Noted(key)
	}
	return "", false
}
