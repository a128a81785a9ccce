package timezone

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

const (
	adjtime = "/etc/adjtime"
	note    = "hwclock"
)

// set is timezone.set.
type set struct {
	Name    string `lua:"name,primary" alias:"zone,timezone" doc:"The zone, such as Europe/Berlin; without it the zone stays"`
	Hwclock string `lua:"hwclock" alias:"rtc" enum:"UTC,local" doc:"Whether the hardware clock runs in UTC or in the local time; without it that stays"`

	link  bool          // /etc/localtime is another one
	file  hostfile.Want // /etc/timezone
	clock bool
}

// Validate checks the name.
func (s *set) Validate() error {
	if s.Name == "" {
		if s.Hwclock == "" {
			return errors.New("name is missing: the time zone, such as Europe/Berlin")
		}
		return nil
	}
	return validate(s.Name)
}

// Check compares the link, the file and the clock.
func (s *set) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	s.link, s.file, s.clock = false, hostfile.Want{}, false
	if s.Name != "" {
		if err := s.zone(ctx, v, &d); err != nil {
			return d, err
		}
	}
	if s.Hwclock != "" {
		is, err := clock(v)
		if err != nil {
			return d, err
		}
		if s.clock = is != s.Hwclock; s.clock {
			d.Add(modules.Change{What: "hardware clock", Attr: "time", Before: is, After: s.Hwclock})
		}
	}
	return d, nil
}

func (s *set) zone(ctx context.Context, v facts.Viewer, d *modules.Diff) error {
	if err := exists(v, s.Name); err != nil {
		return err
	}
	st, err := v.Lstat(localtime)
	if err != nil && !hostfile.Missing(err) {
		return err
	}
	is, err := current(v)
	if err != nil {
		return err
	}
	// Without the link programs take UTC, but none of them could say so.
	if s.link = is != s.Name || st.Link == ""; s.link {
		before := st.Link
		if before == "" {
			before = map[bool]string{true: "a file", false: modules.Absent}[st.Mode.IsRegular() && st.Path != ""]
		}
		d.Add(modules.Change{What: localtime, Attr: "link", Before: before, After: path.Join(zoneinfo, s.Name)})
	}
	b, err := hostfile.Read(v, nameFile)
	switch {
	case hostfile.Missing(err):
		if _, err := v.Stat(debian); err != nil {
			return nil // others have no such file
		}
	case err != nil && !errors.Is(err, modules.ErrUnknown):
		return err
	}
	if strings.TrimSpace(string(b)) == s.Name {
		return nil
	}
	s.file = hostfile.Want{Path: nameFile, Source: hostfile.Bytes([]byte(s.Name+"\n"), false), Follow: true}
	inFile, err := s.file.Check(ctx, v)
	d.Changes = append(d.Changes, inFile.Changes...)
	return err
}

// clock reads the third line of adjtime(5).
func clock(v facts.Viewer) (string, error) {
	if planned, ok := modules.Noted(v, note); ok {
		return planned, nil
	}
	b, err := hostfile.Read(v, adjtime)
	if err != nil && !hostfile.Missing(err) {
		return "", err
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) > 2 && strings.TrimSpace(lines[2]) == "LOCAL" {
		return "local", nil
	}
	return "UTC", nil
}

// Apply sets the zone, and then the clock, which may be set by it.
func (s *set) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if s.link {
		if err := m.Symlink(path.Join(zoneinfo, s.Name), localtime); err != nil {
			return err
		}
	}
	if s.file.Path != "" {
		if err := s.file.Apply(ctx, m); err != nil {
			return err
		}
	}
	if !s.clock {
		return nil
	}
	return s.setClock(ctx, m)
}

// setClock asks systemd, or sets the clock from the system's time.
func (s *set) setClock(ctx context.Context, m modules.Machine) error {
	utc := s.Hwclock == "UTC"
	argv := []string{"hwclock", "--systohc", map[bool]string{true: "--utc", false: "--localtime"}[utc]}
	if st, err := m.Stat("/run/systemd/system"); err == nil && st.Mode.IsDir() {
		if _, err := m.LookPath("timedatectl"); err == nil {
			argv = []string{"timedatectl", "--no-ask-password", "set-local-rtc", map[bool]string{true: "0", false: "1"}[utc]}
		}
	}
	if _, err := m.LookPath(argv[0]); err != nil {
		return fmt.Errorf("neither systemd nor hwclock is on this host to set the hardware clock; pkg.install(\"util-linux-extra\") or hwclock's package brings it")
	}
	a, err := m.Run(ctx, modules.Cmd{Argv: argv, Env: []string{"LC_ALL=C"}})
	if err != nil {
		return err
	}
	if a.ExitCode != 0 {
		return fmt.Errorf("%s: %s; virtual machines often have no hardware clock to set", strings.Join(argv, " "), tool.Failure(a, false))
	}
	is, err := clock(m)
	if err == nil && is != s.Hwclock {
		err = fmt.Errorf("%s ended well, but %s says that the hardware clock runs in %s", argv[0], adjtime, is)
	}
	return err
}

// Plan lets later checks see the zone.
func (s *set) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	if s.link {
		o.PutLink(localtime, path.Join(zoneinfo, s.Name))
	}
	if s.clock {
		o.Note(note, s.Hwclock)
	}
	if s.file.Path == "" {
		return nil
	}
	return s.file.Plan(ctx, o)
}

// Result names the zone.
func (s *set) Result() map[string]any { return map[string]any{"name": s.Name} }

// get is timezone.get.
type get struct{}

// Query reads the link.
func (*get) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	name, err := current(v)
	if err != nil || name == "" {
		return []any{nil}, err
	}
	return []any{name}, nil
}
