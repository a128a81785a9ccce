package systemd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

const unitFolder = "/etc/systemd/system"

// unitFolders are those that systemd looks into.
var unitFolders = []string{unitFolder, "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// tell lets systemd see that a unit file has changed, if it would look there.
func tell(ctx context.Context, m modules.Machine, folder string) error {
	if !booted(m) || !slices.Contains(unitFolders, filepath.Clean(folder)) {
		return nil
	}
	return systemctl(ctx, m, "daemon-reload")
}

// create is systemd.create_service.
type create struct {
	Name        string            `lua:"name,required,primary" alias:"service,unit" doc:"Name of the service"`
	Content     string            `lua:"content" doc:"The whole unit file, instead of the arguments below"`
	Description string            `lua:"description" doc:"What it is, in a few words"`
	ExecStart   string            `lua:"exec_start" alias:"exec,command" doc:"Command line of the service; its program is an absolute path"`
	ExecReload  string            `lua:"exec_reload" doc:"Command that lets it read its configuration again"`
	ExecStop    string            `lua:"exec_stop" doc:"Command that stops it; without one its processes get SIGTERM"`
	Type        string            `lua:"type" enum:"simple,exec,forking,oneshot,notify,dbus,idle" doc:"How systemd learns that it is up"`
	User        string            `lua:"user" doc:"User it runs as; root without it"`
	Group       string            `lua:"group" doc:"Group it runs as"`
	Dir         string            `lua:"working_directory" alias:"workdir" doc:"Folder it runs in"`
	Environment map[string]string `lua:"environment" alias:"env" doc:"Variables of its environment; everybody on the host can read them"`
	EnvFile     string            `lua:"environment_file" doc:"File with such variables"`
	Restart     string            `lua:"restart" enum:"no,always,on-success,on-failure,on-abnormal,on-abort,on-watchdog" doc:"When systemd starts it again"`
	RestartSec  string            `lua:"restart_sec" doc:"How long it waits before that, such as \"5s\""`
	After       []string          `lua:"after" doc:"Units that are started before it"`
	Wants       []string          `lua:"wants" doc:"Units that are started with it"`
	Requires    []string          `lua:"requires" doc:"Units that it cannot do without"`
	WantedBy    []string          `lua:"wanted_by" doc:"Targets that start it once it is enabled"`
	Enable      bool              `lua:"enabled" alias:"enable" doc:"Enable it too"`
	Start       bool              `lua:"started" alias:"start" doc:"Start it too; when its unit file changes while it runs, it is restarted"`
	Folder      string            `lua:"folder,path" doc:"Where unit files are"`

	want *hostfile.Want
	file bool // the file differs
	told bool // systemd has read the file as it is on disk
	unit Unit
	acts []string // verbs after that
}

func newCreate() any {
	return &create{Type: "simple", Restart: "on-failure", WantedBy: []string{"multi-user.target"}, Folder: unitFolder}
}

// Validate asks for a command or a content, and for values of one line each.
func (c *create) Validate() error {
	name, err := unitName(c.Name)
	if err != nil {
		return err
	}
	c.Name = name
	switch {
	case c.Content != "" && c.ExecStart != "":
		return errors.New("give one of content and exec_start")
	case c.Content == "" && c.ExecStart == "":
		return errors.New("exec_start is missing: command line of the service")
	}
	if c.Content != "" {
		return nil
	}
	for _, line := range c.lines() {
		if strings.ContainsAny(line, "\n\r\x00") {
			return fmt.Errorf("%q has a line break in it, which a unit file cannot hold; use content", line)
		}
	}
	return nil
}

func (c *create) lines() []string {
	out := []string{"[Unit]"}
	add := func(key, value string) {
		if value != "" {
			out = append(out, key+"="+value)
		}
	}
	description := c.Description
	if description == "" {
		description = strings.TrimSuffix(c.Name, ".service")
	}
	add("Description", description)
	add("Requires", strings.Join(c.Requires, " "))
	add("Wants", strings.Join(c.Wants, " "))
	add("After", strings.Join(c.After, " "))
	out = append(out, "", "[Service]")
	add("Type", c.Type)
	add("User", c.User)
	add("Group", c.Group)
	add("WorkingDirectory", c.Dir)
	for _, k := range slices.Sorted(maps.Keys(c.Environment)) {
		add("Environment", quote(k+"="+c.Environment[k]))
	}
	add("EnvironmentFile", c.EnvFile)
	add("ExecStart", c.ExecStart)
	add("ExecReload", c.ExecReload)
	add("ExecStop", c.ExecStop)
	add("Restart", c.Restart)
	add("RestartSec", c.RestartSec)
	out = append(out, "", "[Install]")
	add("WantedBy", strings.Join(c.WantedBy, " "))
	return out
}

// quote writes one word of a unit file; % would begin a specifier.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(text) + `"`
}

func (c *create) path() string { return filepath.Join(c.Folder, c.Name) }

// Result adds the path.
func (c *create) Result() map[string]any { return map[string]any{"path": c.path()} }

// Check compares the unit file and the state of the unit.
func (c *create) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	text := c.Content
	if text == "" {
		text = strings.Join(c.lines(), "\n")
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	c.want = &hostfile.Want{Path: c.path(), Source: hostfile.Bytes([]byte(text), false)}
	d, err := c.want.Check(ctx, v)
	if err != nil {
		return d, err
	}
	c.file, c.told, c.acts, c.unit = !d.Empty(), true, nil, Unit{Name: c.Name, Props: map[string]string{}}
	if !booted(v) {
		if c.Enable || c.Start {
			return d, errors.New("this host does not run systemd, so the service can be neither enabled nor started")
		}
		return d, nil
	}
	if c.unit, err = One(ctx, v, c.Name); err != nil {
		return d, err
	}
	// A run that was cut off may have written the file and no more.
	if c.told = c.unit.Props["NeedDaemonReload"] != "yes"; !c.told && !c.file {
		d.Add(modules.Change{What: c.Name, Attr: "unit file", Before: "changed", After: "read again"})
	}
	if c.Enable && !c.unit.Enabled() {
		c.acts = append(c.acts, "enable")
		d.Add(modules.Change{What: c.Name, Attr: "enablement", Before: c.unit.Enablement(), After: enabled})
	}
	switch {
	case c.Start && !c.unit.Active():
		c.acts = append(c.acts, "start")
		d.Add(modules.Change{What: c.Name, Attr: "state", Before: c.unit.State(), After: active})
	case c.Start && (c.file || !c.told):
		c.acts = append(c.acts, "restart")
		d.Add(modules.Change{What: c.Name, Attr: "restart", Before: c.unit.State(), After: "restarted"})
	}
	return d, nil
}

// Apply writes the file, lets systemd read it, and does what else was found.
func (c *create) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if c.file {
		if err := c.want.Apply(ctx, m); err != nil {
			return err
		}
	}
	if c.file || !c.told {
		if err := tell(ctx, m, c.Folder); err != nil {
			return err
		}
	}
	for _, verb := range c.acts {
		if err := act(ctx, m, verb, Unit{Name: c.Name}); err != nil {
			return err
		}
	}
	return nil
}

// Plan lets later checks see file and states.
func (c *create) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	if c.file {
		if err := c.want.Plan(ctx, o); err != nil {
			return err
		}
	}
	o.Note(note(c.Name, "LoadState"), "loaded")
	for _, verb := range c.acts {
		if verb == "enable" {
			o.Note(note(c.Name, "UnitFileState"), enabled)
		} else {
			o.Note(note(c.Name, "ActiveState"), active)
		}
	}
	if c.file && !c.unit.Exists() && !c.Enable {
		o.Note(note(c.Name, "UnitFileState"), disabled)
	}
	return nil
}

// remove is systemd.remove_service.
type remove struct {
	Name   string `lua:"name,required,primary" alias:"service,unit" doc:"Name of the service"`
	Folder string `lua:"folder,path" doc:"Where its unit file is; what packages bring lies elsewhere and is not touched"`

	verbs []string
	file  bool
}

func newRemove() any { return &remove{Folder: unitFolder} }

// Validate checks the name.
func (r *remove) Validate() error {
	name, err := unitName(r.Name)
	r.Name = name
	return err
}

func (r *remove) path() string { return filepath.Join(r.Folder, r.Name) }

// Result adds the path.
func (r *remove) Result() map[string]any { return map[string]any{"path": r.path()} }

// Check looks for the file and the unit.
func (r *remove) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	r.verbs, r.file = nil, false
	st, err := v.Lstat(r.path())
	if err != nil && !hostfile.Missing(err) {
		return d, err
	}
	r.file = err == nil
	if r.file && st.Mode.IsDir() {
		return d, fmt.Errorf("%s is a folder", r.path())
	}
	if booted(v) {
		u, err := One(ctx, v, r.Name)
		if err != nil {
			return d, err
		}
		if from := u.Props["FragmentPath"]; from != "" && !r.file {
			return d, fmt.Errorf("the unit file of %s is %s, which this function leaves alone; pkg.remove its package, or systemd.mask it", r.Name, from)
		}
		if u.State() != inactive && u.State() != "failed" && u.State() != "" {
			r.verbs = append(r.verbs, "stop")
			d.Add(modules.Change{What: r.Name, Attr: "state", Before: u.State(), After: inactive})
		}
		if r.file && u.Enabled() {
			r.verbs = append(r.verbs, "disable")
			d.Add(modules.Change{What: r.Name, Attr: "enablement", Before: u.Enablement(), After: disabled})
		}
	}
	if r.file {
		d.Add(modules.Delete(r.path(), "file"))
	}
	return d, nil
}

// Apply stops, disables, removes.
func (r *remove) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	for _, verb := range r.verbs {
		if err := systemctl(ctx, m, verb, "--", r.Name); err != nil {
			return err
		}
	}
	if !r.file {
		return nil
	}
	if err := m.Remove(r.path()); err != nil {
		return err
	}
	return tell(ctx, m, r.Folder)
}

// Plan lets later checks see that it is gone.
func (r *remove) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	if r.file {
		o.Remove(r.path())
	}
	o.Note(note(r.Name, "LoadState"), notFound)
	o.Note(note(r.Name, "ActiveState"), inactive)
	o.Note(note(r.Name, "UnitFileState"), "")
	return nil
}
