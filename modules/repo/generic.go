package repo

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

var errNone = errors.New("this host has none of the package managers apt, dnf, yum and zypper, whose repositories this module knows")

// managerOf is the kind of repositories the host has.
func managerOf(v facts.Viewer) (string, error) {
	for _, m := range [][2]string{{"apt-get", "apt"}, {"dnf", "dnf"}, {"yum", "dnf"}, {"zypper", "zypper"}} {
		if _, err := v.LookPath(m[0]); err == nil {
			return m[1], nil
		}
	}
	return "", errNone
}

// changer is a function that another one is made of.
type changer interface {
	modules.Changer
	modules.Validator
	modules.Planner
	modules.Resulter
}

// chosen hands everything on to what the package manager needs.
type chosen struct{ to changer }

// Apply does it.
func (c *chosen) Apply(ctx context.Context, m modules.Machine, d modules.Diff) error {
	return c.to.Apply(ctx, m, d)
}

// Plan lets later checks see it.
func (c *chosen) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	return c.to.Plan(ctx, d, o)
}

// Result adds the path.
func (c *chosen) Result() map[string]any {
	if c.to == nil {
		return nil
	}
	return c.to.Result()
}

func (c *chosen) check(ctx context.Context, v facts.Viewer, to changer) (modules.Diff, error) {
	c.to = to
	if err := to.Validate(); err != nil {
		return modules.Diff{}, err
	}
	return to.Check(ctx, v)
}

// add is repo.add.
type add struct {
	chosen
	Name       string   `lua:"name,required" pos:"1" doc:"Name of the repository"`
	URL        []string `lua:"url,required" alias:"uris,baseurl" pos:"2" doc:"Where it is"`
	Suites     []string `lua:"suites" alias:"suite" doc:"For apt: its distributions; without it that of the host"`
	Components []string `lua:"components" alias:"component" doc:"For apt: parts of the distribution; main without it"`
	signature
	Enabled bool `lua:"enabled" doc:"Whether it is looked into"`
	Update  bool `lua:"update_cache" doc:"Bring the lists of packages up to date when something changed; when that fails, what was written is taken back"`
}

// Validate checks what does not depend on the host.
func (a *add) Validate() error {
	if err := checkName(a.Name); err != nil {
		return err
	}
	return a.checkKey()
}

// Check chooses and compares.
func (a *add) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	manager, err := managerOf(v)
	if err != nil {
		return modules.Diff{}, err
	}
	if manager != "apt" {
		r := newRPM(manager == "zypper")
		r.Name, r.BaseURL, r.signature, r.Update = a.Name, a.URL, a.signature, a.Update
		if !a.Enabled {
			r.Enabled = &a.Enabled
		}
		return a.check(ctx, v, r)
	}
	to := &apt{Name: a.Name, URIs: a.URL, Suites: a.Suites, Components: a.Components, Types: []string{"deb"}, signature: a.signature, Enabled: a.Enabled, State: present, Update: a.Update}
	if len(to.Suites) == 0 {
		if to.Suites, err = codename(v); err != nil {
			return modules.Diff{}, err
		}
	}
	if len(to.Components) == 0 && !strings.HasSuffix(to.Suites[0], "/") {
		to.Components = []string{"main"}
	}
	return a.check(ctx, v, to)
}

// codename is what the host's own repositories call its distribution.
func codename(v facts.Viewer) ([]string, error) {
	f, err := v.Open("/etc/os-release")
	if err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(io.LimitReader(f, 64<<10)); lines.Scan(); {
			if name, ok := strings.CutPrefix(lines.Text(), "VERSION_CODENAME="); ok && strings.Trim(name, `"`) != "" {
				return []string{strings.Trim(name, `"`)}, nil
			}
		}
	}
	return nil, errors.New("suites is missing, and /etc/os-release of this host names no VERSION_CODENAME")
}

// remove is repo.remove.
type remove struct {
	chosen
	Name   string `lua:"name,required,primary" doc:"Name of the repository"`
	Update bool   `lua:"update_cache" doc:"Bring the lists of packages up to date when something changed; when that fails, what was written is taken back"`
}

// Validate checks the name.
func (r *remove) Validate() error { return checkName(r.Name) }

// Check chooses and looks.
func (r *remove) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	manager, err := managerOf(v)
	if err != nil {
		return modules.Diff{}, err
	}
	if manager == "apt" {
		return r.check(ctx, v, &apt{Name: r.Name, State: modules.Absent, Update: r.Update})
	}
	to := newRPM(manager == "zypper")
	to.Name, to.State, to.Update = r.Name, modules.Absent, r.Update
	return r.check(ctx, v, to)
}
