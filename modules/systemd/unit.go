package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

// Words of systemd for the states of units.
const (
	active   = "active"
	inactive = "inactive"
	enabled  = "enabled"
	disabled = "disabled"
	masked   = "masked"
	notFound = "not-found"
)

// properties are what one call of systemctl show asks about each unit.
var properties = []string{
	"Id", "Names", "LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "Result", "Type",
	"NRestarts", "Description", "FragmentPath", "SourcePath", "NeedDaemonReload",
}

// Unit is one unit as it was seen.
type Unit struct {
	Name  string            // as systemd calls it, "ssh.service" for "sshd"
	Props map[string]string // of systemctl show; fewer without systemd
}

func (u Unit) load() string { return u.Props["LoadState"] }

// State is "active", "inactive", "failed", "activating" and so on.
func (u Unit) State() string { return u.Props["ActiveState"] }

// Exists reports whether there is such a unit.
func (u Unit) Exists() bool { return u.load() != notFound && u.load() != "" }

// Active reports whether the unit runs.
func (u Unit) Active() bool { return u.State() == active || u.State() == "reloading" }

// Enablement is the state of the unit file: "enabled", "disabled", "static" and
// so on; empty when there is no unit.
func (u Unit) Enablement() string { return u.Props["UnitFileState"] }

// Enabled reports whether the unit starts at boot.
func (u Unit) Enabled() bool { return u.Enablement() == enabled || u.Enablement() == "enabled-runtime" }

// PID is the main process, 0 for none.
func (u Unit) PID() int {
	n, _ := strconv.Atoi(u.Props["MainPID"])
	return n
}

var suffixes = []string{
	".service", ".socket", ".timer", ".target", ".mount", ".automount", ".path", ".slice", ".scope", ".swap", ".device",
}

// unitName completes a name as systemctl does, and refuses what cannot be one.
func unitName(name string) (string, error) {
	if name == "" || len(name) > 255 || name[0] == '-' || strings.ContainsAny(name, "/ \t\n\x00*?[]'\"") {
		return "", fmt.Errorf("%q is no name of a service", name)
	}
	if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) && name != s }) {
		return name, nil
	}
	return name + ".service", nil
}

// booted reports whether systemd runs the host, as sd_booted(3) does.
func booted(v facts.Viewer) bool {
	st, err := v.Stat("/run/systemd/system")
	return err == nil && st.Mode.IsDir()
}

// Look describes units, in the order of names, as a plan would leave them.
func Look(ctx context.Context, v facts.Viewer, names ...string) ([]Unit, error) {
	full := make([]string, len(names))
	for i, n := range names {
		var err error
		if full[i], err = unitName(n); err != nil {
			return nil, err
		}
	}
	var units []Unit
	var err error
	if booted(v) {
		units, err = showUnits(ctx, v, properties, full)
	} else {
		units, err = lookClassic(ctx, v, full)
	}
	if err != nil {
		return nil, err
	}
	if len(units) != len(full) {
		return nil, fmt.Errorf("systemctl show described %d units instead of %d", len(units), len(full))
	}
	for i, u := range units {
		for _, prop := range []string{"ActiveState", "UnitFileState", "LoadState"} {
			if planned, ok := modules.Noted(v, note(u.Name, prop)); ok {
				units[i].Props[prop] = planned
			}
		}
	}
	return units, nil
}

func note(unit, prop string) string { return "unit:" + unit + ":" + prop }

func showUnits(ctx context.Context, v facts.Viewer, props, names []string) ([]Unit, error) {
	argv := []string{"systemctl", "show", "--no-pager"}
	if props != nil {
		argv = append(argv, "--property="+strings.Join(props, ","))
	}
	a, err := v.Query(ctx, append(append(argv, "--"), names...)...)
	if err != nil {
		return nil, err
	}
	if a.ExitCode != 0 {
		return nil, fmt.Errorf("systemctl show: %s", tool.Failure(a, false))
	}
	return parseShow(string(a.Stdout)), nil
}

// parseShow reads systemctl show: KEY=VALUE lines, units apart by an empty one.
func parseShow(text string) []Unit {
	var out []Unit
	var u *Unit
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			u = nil
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		if u == nil {
			out = append(out, Unit{Props: map[string]string{}})
			u = &out[len(out)-1]
		}
		if key == "Id" {
			u.Name = value
		}
		if was, twice := u.Props[key]; twice { // ExecStart and the like may come several times
			value = was + "\n" + value
		}
		u.Props[key] = value
	}
	return out
}

// One describes one unit.
func One(ctx context.Context, v facts.Viewer, name string) (Unit, error) {
	units, err := Look(ctx, v, name)
	if err != nil {
		return Unit{}, err
	}
	return units[0], nil
}

// table is a unit as Lua sees it.
func (u Unit) table() map[string]any {
	restarts, _ := strconv.Atoi(u.Props["NRestarts"])
	path := u.Props["FragmentPath"]
	if path == "" {
		path = u.Props["SourcePath"]
	}
	return map[string]any{
		"name": u.Name, "exists": u.Exists(), "is_active": u.Active(), "is_enabled": u.Enabled(), "active": u.Active(),
		"state": u.State(), "sub_state": u.Props["SubState"], "enabled": u.Enablement(), "load_state": u.load(),
		"pid": u.PID(), "result": u.Props["Result"], "restarts": restarts,
		"description": u.Props["Description"], "path": path,
	}
}

type one struct {
	Name string `lua:"name,required,primary" alias:"service,unit" doc:"The service; a name without a suffix is that of a .service, and aliases such as sshd are followed"`
}

type status struct{ one }

// Query describes the service.
func (s *status) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	u, err := One(ctx, v, s.Name)
	if err != nil {
		return nil, err
	}
	return []any{u.table()}, nil
}

type is struct {
	one
	enabled bool
}

// Query answers yes or no; a service that is not there is neither running nor
// enabled.
func (s *is) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	u, err := One(ctx, v, s.Name)
	if err != nil {
		return nil, err
	}
	if s.enabled {
		return []any{u.Enabled()}, nil
	}
	return []any{u.Active()}, nil
}

type show struct {
	one
	Property string `lua:"property" pos:"2" doc:"One property, such as \"MainPID\"; all of them without it"`
}

// Query asks systemd.
func (s *show) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	name, err := unitName(s.Name)
	if err != nil {
		return nil, err
	}
	if !booted(v) {
		return nil, errors.New("this host does not run systemd, and only systemd knows properties; use systemd.status")
	}
	units, err := showUnits(ctx, v, nil, []string{name})
	if err != nil || len(units) != 1 {
		return nil, errors.Join(err, errIf(err == nil, "systemctl show said nothing about %s", name))
	}
	if s.Property == "" {
		all := map[string]any{}
		for k, p := range units[0].Props {
			all[k] = p
		}
		return []any{all}, nil
	}
	p, ok := units[0].Props[s.Property]
	if !ok {
		return []any{nil}, nil
	}
	return []any{p}, nil
}

func errIf(is bool, format string, args ...any) error {
	if !is {
		return nil
	}
	return fmt.Errorf(format, args...)
}

type list struct {
	State   string `lua:"state" pos:"1" doc:"Only those in this state, such as \"active\", \"failed\" or \"running\""`
	Enabled *bool  `lua:"enabled" doc:"Only those that start at boot, or that do not"`
}

// Query lists what is loaded.
func (l *list) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	var units []Unit
	var err error
	if booted(v) {
		units, err = showUnits(ctx, v, properties, []string{"*.service"})
	} else {
		units, err = listClassic(ctx, v)
	}
	if err != nil {
		return nil, err
	}
	sort.Slice(units, func(i, j int) bool { return units[i].Name < units[j].Name })
	out := []any{}
	for _, u := range units {
		state := l.State == "" || l.State == u.State() || l.State == u.Props["SubState"]
		if u.Exists() && state && (l.Enabled == nil || *l.Enabled == u.Enabled()) {
			out = append(out, u.table())
		}
	}
	return []any{out}, nil
}
