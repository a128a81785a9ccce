package hostname

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

const (
	file   = "/etc/hostname"
	hosts  = "/etc/hosts"
	kernel = "/proc/sys/kernel/hostname"
	note   = "hostname"
)

// set is hostname.set.
type set struct {
	Name  string `lua:"name,required,primary" doc:"The name, with or without a domain"`
	Hosts bool   `lua:"hosts" doc:"Let /etc/hosts say that 127.0.1.1 is this name, as Debian does"`

	file, hosts hostfile.Want
	running     bool // the kernel has another name
}

// Validate holds the name against RFC 1123.
func (s *set) Validate() error { return validate(s.Name) }

// running is the name that the kernel has.
func running(ctx context.Context, v facts.Viewer) (string, error) {
	if planned, ok := modules.Noted(v, note); ok {
		return planned, nil
	}
	b, err := hostfile.Read(v, kernel)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !hostfile.Missing(err) {
		return "", err
	}
	a, err := v.Query(ctx, "hostname")
	if err == nil && a.ExitCode != 0 {
		err = fmt.Errorf("hostname: %s", tool.Failure(a, false))
	}
	return strings.TrimSpace(string(a.Stdout)), err
}

// Check compares the kernel's name and the files.
func (s *set) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	s.file, s.hosts = hostfile.Want{}, hostfile.Want{}
	now, err := running(ctx, v)
	if err != nil {
		return d, err
	}
	if s.running = now != s.Name; s.running {
		d.Add(modules.Change{What: "the kernel", Attr: "hostname", Before: now, After: s.Name})
	}
	edit := func(path string, want *hostfile.Want, change func(string) string) error {
		b, err := hostfile.Read(v, path)
		if errors.Is(err, modules.ErrUnknown) || hostfile.Missing(err) {
			b, err = nil, nil
		}
		if err != nil {
			return err
		}
		after := change(string(b))
		if after == string(b) {
			return nil
		}
		*want = hostfile.Want{Path: path, Source: hostfile.Bytes([]byte(after), false), Follow: true}
		inFile, err := want.Check(ctx, v)
		d.Changes = append(d.Changes, inFile.Changes...)
		return err
	}
	err = edit(file, &s.file, func(text string) string {
		if permanent(text) == s.Name {
			return text
		}
		return s.Name + "\n"
	})
	if err == nil && s.Hosts {
		err = edit(hosts, &s.hosts, func(text string) string { return withHost(text, s.Name) })
	}
	return d, err
}

// permanent is the name in a hostname(5), which may hold comments.
func permanent(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line
		}
	}
	return ""
}

// Apply writes the files and tells the kernel. /etc/hosts is first: from then
// on the host finds itself under either name.
func (s *set) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	for _, w := range []*hostfile.Want{&s.hosts, &s.file} {
		if w.Path == "" {
			continue
		}
		if err := w.Apply(ctx, m); err != nil {
			return err
		}
	}
	if !s.running {
		return nil
	}
	return tell(ctx, m, s.Name)
}

// tell asks systemd, which keeps the name for others too, and where it cannot
// be asked the kernel itself.
func tell(ctx context.Context, m modules.Machine, name string) error {
	var refused error
	if st, err := m.Stat("/run/systemd/system"); err == nil && st.Mode.IsDir() {
		if _, err := m.LookPath("hostnamectl"); err == nil {
			if refused, err = command(ctx, m, "hostnamectl", "--no-ask-password", "--static", "--transient", "set-hostname", name); err != nil || refused == nil {
				return err
			}
		}
	}
	failed, err := command(ctx, m, "hostname", name)
	if err == nil && failed != nil {
		err = errors.Join(refused, failed)
	}
	return err
}

// command returns what the program complained of apart from not being run.
func command(ctx context.Context, m modules.Machine, argv ...string) (failed, err error) {
	a, err := m.Run(ctx, modules.Cmd{Argv: argv, Env: []string{"LC_ALL=C"}})
	if err != nil || a.ExitCode == 0 {
		return nil, err
	}
	text := tool.Failure(a, false)
	if strings.Contains(text, "must be root") || strings.Contains(text, "not permitted") || strings.Contains(text, "authentication required") {
		text += "; the name is root's business: give the task :become(\"root\")"
	}
	return fmt.Errorf("%s: %s", argv[0], text), nil
}

// Plan lets later checks see the name.
func (s *set) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	o.Note(note, s.Name)
	for _, w := range []*hostfile.Want{&s.hosts, &s.file} {
		if w.Path == "" {
			continue
		}
		if err := w.Plan(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// Result names the host.
func (s *set) Result() map[string]any { return map[string]any{"name": s.Name} }

// get is hostname.get.
type get struct{}

// Query reads both names.
func (*get) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	now, err := running(ctx, v)
	if err != nil {
		return nil, err
	}
	b, err := hostfile.Read(v, file)
	switch {
	case hostfile.Missing(err):
		return []any{now, nil}, nil
	case err != nil:
		return nil, err
	}
	return []any{now, permanent(string(b))}, nil
}
