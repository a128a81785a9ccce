package infratest

import (
	"context"
	"fmt"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/pkg"
	"github.com/sloth-runner/sloth/modules/systemd"
)

type service struct {
	function
	Name    string `lua:"name,required" alias:"service" pos:"1" doc:"The service; aliases such as sshd are followed"`
	Target  string `lua:"target" pos:"2" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
	enabled bool
}

// Query asks the init system.
func (s *service) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, s, s.Target, "service "+s.Name, false, func() error {
		u, err := systemd.One(ctx, v, s.Name)
		if err != nil {
			return err
		}
		expected := fmt.Sprintf("service %q to run", s.Name)
		if s.enabled {
			expected = fmt.Sprintf("service %q to be enabled", s.Name)
		}
		switch {
		case !u.Exists():
			return failure{expected, "no such service"}
		case s.enabled && !u.Enabled():
			return failure{expected, fmt.Sprintf("it %q", u.Enablement())}
		case !s.enabled && !u.Active():
			return failure{expected, fmt.Sprintf("it %q (%s)", u.State(), u.Props["SubState"])}
		}
		return nil
	})
}

type pack struct {
	function
	Name   string `lua:"name,required" alias:"package" pos:"1" doc:"The package"`
	Target string `lua:"target" pos:"2" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
}

// Query asks the package manager's database.
func (p *pack) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, p, p.Target, "package "+p.Name, false, func() error {
		version, err := pkg.Installed(ctx, v, p.Name)
		if err == nil && version == "" {
			err = failure{fmt.Sprintf("package %q to be installed", p.Name), "it is not"}
		}
		return err
	})
}

type packVersion struct {
	function
	Name    string `lua:"name,required" alias:"package" pos:"1" doc:"The package"`
	Version string `lua:"version,required" pos:"2" doc:"The version, or its first parts: \"1.22\" accepts 1.22.1-9, but not 1.220"`
	Target  string `lua:"target" pos:"3" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
}

// Query compares.
func (p *packVersion) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, p, p.Target, "package "+p.Name, false, func() error {
		expected := fmt.Sprintf("package %q in version %s", p.Name, p.Version)
		version, err := pkg.Installed(ctx, v, p.Name)
		switch {
		case err != nil:
			return err
		case version == "":
			return failure{expected, "it is not installed"}
		case !pkg.VersionMatches(version, p.Version):
			return failure{expected, version}
		}
		return nil
	})
}
