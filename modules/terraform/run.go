package terraform

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/data"
	"github.com/sloth-runner/sloth/modules/internal/tool"
	"github.com/sloth-runner/sloth/modules/spec"
)

// common is what every function takes.
type common struct {
	Env     map[string]string `lua:"env" doc:"Further variables of the environment"`
	Timeout time.Duration     `lua:"timeout" doc:"Stops the program after this long"`
	Binary  string            `lua:"binary" doc:"Program to run; by default terraform, else tofu"`
}

// client is the first argument of what works on a prepared folder.
type client struct {
	Client any `lua:"client" alias:"workdir,dir" pos:"1" doc:"The folder: what init gave, or its path; the task's own by default"`
	common
}

// where is the folder in a plan's words.
func (c *client) where() string {
	switch v := c.Client.(type) {
	case string:
		return v
	case map[string]any:
		if dir, ok := v["workdir"].(string); ok {
			return dir
		}
	}
	return "."
}

// variables are values for the configuration's variables.
type variables struct {
	VarFile any            `lua:"var_file" alias:"var_files" doc:"File of variables, or a list of them, as seen from the folder"`
	Vars    map[string]any `lua:"vars" alias:"variables" doc:"Values of variables; they win over files, and may be secrets"`
	Target  []string       `lua:"target" alias:"targets" doc:"Only these resources and what they need"`
}

// grace is how long terraform may take to write its state down when it is
// stopped in the middle.
const grace = 30 * time.Second

// work runs the program for one call.
type work struct {
	call   modules.Call
	binary string
	dir    string
	env    []string
	start  time.Time
	tidy   []func()
}

func (c *common) open(call modules.Call, dir string) (*work, error) {
	w := &work{call: call, binary: c.Binary, start: time.Now()}
	if call.Machine == nil {
		return w, errors.New("there is no machine to run terraform on")
	}
	if w.binary == "" {
		for _, name := range []string{"terraform", "tofu"} {
			if _, err := call.Machine.LookPath(name); err == nil {
				w.binary = name
				break
			}
		}
	}
	if w.binary == "" {
		return w, errors.New("neither terraform nor tofu is installed on this host")
	}
	var err error
	if w.dir, err = spec.HostPath(dir, call.Workdir); err != nil {
		return w, err
	}
	if w.dir == "" {
		w.dir = call.Workdir
	}
	own, err := tool.Variables(c.Env)
	w.env = append([]string{"TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1"}, own...)
	return w, err
}

func (w *work) close() {
	for _, f := range w.tidy {
		f()
	}
}

// with runs f in the client's folder. What f cannot do becomes a result; only
// the end of the whole task is an error.
func (c *client) with(ctx context.Context, call modules.Call, f func(context.Context, *work) (map[string]any, error)) ([]any, error) {
	dir, ok := c.Client.(string)
	if m, isMap := c.Client.(map[string]any); isMap {
		dir, ok = m["workdir"].(string)
	}
	if !ok && c.Client != nil {
		return failed(errors.New("client must be what init gave, or a folder"), time.Now()), nil
	}
	return c.in(ctx, call, dir, f)
}

func (c *common) in(ctx context.Context, call modules.Call, dir string, f func(context.Context, *work) (map[string]any, error)) ([]any, error) {
	outer := ctx
	ctx, cancel := tool.Within(ctx, c.Timeout)
	defer cancel()
	w, err := c.open(call, dir)
	if err != nil {
		return failed(err, w.start), nil
	}
	defer w.close()
	m, err := f(ctx, w)
	switch {
	case err != nil && outer.Err() != nil:
		return nil, err
	case err != nil:
		return failed(err, w.start), nil
	}
	m["workdir"] = w.dir
	return []any{m}, nil
}

func failed(err error, start time.Time) []any {
	var late tool.Timeout
	if errors.As(err, &late) {
		err = fmt.Errorf("timed out after %s", late.After)
	}
	return []any{tool.Result(facts.Answer{ExitCode: tool.CannotRun(err)}, false, err.Error(), start)}
}

// run runs one subcommand, shown as it goes on unless quiet.
func (w *work) run(ctx context.Context, quiet bool, args ...string) (facts.Answer, error) {
	cmd := modules.Cmd{Argv: append([]string{w.binary}, args...), Dir: w.dir, Env: w.env, Grace: grace}
	if !quiet {
		cmd.Output = w.call.Output
	}
	return tool.Run(ctx, w.call, cmd)
}

// result makes a table of an answer.
func (w *work) result(a facts.Answer, changed bool) map[string]any {
	problem := ""
	if a.ExitCode != 0 {
		problem = reason(a)
	}
	return tool.Result(a, changed, problem, w.start)
}

// reason is terraform's first complaint, with its place:
//
//	Error: Unsupported argument
//
//	  on main.tf line 3, in resource "terraform_data" "x":
func reason(a facts.Answer) string {
	what, at := "", ""
	for line := range strings.Lines(string(a.Stderr) + "\n" + string(a.Stdout)) {
		line = strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(line), "│╷╵"))
		if text, ok := strings.CutPrefix(line, "Error: "); ok {
			if what != "" {
				break
			}
			what = text
		}
		if rest, ok := strings.CutPrefix(line, "on "); ok && what != "" && at == "" {
			file, rest, _ := strings.Cut(rest, " line ")
			number, _, _ := strings.Cut(strings.TrimRight(rest, ":"), ",")
			at = file + ":" + number + ": "
		}
	}
	if what == "" {
		return tool.Failure(a, false)
	}
	return at + what
}

// arguments are the flags for v. Values travel in a file that only terraform
// reads, as the command line is no place for them.
func (v *variables) arguments(ctx context.Context, w *work) ([]string, error) {
	var args []string
	files := []any{v.VarFile}
	if list, ok := v.VarFile.([]any); ok {
		files = list
	}
	for _, f := range files {
		switch f := f.(type) {
		case nil:
		case string:
			args = append(args, "-var-file="+f)
		default:
			return nil, errors.New("var_file must be a file or a list of files")
		}
	}
	if len(v.Vars) > 0 {
		text, _, err := data.EncodeJSON(v.Vars)
		if err != nil {
			return nil, fmt.Errorf("vars: %w", err)
		}
		file, err := w.private(ctx, "vars.tfvars.json", text)
		if err != nil {
			return nil, err
		}
		args = append(args, "-var-file="+file)
	}
	for _, t := range v.Target {
		args = append(args, "-target="+t)
	}
	return args, nil
}

func (w *work) private(ctx context.Context, name, text string) (string, error) {
	file, tidy, err := tool.Private(ctx, w.call, name, text)
	if err == nil {
		w.tidy = append(w.tidy, tidy)
	}
	return file, err
}

// inside is a file as seen from the folder.
func inside(dir, file string) string {
	if path.IsAbs(file) {
		return file
	}
	return path.Join(dir, file)
}
