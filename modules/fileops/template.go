package fileops

import (
	"context"
	"errors"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// Template is file_ops.template. The controller renders it: nothing that a host
// says is ever evaluated, and the host needs no template engine.
type Template struct {
	Src    string         `lua:"src,required" pos:"1" doc:"Template on the controller, relative to the .sloth file"`
	Dest   string         `lua:"dest,required,path" pos:"2" alias:"path,name" doc:"Where the result goes; a folder gets it under the template's name without .j2 or .tmpl"`
	Vars   map[string]any `lua:"vars" pos:"3" doc:"Variables over those of the host"`
	Engine string         `lua:"engine" enum:"jinja2,go" doc:"How it is written; by the file's name when not said"`
	Follow bool           `lua:"follow" doc:"Write through a link at dest instead of replacing it"`
	Force  *bool          `lua:"force" doc:"False leaves a file that is there as it is"`
	hostfile.Attrs
	hostfile.Keep

	want hostfile.Want
}

// Check renders and compares.
func (t *Template) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	dest, err := destination(v, t.Dest, trimTemplate(t.Src))
	if err != nil {
		return modules.Diff{}, err
	}
	t.want = hostfile.Want{Path: dest, Attrs: t.Attrs, Keep: t.Keep, Follow: t.Follow}
	if t.Force != nil && !*t.Force {
		if _, err := v.Lstat(dest); err == nil {
			return modules.Diff{}, nil
		}
	}
	services := modules.CallOf(ctx).Services
	if services == nil {
		return modules.Diff{}, errors.New("there is no controller here to render it")
	}
	vars, secret := reveal(t.Vars)
	text, err := services.Template(ctx, t.Src, t.Engine, vars.(map[string]any))
	if err != nil {
		return modules.Diff{}, err
	}
	t.want.Source = hostfile.Bytes(text, secret)
	return t.want.Check(ctx, v)
}

// Apply writes the file.
func (t *Template) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return t.want.Apply(ctx, m)
}

// Plan tells the overlay.
func (t *Template) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	return t.want.Plan(ctx, o)
}

// Result adds where the file is.
func (t *Template) Result() map[string]any { return wrote(&t.want, "dest") }

// reveal replaces secrets among the variables by their values. What is made
// with one is shown as little as the secret itself.
func reveal(v any) (plain any, secret bool) {
	switch t := v.(type) {
	case modules.Secret:
		return t.Reveal(), true
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, item := range t {
			var s bool
			out[k], s = reveal(item)
			secret = secret || s
		}
		return out, secret
	case []any:
		out := make([]any, len(t))
		for i, item := range t {
			var s bool
			out[i], s = reveal(item)
			secret = secret || s
		}
		return out, secret
	}
	return v, false
}

func trimTemplate(src string) string {
	for _, ext := range []string{".j2", ".jinja2", ".jinja", ".tmpl", ".gotmpl", ".tpl"} {
		if len(src) > len(ext) && src[len(src)-len(ext):] == ext {
			return src[:len(src)-len(ext)]
		}
	}
	return src
}
