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

// assert runs one look at the host, unless it would look at the wrong one or,
// in a plan, at something that is not there yet. what is what it looks at; acts
// says that the look itself could change something.
func assert(ctx context.Context, v facts.Viewer, target, what string, acts bool, look func() error) ([]any, error) {
	call := modules.CallOf(ctx)
	if target != "" && target != call.Host && target != "local" {
		here := call.Host
		if here == "" {
			here = "local"
		}
		return nil, fmt.Errorf("this task runs on %s and cannot look at %q; give a task of its own :delegate_to(%q)", here, target, target)
	}
	if call.Plan && (v == nil || !v.Planned()) {
		return []any{true}, nil // a file is only being read
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
	if errors.As(err, &f) && call.Host != "" && call.Host != "local" {
		return nil, fmt.Errorf("%w (on %s)", f, call.Host)
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
