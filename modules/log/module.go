// Package log is the module log: lines of a task's own in the run's output.
package log

import (
	"context"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// Module describes the module log. Its functions change nothing, so a plan
// shows their lines too.
func Module() modules.Module {
	m := modules.Module{Name: "log", Summary: "Write to the output of the run."}
	for _, l := range []struct{ level, summary string }{
		{"debug", "Write a line for those who ask for more with -v."},
		{"info", "Write a line."},
		{"warn", "Write a warning."},
		{"error", "Write an error; the task goes on."},
		{"success", "Write that something went well."},
		{"print", "Write text as it is, without a level."},
	} {
		f := modules.Func{
			Name: l.level, Summary: l.summary,
			Example: `log.` + l.level + `("deployed", { version = "1.2" })`,
			Returns: "nothing",
			New:     func() any { return &line{level: l.level} },
		}
		if l.level == "warn" {
			f.Aliases = []string{"warning"}
		}
		m.Funcs = append(m.Funcs, f)
	}
	m.Funcs = append(m.Funcs, modules.Func{
		Name: "table", Summary: "Write a table: a list of tables in columns, anything else as keys and values.",
		Example: `log.table({ { name = "a", size = 1 }, { name = "b", size = 22 } }, "volumes")`,
		Returns: "nothing",
		New:     func() any { return &grid{} },
	})
	return m
}

type line struct {
	Message any `lua:"message,primary" alias:"msg" pos:"1" doc:"Text; other values are written as Lua would"`
	Context any `lua:"context" alias:"fields" pos:"2" doc:"Table of details to show with it"`
	level   string
}

// Query writes the line.
func (l *line) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	message := Text(l.Message)
	var fields map[string]any
	switch c := plain(l.Context).(type) {
	case nil:
	case map[string]any:
		if len(c) > 0 {
			fields = c
		}
	default:
		message += " " + Text(c)
	}
	modules.CallOf(ctx).Log(l.level, message, fields)
	return nil, nil
}

type grid struct {
	Value any    `lua:"value,primary" alias:"rows" pos:"1" doc:"What to show"`
	Title string `lua:"title" pos:"2" doc:"Line above it"`
}

// Query writes the table as one entry of several lines.
func (g *grid) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	text := render(plain(g.Value))
	if g.Title != "" {
		text = g.Title + "\n" + text
	}
	modules.CallOf(ctx).Log("print", text, nil)
	return nil, nil
}
