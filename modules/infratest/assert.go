package infratest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// failure is a host that is not as it should be.
type failure struct{ expected, found string }

func (f failure) Error() string { return "expected " + f.expected + ", found " + f.found }

// assert runs one look at the host, or at target where that is another one;
// unless, in a plan, what it would look at is not there yet. what is what it looks
// at; acts says that the look itself could change something.
func assert(ctx context.Context, v facts.Viewer, a assertion, target, what string, acts bool, look func() error) ([]any, error) {
	call := modules.CallOf(ctx)
	here := call.Host
	if here == "" {
		here = "local"
	}
	if call.Plan && (v == nil || !v.Planned()) {
		return []any{true}, nil // a file is only being read
	}
	if target != "" && target != here {
		return elsewhere(ctx, call, a, target)
	}
	if v.Planned() {
		switch after := plannedBefore(v); {
		case after != "":
			return notChecked(call, what, after+" is planned before it")
		case acts:
			return notChecked(call, what, "commands are not run in a plan")
		}
	}
	err := look()
	var f failure
	if errors.As(err, &f) && call.Host != "" {
		return nil, fmt.Errorf("%w (on %s)", f, here)
	}
	if err != nil {
		return nil, err
	}
	return []any{true}, nil
}

func notChecked(call modules.Call, what, why string) ([]any, error) {
	call.Log("info", "not checked: "+what+" ("+why+")", nil)
	return []any{true}, nil
}

// plannedBefore names the function whose change is planned on this host, if any.
func plannedBefore(v facts.Viewer) string {
	for _, key := range []string{modules.NotedChange, modules.NotedTool} {
		if name, ok := modules.Noted(v, key); ok {
			return name
		}
	}
	return ""
}

const maxShown = 300

// shown is a text of the host, fit for an error message.
func shown(text string) string {
	text = strings.ToValidUTF8(strings.TrimRight(text, "\n"), "?")
	if text == "" {
		return "nothing"
	}
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return fmt.Sprintf("%q", text)
}
