package npm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

const (
	latest = "latest"
	// grace lets npm finish the package it is at.
	grace = 20 * time.Second
)

// install is npm.install and npm.remove.
type install struct {
	Name    string `lua:"name,primary" alias:"package" doc:"The package; without it all that the package.json of the project lists"`
	Version string `lua:"version" doc:"Version, range (\"^4.18\") or tag (\"next\") of the package"`
	place
	Production bool   `lua:"production" doc:"Leave out what is needed only for development"`
	State      string `lua:"state" enum:"present,latest,absent" doc:"Whether the package must be there, or be the newest there is, for which the registry is asked"`
	Registry   string `lua:"registry" doc:"Address of the registry to use"`
	CI         bool   `lua:"ci" doc:"Install exactly what package-lock.json says, with npm ci"`
	NoScripts  bool   `lua:"ignore_scripts" doc:"Run no scripts that packages bring"`

	argv  []string // nil: nothing to do
	after string
}

func newInstall() *install { return &install{State: modules.Present} }

var nameForm = form(`^(@[a-zA-Z0-9~][a-zA-Z0-9._~-]*/)?[a-zA-Z0-9][a-zA-Z0-9._~-]*$`)

// Validate checks what the tags cannot say.
func (p *install) Validate() error {
	if err := p.validate(); err != nil {
		return err
	}
	if p.Registry != "" {
		if u, err := url.Parse(p.Registry); err != nil || u.Host == "" {
			return fmt.Errorf("registry = %q is no address such as \"https://registry.example.com\"", p.Registry)
		}
	}
	switch {
	case p.Name == "" && (p.Version != "" || p.State != modules.Present || p.Global):
		return errors.New("name is missing: the package")
	case p.Name == "":
		return nil
	case p.CI:
		return errors.New("ci installs what package-lock.json says, not a package of its own; leave out name or ci")
	case strings.HasPrefix(p.Name, "@") && strings.Count(p.Name, "@") > 1, !strings.HasPrefix(p.Name, "@") && strings.Contains(p.Name, "@"):
		at := strings.LastIndex(p.Name, "@")
		return fmt.Errorf("name = %q says a version; write name = %q, version = %q", p.Name, p.Name[:at], p.Name[at+1:])
	case !nameForm().MatchString(p.Name):
		return fmt.Errorf("name = %q is no name of a package, such as \"express\" or \"@scope/name\"", p.Name)
	case p.Version != "" && p.State == latest:
		return errors.New("give one of version and state = \"latest\"")
	case p.Version == "" || isTag(p.Version):
		return nil
	}
	if _, err := satisfies("0.0.0", p.Version); err != nil {
		return fmt.Errorf("version = %w", err)
	}
	return nil
}

// note is the plan's memory of a package.
func (p *install) note(name string) string { return "npm:" + p.Path + ":" + name }

// Check compares versions, for which no network is needed unless the newest is wanted.
func (p *install) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	p.argv, p.after = nil, ""
	if !p.Global {
		st, err := v.Stat(p.Path)
		switch {
		case hostfile.Missing(err) && (p.State == modules.Absent || hostfile.Unsure(v)):
		case hostfile.Missing(err):
			return d, fmt.Errorf("the folder %s does not exist; make it with file_ops.file({path = %q, state = \"directory\"})", p.Path, p.Path)
		case err != nil:
			return d, err
		case !st.Mode.IsDir():
			return d, fmt.Errorf("%s is no folder", p.Path)
		}
	}
	if p.Name == "" {
		return p.all(v)
	}
	dir, err := p.folder(ctx, v)
	if err != nil {
		return d, err
	}
	have, err := versionIn(v, dir, p.Name)
	if err != nil {
		return d, err
	}
	if planned, ok := modules.Noted(v, p.note(p.Name)); ok {
		if have = planned; planned == modules.Absent {
			have = ""
		}
	}
	c, err := p.compare(ctx, v, have)
	if err != nil || c == nil {
		return d, err
	}
	d.Add(*c)
	p.argv = p.command()
	return d, nil
}

// all compares the whole project.
func (p *install) all(v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	if _, planned := modules.Noted(v, p.note("")); planned {
		return d, nil
	}
	list, err := p.differences(v, p.Production, p.CI)
	if errors.Is(err, modules.ErrUnknown) || hostfile.Missing(err) && hostfile.Unsure(v) {
		d.Add(modules.Change{What: p.Path, Attr: "packages", Unknown: true})
		p.argv = p.command()
		return d, nil
	}
	if err != nil {
		return d, err
	}
	for _, one := range list {
		what := "npm package " + one.name
		if one.have == "" {
			d.Add(modules.Create(what, one.want))
		} else {
			d.Add(modules.Change{What: what, Attr: "version", Before: one.have, After: one.want})
		}
	}
	if len(list) > 0 {
		p.argv = p.command()
	}
	return d, nil
}

// compare is the change that the package needs, or nil.
func (p *install) compare(ctx context.Context, v facts.Viewer, have string) (*modules.Change, error) {
	what := "npm package " + p.Name
	if p.State == modules.Absent {
		if have == "" {
			return nil, nil
		}
		p.after = modules.Absent
		c := modules.Delete(what, have)
		return &c, nil
	}
	want := p.Version
	if p.State == latest && have != "" && have != latest {
		var err error
		if want, err = p.newest(ctx, v); err != nil {
			return nil, err
		}
	}
	if p.after = want; want == "" {
		p.after = modules.Present
	}
	switch {
	case have == "":
		if p.State == latest {
			p.after = latest
		}
		c := modules.Create(what, p.after)
		return &c, nil
	case want == "" || isTag(want) || want == have:
		return nil, nil
	}
	fits, err := satisfies(have, want)
	if err != nil || fits {
		return nil, err
	}
	return &modules.Change{What: what, Attr: "version", Before: have, After: want}, nil
}

// newest asks the registry.
func (p *install) newest(ctx context.Context, v facts.Viewer) (string, error) {
	argv := []string{p.npm(), "view", "--json"}
	if p.Registry != "" {
		argv = append(argv, "--registry", p.Registry)
	}
	a, err := v.Query(ctx, append(argv, p.Name, "version")...)
	if err != nil {
		return "", err
	}
	var version string
	if a.ExitCode != 0 || json.Unmarshal(a.Stdout, &version) != nil {
		return "", fmt.Errorf("%s view %s version: %s", p.npm(), p.Name, complaint(a))
	}
	if _, ok := parseVersion(version); !ok {
		return "", fmt.Errorf("%s view %s version: %q is no version", p.npm(), p.Name, version)
	}
	return version, nil
}

func (p *install) command() []string {
	verb := "install"
	switch {
	case p.State == modules.Absent:
		verb = "uninstall"
	case p.CI:
		verb = "ci"
	}
	argv := []string{p.npm(), verb, "--no-audit", "--no-fund", "--no-update-notifier"}
	if p.Global {
		argv = append(argv, "--global")
	}
	if p.Production {
		argv = append(argv, "--omit=dev")
	}
	if p.NoScripts {
		argv = append(argv, "--ignore-scripts")
	}
	if p.Registry != "" {
		argv = append(argv, "--registry", p.Registry)
	}
	name := p.Name
	switch {
	case name == "":
		return argv
	case p.State == latest:
		name += "@latest"
	case p.Version != "" && p.State == modules.Present:
		name += "@" + p.Version
	}
	return append(argv, "--", name)
}

// Apply runs npm.
func (p *install) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if _, err := m.LookPath(p.npm()); err != nil {
		return fmt.Errorf("there is no %s on this host; pkg.install(\"npm\") brings it", p.npm())
	}
	a, err := m.Run(ctx, modules.Cmd{Argv: p.argv, Env: []string{"LC_ALL=C.UTF-8", "CI=1"}, Dir: p.Path, Stdin: strings.NewReader(""), Grace: grace, Output: modules.CallOf(ctx).Output})
	if err != nil {
		return err
	}
	if a.ExitCode == 0 {
		return nil
	}
	return fmt.Errorf("%s %s: %s", p.npm(), p.argv[1], complaint(a))
}

// complaint is what npm calls an error; it ends with where its log is.
func complaint(a facts.Answer) string {
	var lines []string
	for line := range strings.Lines(string(a.Stderr)) {
		line = strings.TrimSpace(line)
		for _, mark := range []string{"npm ERR! ", "npm error "} {
			if e, ok := strings.CutPrefix(line, mark); ok && len(lines) < 4 && !strings.Contains(e, "complete log") {
				lines = append(lines, strings.TrimSpace(e))
			}
		}
	}
	if lines == nil {
		return tool.Failure(a, false)
	}
	return fmt.Sprintf("exit code %d: %s", a.ExitCode, strings.ToValidUTF8(strings.Join(lines, "; "), "?"))
}

// Plan lets later checks know the package.
func (p *install) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	o.Note(p.note(p.Name), p.after)
	return nil
}

// remove is npm.remove.
type remove struct {
	Name string `lua:"name,required,primary" alias:"package" doc:"The package"`
	place

	install *install
}

// Validate checks the name.
func (r *remove) Validate() error {
	r.install = newInstall()
	r.install.Name, r.install.place, r.install.State = r.Name, r.place, modules.Absent
	return r.install.Validate()
}

// Check looks for the package.
func (r *remove) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	return r.install.Check(ctx, v)
}

// Apply removes it.
func (r *remove) Apply(ctx context.Context, m modules.Machine, d modules.Diff) error {
	return r.install.Apply(ctx, m, d)
}

// Plan lets later checks know.
func (r *remove) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	return r.install.Plan(ctx, d, o)
}
