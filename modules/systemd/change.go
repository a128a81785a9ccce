package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

type several struct {
	Names []string `lua:"name,required,primary" alias:"names,service,services,unit,units" doc:"One service or a list of them; a name without a suffix is that of a .service"`
}

// Validate refuses an empty list.
func (s *several) Validate() error {
	if len(s.Names) == 0 {
		return errors.New("name is an empty list")
	}
	return nil
}

// look describes the units of the call. One that only a planned change can
// bring is reported in unknown instead of raised.
func (s *several) look(ctx context.Context, v facts.Viewer, verb string) (units []Unit, unknown []string, err error) {
	all, err := Look(ctx, v, s.Names...)
	if err != nil {
		return nil, nil, err
	}
	for i, u := range all {
		switch {
		case u.Exists(), verb == "mask":
			units = append(units, u)
		case guessing(v):
			unknown = append(unknown, u.Name)
		default:
			return nil, nil, fmt.Errorf("there is no service %q on this host; systemd.list_services() lists them, pkg.install brings more", s.Names[i])
		}
	}
	return units, unknown, nil
}

// guessing reports whether a plan holds changes that may bring a unit.
func guessing(v facts.Viewer) bool {
	if !v.Planned() {
		return false
	}
	for _, key := range []string{modules.NotedChange, modules.NotedTool} {
		if _, ok := modules.Noted(v, key); ok {
			return true
		}
	}
	return false
}

// change is enable, disable, start, stop, mask and unmask.
type change struct {
	several
	verb string

	todo []Unit
}

// wanted says which property the verb changes, and into what.
func wanted(verb string) (prop, attr, after string) {
	switch verb {
	case "start":
		return "ActiveState", "state", active
	case "stop":
		return "ActiveState", "state", inactive
	case "enable":
		return "UnitFileState", "enablement", enabled
	case "disable":
		return "UnitFileState", "enablement", disabled
	case "mask":
		return "LoadState", "enablement", masked
	}
	return "LoadState", "enablement", "unmasked"
}

// needed reports whether the verb has something to do at u.
func needed(verb string, u Unit) (bool, error) {
	isMasked := u.load() == masked || strings.HasPrefix(u.Enablement(), masked)
	switch verb {
	case "mask":
		return !isMasked, nil
	case "unmask":
		return isMasked, nil
	case "stop":
		return u.State() != inactive && u.State() != "failed", nil
	case "disable":
		return u.Enabled(), nil
	}
	if isMasked {
		return false, fmt.Errorf("%s is masked, so that nobody can %s it; systemd.unmask(%q) first", u.Name, verb, u.Name)
	}
	if u.load() == "bad-setting" || u.load() == "error" {
		return false, fmt.Errorf("the unit file %s is broken; `systemd-analyze verify %s` says where", u.Props["FragmentPath"], u.Name)
	}
	if verb == "start" {
		return !u.Active(), nil
	}
	// static, indirect and generated units have nothing to enable: others start them.
	return u.Enablement() == disabled || u.Enablement() == "enabled-runtime" || u.Enablement() == "linked", nil
}

// Check compares each unit with what the verb wants.
func (c *change) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	c.todo = nil
	if (c.verb == "mask" || c.verb == "unmask") && !booted(v) {
		return d, fmt.Errorf("only systemd can %s services, and this host does not run it", c.verb)
	}
	units, unknown, err := c.look(ctx, v, c.verb)
	if err != nil {
		return d, err
	}
	prop, attr, after := wanted(c.verb)
	for _, u := range units {
		need, err := needed(c.verb, u)
		if err != nil {
			return d, err
		}
		if !need {
			if c.verb == "enable" && !u.Enabled() {
				modules.CallOf(ctx).Log("info", fmt.Sprintf("%s is %s: there is nothing to enable", u.Name, u.Enablement()), nil)
			}
			continue
		}
		c.todo = append(c.todo, u)
		before := u.Props[prop]
		if attr == "enablement" {
			before = u.Enablement()
		}
		d.Add(modules.Change{What: u.Name, Attr: attr, Before: before, After: after})
	}
	for _, name := range unknown {
		c.todo = append(c.todo, Unit{Name: name})
		d.Add(modules.Change{What: name, Attr: attr, After: after, Unknown: true})
	}
	return d, nil
}

// Apply runs the verb on the units that need it.
func (c *change) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	for _, u := range c.todo {
		if err := act(ctx, m, c.verb, u); err != nil {
			return err
		}
	}
	return nil
}

// Plan lets later checks see the states.
func (c *change) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	prop, _, after := wanted(c.verb)
	if c.verb == "unmask" {
		after = "loaded"
	}
	for _, u := range c.todo {
		o.Note(note(u.Name, prop), after)
		if c.verb == "unmask" {
			o.Note(note(u.Name, "UnitFileState"), disabled)
		}
		if c.verb == "mask" {
			o.Note(note(u.Name, "UnitFileState"), masked)
		}
		if !u.Exists() && prop != "LoadState" {
			o.Note(note(u.Name, "LoadState"), "loaded")
		}
	}
	return nil
}

// repeat is restart and reload.
type repeat struct {
	several
	verb string

	todo []Unit
}

// Repeats is true: that is what they are for.
func (r *repeat) Repeats() bool { return true }

// Check sees that the units are there.
func (r *repeat) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	r.todo = nil
	units, unknown, err := r.look(ctx, v, r.verb)
	if err != nil {
		return d, err
	}
	for _, name := range unknown {
		units = append(units, Unit{Name: name})
	}
	for _, u := range units {
		if u.load() == masked {
			return d, fmt.Errorf("%s is masked, so that nobody can %s it; systemd.unmask(%q) first", u.Name, r.verb, u.Name)
		}
		r.todo = append(r.todo, u)
		d.Add(modules.Change{What: u.Name, Attr: r.verb, Before: u.State(), After: r.verb + "ed", Unknown: !u.Exists()})
	}
	return d, nil
}

// Apply runs the verb.
func (r *repeat) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	for _, u := range r.todo {
		if err := act(ctx, m, r.verb, u); err != nil {
			return err
		}
	}
	return nil
}

// Plan lets later checks see that a restarted unit runs.
func (r *repeat) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	if r.verb == "restart" {
		for _, u := range r.todo {
			o.Note(note(u.Name, "ActiveState"), active)
		}
	}
	return nil
}

var errNotBooted = errors.New("this host does not run systemd")

type daemonReload struct{}

// Repeats is true: nobody can see whether it is needed for all units.
func (*daemonReload) Repeats() bool { return true }

// Check always finds it to be done.
func (*daemonReload) Check(_ context.Context, v facts.Viewer) (modules.Diff, error) {
	if !booted(v) {
		return modules.Diff{}, errNotBooted
	}
	var d modules.Diff
	d.Add(modules.Change{What: "systemd", Attr: "unit files", After: "read again"})
	return d, nil
}

// Apply reloads.
func (*daemonReload) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return systemctl(ctx, m, "daemon-reload")
}

// act runs one verb on one unit, and for those that start something looks
// whether it stays up.
func act(ctx context.Context, m modules.Machine, verb string, u Unit) error {
	if !booted(m) {
		return actClassic(ctx, m, verb, strings.TrimSuffix(u.Name, ".service"))
	}
	starts := verb == "start" || verb == "restart"
	if (starts || verb == "reload") && u.Props["NeedDaemonReload"] == "yes" {
		modules.CallOf(ctx).Log("info", "the unit file of "+u.Name+" has changed: systemctl daemon-reload", nil)
		if err := systemctl(ctx, m, "daemon-reload"); err != nil {
			return err
		}
	}
	if err := systemctl(ctx, m, verb, "--", u.Name); err != nil {
		if starts || verb == "reload" {
			return fmt.Errorf("%w%s", err, journal(ctx, m, u.Name))
		}
		return err
	}
	if starts {
		return settled(ctx, m, verb, u.Name)
	}
	return nil
}

func systemctl(ctx context.Context, m modules.Machine, args ...string) error {
	a, err := m.Run(ctx, modules.Cmd{Argv: append([]string{"systemctl", "--no-pager", "--no-ask-password"}, args...), Env: []string{"LC_ALL=C"}})
	if err != nil {
		return err
	}
	if a.ExitCode != 0 {
		what := strings.Join(args, " ")
		return fmt.Errorf("systemctl %s: %s", strings.Replace(what, " -- ", " ", 1), reason(a))
	}
	return nil
}

// reason is the first thing systemctl complained of: what follows is advice.
func reason(a facts.Answer) string {
	first, _, _ := strings.Cut(strings.TrimSpace(string(a.Stderr)), "\n")
	a.Stderr = []byte(first)
	return tool.Failure(a, false)
}

// settle is how long a process that systemd calls started is given to die. To
// systemd a simple service is up as soon as it is forked.
const settle = 200 * time.Millisecond

func settled(ctx context.Context, m modules.Machine, verb, name string) error {
	for look := range 2 {
		units, err := showUnits(ctx, m, properties, []string{name})
		if err != nil || len(units) != 1 {
			return err
		}
		u := units[0]
		if u.State() == "failed" || u.Props["SubState"] == "auto-restart" {
			return fmt.Errorf("systemctl %s %s: it started and ended at once (%s, %s)%s",
				verb, name, u.State(), u.Props["Result"], journal(ctx, m, name))
		}
		if look > 0 || u.Props["Type"] != "simple" && u.Props["Type"] != "exec" && u.Props["Type"] != "idle" {
			break
		}
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

const (
	journalLines = "12"
	maxJournal   = 4 << 10
)

// journal is the end of a unit's journal, ready to be put behind an error.
func journal(ctx context.Context, v facts.Viewer, name string) string {
	a, err := v.Query(ctx, "journalctl", "--no-pager", "--quiet", "--output=cat", "--lines="+journalLines, "--unit="+name)
	text := strings.TrimSpace(string(a.Stdout))
	if err != nil || a.ExitCode != 0 || text == "" {
		return "\nits journal says nothing; `systemctl status " + name + "` may know more"
	}
	if len(text) > maxJournal {
		text = "…" + strings.ToValidUTF8(text[len(text)-maxJournal:], "")
	}
	return "\nthe end of its journal:\n  " + strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\n", "\n  ")
}
