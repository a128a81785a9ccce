package terraform

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/data"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

type setup struct {
	Workdir     string `lua:"workdir,primary,path" alias:"dir,path" pos:"1" doc:"Folder with the files; the task's own by default"`
	Upgrade     bool   `lua:"upgrade" doc:"Takes newer providers and modules"`
	Reconfigure bool   `lua:"reconfigure" doc:"Forgets the backend that was used before"`
	Backend     bool   `lua:"backend" doc:"Prepares the backend"`
	Config      any    `lua:"backend_config" doc:"Settings of the backend as a table, or a file with them; they may be secrets"`
	common
}

func newSetup() any { return &setup{Backend: true} }

// PlanSafe is false: it writes files.
func (s *setup) PlanSafe() bool { return false }

// String is what it does.
func (s *setup) String() string { return "prepare " + s.Workdir }

// Result makes the planned result a client too.
func (s *setup) Result() map[string]any { return map[string]any{"workdir": s.Workdir} }

// Run prepares the folder.
func (s *setup) Run(ctx context.Context, call modules.Call) ([]any, error) {
	return s.in(ctx, call, s.Workdir, func(ctx context.Context, w *work) (map[string]any, error) {
		args := []string{"init", "-input=false", "-no-color", "-backend=" + strconv.FormatBool(s.Backend)}
		for flag, on := range map[string]bool{"-upgrade": s.Upgrade, "-reconfigure": s.Reconfigure} {
			if on {
				args = append(args, flag)
			}
		}
		switch c := s.Config.(type) {
		case nil:
		case string:
			args = append(args, "-backend-config="+c)
		case map[string]any:
			text, _, err := hcl(c)
			if err != nil {
				return nil, fmt.Errorf("backend_config: %w", err)
			}
			file, err := w.private(ctx, "backend.hcl", text)
			if err != nil {
				return nil, err
			}
			args = append(args, "-backend-config="+file)
		default:
			return nil, errors.New("backend_config must be a table or a file")
		}
		before := prepared(call.Machine, w.dir)
		a, err := w.run(ctx, false, args...)
		if err != nil {
			return nil, err
		}
		return w.result(a, before != prepared(call.Machine, w.dir)), nil
	})
}

// prepared sums up what init leaves in a folder.
func prepared(v facts.Viewer, dir string) string {
	var b strings.Builder
	if st, err := v.Stat(inside(dir, ".terraform")); err == nil {
		fmt.Fprintln(&b, st.Inode)
	}
	for _, name := range []string{".terraform.lock.hcl", ".terraform/terraform.tfstate", ".terraform/modules/modules.json"} {
		b.WriteString(name + contentOf(v, inside(dir, name)))
	}
	return b.String()
}

type plan struct {
	client
	Out     string `lua:"out" doc:"File to keep the plan in, for apply"`
	Destroy bool   `lua:"destroy" doc:"Plans to destroy everything"`
	Refresh *bool  `lua:"refresh" doc:"Looks at the real infrastructure first; true by default"`
	variables
}

func newPlan() any { return &plan{} }

// Validate reads named arguments.
func (p *plan) Validate() error { return tool.Named(p, p.Client, newPlan) }

// PlanSafe is false: it needs a prepared folder, which a plan of ours has not.
func (p *plan) PlanSafe() bool { return false }

// String is what it does.
func (p *plan) String() string { return "terraform plan in " + p.where() }

// Run plans.
func (p *plan) Run(ctx context.Context, call modules.Call) ([]any, error) {
	return p.with(ctx, call, func(ctx context.Context, w *work) (map[string]any, error) {
		args := []string{"plan", "-input=false", "-no-color", "-detailed-exitcode"}
		if p.Destroy {
			args = append(args, "-destroy")
		}
		if p.Refresh != nil {
			args = append(args, "-refresh="+strconv.FormatBool(*p.Refresh))
		}
		if p.Out != "" {
			args = append(args, "-out="+p.Out)
		}
		more, err := p.arguments(ctx, w)
		if err != nil {
			return nil, err
		}
		a, err := w.run(ctx, false, append(args, more...)...)
		if err != nil {
			return nil, err
		}
		changes := a.ExitCode == 2
		if changes {
			a.ExitCode = 0
		}
		m := w.result(a, false)
		m["has_changes"] = changes
		maps.Copy(m, counts(planned, string(a.Stdout)))
		if p.Out != "" {
			m["plan"] = p.Out
		}
		return m, nil
	})
}

var (
	planned   = regexp.MustCompile(`(?m)^Plan: (?:\d+ to import, )?(\d+) to add, (\d+) to change, (\d+) to destroy`)
	applied   = regexp.MustCompile(`(?m)^Apply complete! Resources: (?:\d+ imported, )?(\d+) added, (\d+) changed, (\d+) destroyed`)
	destroyed = regexp.MustCompile(`(?m)^Destroy complete! Resources: ()()(\d+) destroyed`)
)

// counts reads how many resources are concerned.
func counts(re *regexp.Regexp, stdout string) map[string]any {
	out := map[string]any{"add": 0, "change": 0, "destroy": 0}
	if m := re.FindStringSubmatch(stdout); m != nil {
		for i, key := range []string{"add", "change", "destroy"} {
			out[key], _ = strconv.Atoi(m[i+1])
		}
	}
	return out
}

func touched(c map[string]any) bool {
	return c["add"] != 0 || c["change"] != 0 || c["destroy"] != 0
}

type apply struct {
	client
	Plan        string `lua:"plan" doc:"File that plan kept; it holds the variables already"`
	AutoApprove bool   `lua:"auto_approve" doc:"Says that the changes are wanted; needed without a plan, as nobody can be asked"`
	variables
}

func newApply() any { return &apply{} }

// Validate reads named arguments.
func (a *apply) Validate() error { return tool.Named(a, a.Client, newApply) }

// PlanSafe is false: it changes the infrastructure.
func (a *apply) PlanSafe() bool { return false }

// String is what it does.
func (a *apply) String() string { return "terraform apply in " + a.where() }

// Run applies.
func (a *apply) Run(ctx context.Context, call modules.Call) ([]any, error) {
	return a.with(ctx, call, func(ctx context.Context, w *work) (map[string]any, error) {
		args := []string{"apply", "-input=false", "-no-color"}
		switch {
		case a.Plan != "" && (a.VarFile != nil || len(a.Vars) > 0 || len(a.Target) > 0):
			return nil, errors.New("a plan holds its variables and targets already: give them to plan instead")
		case a.Plan != "":
			args = append(args, a.Plan)
		case !a.AutoApprove:
			return nil, errors.New("nobody can be asked here: say auto_approve = true, or give the plan that client:plan({ out = … }) kept")
		default:
			more, err := a.arguments(ctx, w)
			if err != nil {
				return nil, err
			}
			args = append(append(args, "-auto-approve"), more...)
		}
		answer, err := w.run(ctx, false, args...)
		if err != nil {
			return nil, err
		}
		n := counts(applied, string(answer.Stdout))
		m := w.result(answer, answer.ExitCode != 0 || touched(n))
		maps.Copy(m, n)
		if answer.ExitCode == 0 {
			if m["outputs"], err = w.outputs(ctx); err != nil {
				return nil, err
			}
		}
		return m, nil
	})
}

type destroy struct {
	client
	AutoApprove bool `lua:"auto_approve" doc:"Says that everything may be destroyed; needed, as nobody can be asked"`
	variables
}

func newDestroy() any { return &destroy{} }

// Validate reads named arguments.
func (d *destroy) Validate() error { return tool.Named(d, d.Client, newDestroy) }

// PlanSafe is false: it changes the infrastructure.
func (d *destroy) PlanSafe() bool { return false }

// String is what it does.
func (d *destroy) String() string { return "terraform destroy in " + d.where() }

// Run destroys.
func (d *destroy) Run(ctx context.Context, call modules.Call) ([]any, error) {
	return d.with(ctx, call, func(ctx context.Context, w *work) (map[string]any, error) {
		if !d.AutoApprove {
			return nil, errors.New("nobody can be asked here: say auto_approve = true to destroy everything")
		}
		more, err := d.arguments(ctx, w)
		if err != nil {
			return nil, err
		}
		a, err := w.run(ctx, false, append([]string{"destroy", "-input=false", "-no-color", "-auto-approve"}, more...)...)
		if err != nil {
			return nil, err
		}
		n := counts(destroyed, string(a.Stdout))
		m := w.result(a, a.ExitCode != 0 || touched(n))
		m["destroy"] = n["destroy"]
		return m, nil
	})
}

// outputs reads all outputs; sensitive ones become secrets.
func (w *work) outputs(ctx context.Context) (map[string]any, error) {
	a, err := w.run(ctx, true, "output", "-json", "-no-color")
	if err != nil {
		return nil, err
	}
	if a.ExitCode != 0 {
		return nil, errors.New(reason(a))
	}
	return parseOutputs(ctx, string(a.Stdout))
}

func parseOutputs(ctx context.Context, text string) (map[string]any, error) {
	v, err := data.DecodeJSON(text)
	all, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil, errors.New("the outputs cannot be read: they are no JSON object")
	}
	out := map[string]any{}
	for name, o := range all {
		m, _ := o.(map[string]any)
		if out[name] = m["value"]; m["sensitive"] == true {
			out[name] = data.Hide(ctx, m["value"])
		}
	}
	return out, nil
}
