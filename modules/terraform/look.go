package terraform

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/data"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

type check struct{ client }

func newCheck() any { return &check{} }

// Validate reads named arguments.
func (c *check) Validate() error { return tool.Named(c, c.Client, newCheck) }

// PlanSafe is false: it needs a prepared folder, which a plan of ours has not.
func (c *check) PlanSafe() bool { return false }

// String is what it does.
func (c *check) String() string { return "terraform validate in " + c.where() }

// Run checks the files.
func (c *check) Run(ctx context.Context, call modules.Call) ([]any, error) {
	return c.with(ctx, call, func(ctx context.Context, w *work) (map[string]any, error) {
		a, err := w.run(ctx, true, "validate", "-json", "-no-color")
		if err != nil {
			return nil, err
		}
		diagnostics, problem := parseDiagnostics(string(a.Stdout))
		m := w.result(a, false)
		m["diagnostics"] = diagnostics
		if a.ExitCode != 0 && problem != "" {
			m["error"] = problem
		}
		return m, nil
	})
}

// parseDiagnostics reads "terraform validate -json"; problem is the first error.
func parseDiagnostics(text string) (list []any, problem string) {
	list = []any{}
	v, err := data.DecodeJSON(text)
	if err != nil {
		return list, ""
	}
	all, _ := data.Find(v, "diagnostics")
	items, _ := all.([]any)
	for _, d := range items {
		m, _ := d.(map[string]any)
		one := map[string]any{}
		for _, k := range []string{"severity", "summary", "detail"} {
			one[k], _ = m[k].(string)
		}
		at := ""
		if file, _ := data.Find(m, "range.filename"); file != nil {
			line, _ := data.Find(m, "range.start.line")
			one["file"], one["line"] = file, line
			at = fmt.Sprintf("%v:%v: ", file, line)
		}
		list = append(list, one)
		if problem == "" && one["severity"] == "error" {
			problem = at + one["summary"].(string)
		}
	}
	return list, problem
}

type format struct {
	client
	Check     bool `lua:"check" doc:"Only tells which files would change"`
	Recursive bool `lua:"recursive" doc:"Folders below too"`
}

func newFormat() any { return &format{} }

// Validate reads named arguments.
func (f *format) Validate() error { return tool.Named(f, f.Client, newFormat) }

// PlanSafe is false: it writes files, or needs files that a plan has not.
func (f *format) PlanSafe() bool { return false }

// String is what it does.
func (f *format) String() string { return "terraform fmt in " + f.where() }

// Run formats.
func (f *format) Run(ctx context.Context, call modules.Call) ([]any, error) {
	return f.with(ctx, call, func(ctx context.Context, w *work) (map[string]any, error) {
		args := []string{"fmt", "-list=true", "-no-color"}
		if f.Check {
			args = append(args, "-check")
		}
		if f.Recursive {
			args = append(args, "-recursive")
		}
		a, err := w.run(ctx, true, args...)
		if err != nil {
			return nil, err
		}
		files := []any{}
		for line := range strings.Lines(string(a.Stdout)) {
			if line = strings.TrimSpace(line); line != "" {
				files = append(files, line)
			}
		}
		m := w.result(a, len(files) > 0 && !f.Check)
		m["files"] = files
		if f.Check && len(files) > 0 && a.ExitCode != 0 {
			m["error"] = fmt.Sprintf("%d files are not in the usual form", len(files))
		}
		return m, nil
	})
}

type output struct {
	client
	Name string `lua:"name" pos:"2" doc:"Only this one, as value"`
}

func newOutput() any { return &output{} }

// Validate reads named arguments.
func (o *output) Validate() error { return tool.Named(o, o.Client, newOutput) }

// PlanSafe is false: it needs a prepared folder, which a plan of ours has not.
func (o *output) PlanSafe() bool { return false }

// String is what it does.
func (o *output) String() string { return "terraform output in " + o.where() }

// Run reads the outputs. They are not in stdout, where secrets would be shown.
func (o *output) Run(ctx context.Context, call modules.Call) ([]any, error) {
	return o.with(ctx, call, func(ctx context.Context, w *work) (map[string]any, error) {
		a, err := w.run(ctx, true, "output", "-json", "-no-color")
		if err != nil {
			return nil, err
		}
		if a.ExitCode != 0 {
			return w.result(a, false), nil
		}
		all, err := parseOutputs(ctx, string(a.Stdout))
		if err != nil {
			return nil, err
		}
		a.Stdout = nil
		m := w.result(a, false)
		m["outputs"] = all
		if o.Name != "" {
			v, ok := all[o.Name]
			if !ok {
				return nil, errors.New("there is no output " + o.Name)
			}
			m["value"] = v
		}
		return m, nil
	})
}
