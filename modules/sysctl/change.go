package sysctl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

// set is sysctl.set.
type set struct {
	Name   string `lua:"name,required,primary" alias:"key" doc:"The parameter, such as net.ipv4.ip_forward"`
	Value  any    `lua:"value" alias:"val" pos:"2" doc:"Its value: text, a number, or true and false for 1 and 0"`
	State  string `lua:"state" enum:"present,absent" doc:"Whether the file must set it"`
	Reload bool   `lua:"reload" doc:"Set it in the running kernel too; other lines of the file are left alone"`
	Set    bool   `lua:"sysctl_set" doc:"Set it in the running kernel even where reload is false"`
	Ignore bool   `lua:"ignoreerrors" alias:"ignore_errors" doc:"Set a parameter that the kernel does not have in the file alone"`
	file

	key     key
	value   string
	running bool // the kernel has another value
}

// Validate checks the name and makes text of the value.
func (s *set) Validate() error {
	var err error
	if s.key, err = parseKey(s.Name); err != nil {
		return err
	}
	if err := s.checkFile(); err != nil || s.State == modules.Absent {
		return err
	}
	s.value, err = textOf(s.Value)
	return err
}

// textOf writes a value as Ansible's module does, where yes and on are 1.
func textOf(value any) (string, error) {
	switch t := value.(type) {
	case nil:
		return "", errors.New("value is missing: the value of the parameter")
	case bool:
		if t {
			return "1", nil
		}
		return "0", nil
	case int64:
		return strconv.FormatInt(t, 10), nil
	case float64:
		return strconv.FormatFloat(t, 'f', -1, 64), nil
	case string:
		text := strings.TrimSpace(t)
		switch strings.ToLower(text) {
		case "":
			return "", errors.New("value is empty; sysctl.absent takes a parameter out of its file")
		case "yes", "true", "on":
			return "1", nil
		case "no", "false", "off":
			return "0", nil
		}
		if strings.ContainsAny(text, "\r\n\x00") {
			return "", fmt.Errorf("value = %q has a line break in it", t)
		}
		return text, nil
	}
	return "", errors.New("value must be text, a number or a boolean")
}

// Check compares the running kernel and the file.
func (s *set) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	s.running = false
	if s.State == modules.Absent {
		return s.check(ctx, v, false, func(text string) string { return drop(text, s.key) })
	}
	var d modules.Diff
	if err := s.compare(v, &d); err != nil {
		return d, err
	}
	inFile, err := s.check(ctx, v, true, func(text string) string { return put(text, s.key, s.value) })
	d.Changes = append(d.Changes, inFile.Changes...)
	return d, err
}

func note(k key) string { return "sysctl:" + k.path() }

// compare looks at the running kernel.
func (s *set) compare(v facts.Viewer, d *modules.Diff) error {
	c := modules.Change{What: s.key.name, Attr: "running value", After: s.value}
	if planned, ok := modules.Noted(v, note(s.key)); ok {
		c.Before = planned
	} else {
		text, known, err := s.key.value(v)
		switch {
		case err != nil:
			return err
		case !known && s.Ignore:
			return nil
		case !known && guessing(v): // a planned package or command may load its module
			c.Unknown = true
		case !known:
			return s.key.unknown(v)
		}
		c.Before = text
	}
	if !s.Reload && !s.Set || !c.Unknown && same(c.Before, s.value) {
		return nil
	}
	if st, err := v.Stat(s.key.path()); err == nil && st.Mode.Perm()&0o222 == 0 {
		return fmt.Errorf("%s can only be read, and is %q", s.key.name, c.Before)
	}
	s.running = true
	d.Add(c)
	return nil
}

// guessing reports whether a plan holds changes that may bring what is missing.
func guessing(v facts.Viewer) bool {
	_, changed := modules.Noted(v, modules.NotedChange)
	return v.Planned() && changed || hostfile.Unsure(v)
}

// Apply asks the kernel first: what it refuses must not be in a file.
func (s *set) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if s.running {
		if err := s.tell(ctx, m); err != nil {
			return err
		}
	}
	return s.apply(ctx, m)
}

// tell sets the running kernel. Files of /proc/sys take a value in one write,
// which replacing them could not be.
func (s *set) tell(ctx context.Context, m modules.Machine) error {
	a, err := m.Run(ctx, modules.Cmd{Argv: []string{"tee", s.key.path()}, Env: []string{"LC_ALL=C"}, Stdin: strings.NewReader(s.value + "\n")})
	if err != nil {
		return err
	}
	if a.ExitCode != 0 {
		why := tool.Failure(a, false)
		if at := strings.LastIndex(why, ": "); at >= 0 {
			why = why[at+2:]
		}
		hint := ""
		switch {
		case strings.Contains(why, "ermission") || strings.Contains(why, "not permitted"):
			hint = "; parameters are root's business: give the task :become(\"root\")"
		case strings.Contains(why, "Read-only"):
			hint = "; in a container the kernel is the host's: say reload = false to set the file alone"
		}
		return fmt.Errorf("the kernel refuses %s = %q: %s%s; the file is untouched", s.key.name, s.value, why, hint)
	}
	now, _, err := s.key.value(m)
	if err == nil && !same(now, s.value) {
		return fmt.Errorf("the kernel made %q of %s = %q; give the value in its words", now, s.key.name, s.value)
	}
	return err
}

// Plan lets later checks see the value.
func (s *set) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	if s.running {
		o.Note(note(s.key), s.value)
	}
	return s.plan(ctx, o)
}

// absent is sysctl.absent.
type absent struct {
	Name string `lua:"name,required,primary" alias:"key" doc:"The parameter"`
	file

	key key
}

// Validate checks the name.
func (a *absent) Validate() error {
	var err error
	a.key, err = parseKey(a.Name)
	return errors.Join(err, a.checkFile())
}

// Check looks for the parameter in the file.
func (a *absent) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	return a.check(ctx, v, false, func(text string) string { return drop(text, a.key) })
}

// Apply writes the file.
func (a *absent) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return a.apply(ctx, m)
}

// Plan tells the overlay.
func (a *absent) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	return a.plan(ctx, o)
}

// get is sysctl.get.
type get struct {
	Name string `lua:"name,required,primary" alias:"key" doc:"The parameter, such as net.ipv4.ip_forward"`
	key  key
}

// Validate checks the name.
func (g *get) Validate() error {
	var err error
	g.key, err = parseKey(g.Name)
	return err
}

// Query reads the running kernel.
func (g *get) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	if planned, ok := modules.Noted(v, note(g.key)); ok {
		return []any{planned}, nil
	}
	text, known, err := g.key.value(v)
	if err == nil && !known {
		err = g.key.unknown(v)
	}
	return []any{text}, err
}
