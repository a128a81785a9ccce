package pip

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

const (
	latest = "latest"
	// grace lets pip finish the package it is at.
	grace = 20 * time.Second
)

// install is pip.install and pip.remove.
type install struct {
	Name         []string `lua:"name,primary" alias:"names,package,packages" doc:"The packages: \"django\", \"django==4.2\", \"django>=4,<5\", \"NAME @ ADDRESS\""`
	Version      string   `lua:"version" doc:"Version of the one package that is named: \"4.2\", or a wish such as \">=4,<5\""`
	Requirements string   `lua:"requirements" alias:"requirement" doc:"File of the host that lists packages; a relative one begins at chdir"`
	place
	Command     string   `lua:"virtualenv_command" doc:"Command that makes the environment when it is missing"`
	SitePkgs    bool     `lua:"virtualenv_site_packages" doc:"Let a new environment see the packages of the system"`
	State       string   `lua:"state" enum:"present,latest,absent" doc:"Whether the packages must be there, or be the newest there are, for which the index is asked"`
	ExtraArgs   []string `lua:"extra_args" doc:"Further arguments of pip, a line or a list: \"--index-url https://pypi.example.com/simple\""`
	BreakSystem bool     `lua:"break_system_packages" doc:"Change the system's own Python although its packages belong to the package manager"`

	argv  []string // what pip is told; nil: nothing
	make  []string // what makes the environment; nil: it is there
	after map[string]string
}

func newInstall() *install { return &install{Command: "python3 -m venv", State: modules.Present} }

// Validate checks what the tags cannot say.
func (p *install) Validate() error {
	if err := p.validate(); err != nil {
		return err
	}
	switch {
	case len(p.Name) == 0 && p.Requirements == "" && (p.Virtualenv == "" || p.State == modules.Absent):
		return errors.New("name is missing: the packages; requirements names a file of them")
	case len(p.Name) > 0 && p.Requirements != "":
		return errors.New("give one of name and requirements")
	case p.Version != "" && len(p.Name) != 1:
		return errors.New("version is for one package; several are written \"django==4.2\"")
	case p.Version != "" && p.State == latest:
		return errors.New("give one of version and state = \"latest\"")
	case p.BreakSystem && p.Virtualenv != "":
		return errors.New("break_system_packages is for the system's own Python, not for an environment")
	}
	if _, err := hostfile.Words(p.Command); err != nil {
		return fmt.Errorf("virtualenv_command: %w", err)
	}
	if _, err := p.extra(); err != nil {
		return err
	}
	_, err := p.named()
	return err
}

// extra are the further arguments, word by word.
func (p *install) extra() ([]string, error) {
	if len(p.ExtraArgs) != 1 {
		return p.ExtraArgs, nil
	}
	words, err := hostfile.Words(p.ExtraArgs[0])
	if err != nil {
		return nil, fmt.Errorf("extra_args: %w", err)
	}
	return words, nil
}

func (p *install) named() ([]wish, error) {
	var out []wish
	for _, text := range p.Name {
		if p.Version != "" {
			if strings.ContainsAny(text, "=<>~;@") {
				return nil, fmt.Errorf("%q says a version itself; leave out version", text)
			}
			if strings.ContainsAny(p.Version[:1], "=<>!~") {
				text += p.Version
			} else {
				text += "==" + p.Version
			}
		}
		w, err := parseWish(text)
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

func (p *install) requirementsFile(ctx context.Context) string {
	switch {
	case filepath.IsAbs(p.Requirements):
		return p.Requirements
	case p.Chdir != "":
		return filepath.Join(p.Chdir, p.Requirements)
	}
	return filepath.Join("/", modules.CallOf(ctx).Workdir, p.Requirements)
}

func (p *install) wishes(ctx context.Context, v facts.Viewer) ([]wish, error) {
	if p.Requirements == "" {
		return p.named()
	}
	return requirements(v, p.requirementsFile(ctx), 0)
}

// note is the plan's memory of a package.
func (p *install) note(ctx context.Context, name string) string {
	return "pip:" + p.venv(ctx) + p.Executable + ":" + name
}

// Check compares versions, for which no network is needed unless the newest are wanted.
func (p *install) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	p.argv, p.make, p.after = nil, nil, map[string]string{}
	want, err := p.wishes(ctx, v)
	if err != nil {
		return d, err
	}
	is, err := p.look(ctx, v)
	if err != nil {
		return d, err
	}
	if _, planned := modules.Noted(v, p.note(ctx, "")); planned {
		is.missing = false
	} else if is.missing && p.State != modules.Absent {
		if err := p.birth(ctx, v); err != nil {
			return d, err
		}
		d.Add(modules.Create(p.venv(ctx), "virtual environment"))
	}
	newest := map[string]string{}
	if p.State == latest && len(is.packages) > 0 && !p.plannedAny(ctx, v, want) {
		extra, err := p.extra()
		if err != nil {
			return d, err
		}
		if newest, err = p.outdated(ctx, v, extra); err != nil {
			return d, err
		}
	}
	var todo []string
	for _, w := range want {
		if w.name == "" || !w.applies(is.python) {
			continue
		}
		have, settled := is.packages[w.name], false
		if planned, ok := modules.Noted(v, p.note(ctx, w.name)); ok {
			have, settled = p.planned(w, planned)
		}
		if settled {
			continue
		}
		c, err := p.compare(w, have, newest)
		if err != nil {
			return d, err
		}
		if c != nil {
			d.Add(*c)
			todo = append(todo, w.text)
			p.after[w.name] = p.becomes(w)
		}
	}
	if len(todo) > 0 {
		p.argv, err = p.command(ctx, todo)
	}
	return d, err
}

// planned is what a package is in this plan, and whether that will do.
func (p *install) planned(w wish, planned string) (have string, settled bool) {
	exact, ok := strings.CutPrefix(planned, "==")
	switch {
	case planned == modules.Absent:
		return "", false
	case p.State == modules.Absent:
		return modules.Present, false
	case w.version == "" && p.State != latest, planned == w.version, planned == latest && w.version == "":
		return "", true
	case ok:
		return exact, false
	}
	return modules.Present, false
}

// plannedAny reports whether the plan has brought one of the packages already.
func (p *install) plannedAny(ctx context.Context, v facts.Viewer, want []wish) bool {
	return slices.ContainsFunc(want, func(w wish) bool {
		_, ok := modules.Noted(v, p.note(ctx, w.name))
		return ok
	})
}

func (p *install) becomes(w wish) string {
	switch p.State {
	case modules.Absent, latest:
		return p.State
	}
	return w.version
}

// compare is the change that a package needs, or nil.
func (p *install) compare(w wish, have string, newest map[string]string) (*modules.Change, error) {
	what := "pip package " + w.name
	if p.State == modules.Absent {
		if have == "" {
			return nil, nil
		}
		c := modules.Delete(what, have)
		return &c, nil
	}
	fits, err := satisfies(have, w.version)
	if err != nil {
		return nil, err
	}
	after := strings.TrimPrefix(w.version, "==")
	switch {
	case have == "" && after == "":
		c := modules.Create(what, modules.Present)
		return &c, nil
	case have == "":
		c := modules.Create(what, after)
		return &c, nil
	case w.version != "" && !fits:
		return &modules.Change{What: what, Attr: "version", Before: have, After: after}, nil
	case p.State == latest && newest[w.name] != "":
		return &modules.Change{What: what, Attr: "version", Before: have, After: newest[w.name]}, nil
	}
	return nil, nil
}

// birth is the command that makes the environment.
func (p *install) birth(ctx context.Context, v facts.Viewer) error {
	words, err := hostfile.Words(p.Command)
	if err != nil {
		return err
	}
	if _, err := v.LookPath(words[0]); err != nil && !hostfile.Unsure(v) && !v.Planned() {
		return fmt.Errorf("there is no %s on this host to make the environment with; pkg.install({ \"python3\", \"python3-venv\" }) brings it", words[0])
	}
	if p.SitePkgs {
		words = append(words, "--system-site-packages")
	}
	words = append(words, p.venv(ctx))
	p.make = words
	return nil
}

func (p *install) command(ctx context.Context, todo []string) ([]string, error) {
	extra, err := p.extra()
	if err != nil {
		return nil, err
	}
	argv := []string{p.pip(ctx), "install", "--disable-pip-version-check", "--no-input"}
	if p.State == modules.Absent {
		argv = []string{p.pip(ctx), "uninstall", "--disable-pip-version-check", "--yes"}
	}
	if p.BreakSystem {
		argv = append(argv, "--break-system-packages")
	}
	if p.State == latest {
		argv = append(argv, "--upgrade")
	}
	argv = append(argv, extra...)
	switch {
	case p.Requirements != "":
		return append(argv, "-r", p.requirementsFile(ctx)), nil
	case p.State == modules.Absent:
		for i, text := range todo {
			if w, err := parseWish(text); err == nil {
				todo[i] = w.name
			}
		}
	}
	return append(append(argv, "--"), todo...), nil
}

// Apply runs pip.
func (p *install) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if p.make != nil {
		if err := p.run(ctx, m, p.make); err != nil {
			return err
		}
	}
	if p.argv == nil {
		return nil
	}
	return p.run(ctx, m, p.argv)
}

func (p *install) run(ctx context.Context, m modules.Machine, argv []string) error {
	env := []string{"LC_ALL=C.UTF-8"}
	if p.Virtualenv != "" {
		env = append(env, "VIRTUAL_ENV="+p.venv(ctx)) // for what is built on the way
	}
	a, err := m.Run(ctx, modules.Cmd{Argv: argv, Env: env, Dir: p.Chdir, Stdin: strings.NewReader(""), Grace: grace, Output: modules.CallOf(ctx).Output})
	if err != nil {
		return err
	}
	if a.ExitCode == 0 {
		return nil
	}
	words := argv[:min(len(argv), 2)]
	return fmt.Errorf("%s: %s", strings.Join(words, " "), complaint(a))
}

// complaint is what pip calls an error; its last line is often advice.
func complaint(a facts.Answer) string {
	text := string(a.Stderr) + string(a.Stdout)
	if strings.Contains(text, "externally-managed-environment") {
		return "this Python belongs to the package manager of the host; say virtualenv, install the package with pkg.install, or say break_system_packages = true"
	}
	if strings.Contains(text, "ensurepip is not") {
		return "this Python cannot make environments; pkg.install(\"python3-venv\") brings what is missing"
	}
	var lines []string
	for line := range strings.Lines(text) {
		if e, ok := strings.CutPrefix(strings.TrimSpace(line), "ERROR: "); ok && len(lines) < 3 {
			lines = append(lines, e)
		}
	}
	if lines == nil {
		return tool.Failure(a, false)
	}
	return fmt.Sprintf("exit code %d: %s", a.ExitCode, strings.ToValidUTF8(strings.Join(lines, "; "), "?"))
}

// Plan lets later checks know the packages.
func (p *install) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	if p.make != nil {
		o.Note(p.note(ctx, ""), modules.Present)
	}
	for _, name := range slices.Sorted(maps.Keys(p.after)) {
		o.Note(p.note(ctx, name), p.after[name])
	}
	return nil
}

// remove is pip.remove.
type remove struct {
	Name []string `lua:"name,required,primary" alias:"names,package,packages" doc:"The packages"`
	place
	BreakSystem bool `lua:"break_system_packages" doc:"Change the system's own Python although its packages belong to the package manager"`

	install *install
}

// Validate checks the names.
func (r *remove) Validate() error {
	r.install = newInstall()
	r.install.Name, r.install.place, r.install.BreakSystem, r.install.State = r.Name, r.place, r.BreakSystem, modules.Absent
	return r.install.Validate()
}

// Check looks for the packages.
func (r *remove) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	return r.install.Check(ctx, v)
}

// Apply removes them.
func (r *remove) Apply(ctx context.Context, m modules.Machine, d modules.Diff) error {
	return r.install.Apply(ctx, m, d)
}

// Plan lets later checks know.
func (r *remove) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	return r.install.Plan(ctx, d, o)
}

// list is pip.list.
type list struct{ place }

// Validate checks the place.
func (l *list) Validate() error { return l.validate() }

// Query reads the packages.
func (l *list) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	is, err := l.look(ctx, v)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, name := range slices.Sorted(maps.Keys(is.packages)) {
		out = append(out, map[string]any{"name": name, "version": is.packages[name]})
	}
	return []any{out}, nil
}
