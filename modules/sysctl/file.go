package sysctl

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/spec"
)

const (
	defaultFile = "/etc/sysctl.conf"
	folder      = "/etc/sysctl.d"
	suffix      = ".conf"
	// readAtBoot is how systemd's hosts come to read the default file.
	readAtBoot = folder + "/99-sysctl.conf"
)

// file is where a parameter is kept for the next boot.
type file struct {
	File   string `lua:"sysctl_file" alias:"file,path,dest" doc:"File to set it in; a name without a slash is one in /etc/sysctl.d, and gets the end .conf"`
	Backup bool   `lua:"backup" doc:"Keep the old file beside the new one, as NAME.TIME~"`

	want    hostfile.Want
	unknown string // the file, where a plan cannot know what is in it
}

func (f *file) path(ctx context.Context) (string, error) {
	if strings.Contains(f.File, "/") {
		return spec.HostPath(f.File, modules.CallOf(ctx).Workdir)
	}
	name := f.File
	if !strings.HasSuffix(name, suffix) {
		name += suffix
	}
	return path.Join(folder, name), nil
}

func (f *file) checkFile() error {
	if f.File == "" || f.File == suffix || strings.HasSuffix(f.File, "/") || strings.ContainsAny(f.File, "\x00\n") {
		return fmt.Errorf("sysctl_file = %q is no name of a file", f.File)
	}
	return nil
}

// check compares the file with what it is after change. A file that is not
// there is made when create says so.
func (f *file) check(ctx context.Context, v facts.Viewer, create bool, change func(text string) string) (modules.Diff, error) {
	f.want, f.unknown = hostfile.Want{}, ""
	at, err := f.path(ctx)
	if err != nil {
		return modules.Diff{}, err
	}
	b, err := hostfile.Read(v, at)
	switch {
	case errors.Is(err, modules.ErrUnknown):
		f.unknown = at
		return modules.Diff{Changes: []modules.Change{{What: at, Attr: "content", Unknown: true}}}, nil
	case hostfile.Missing(err) && !create:
		return modules.Diff{}, nil
	case err != nil && !hostfile.Missing(err):
		return modules.Diff{}, err
	}
	after := change(string(b))
	if after == string(b) {
		return modules.Diff{}, nil
	}
	if at == defaultFile && unread(v) {
		modules.CallOf(ctx).Log("warn", "nothing reads "+defaultFile+" when this host boots; name a file of "+folder+" instead", nil)
	}
	f.want = hostfile.Want{Path: at, Source: hostfile.Bytes([]byte(after), false), Keep: hostfile.Keep{Backup: f.Backup}, Follow: true}
	return f.want.Check(ctx, v)
}

// unread reports that systemd boots the host and does not know the default file.
func unread(v facts.Viewer) bool {
	if st, err := v.Stat("/run/systemd/system"); err != nil || !st.Mode.IsDir() {
		return false
	}
	for _, link := range []string{readAtBoot, "/usr/lib/sysctl.d/99-sysctl.conf", "/lib/sysctl.d/99-sysctl.conf"} {
		if _, err := v.Lstat(link); err == nil {
			return false
		}
	}
	return true
}

func (f *file) apply(ctx context.Context, m modules.Machine) error {
	if f.want.Path == "" {
		return nil
	}
	return f.want.Apply(ctx, m)
}

func (f *file) plan(ctx context.Context, o modules.Overlay) error {
	if f.unknown != "" {
		o.PutUnknownFile(f.unknown, 0o644)
	}
	if f.want.Path == "" {
		return nil
	}
	return f.want.Plan(ctx, o)
}

// Result says where the file is.
func (f *file) Result() map[string]any {
	out := map[string]any{}
	if f.want.Path != "" {
		out["path"] = f.want.Final()
	}
	if b := f.want.BackupFile(); b != "" {
		out["backup_file"] = b
	}
	return out
}

// assignment takes a line apart. lead is what stands before the name: a - says
// that errors do not matter.
func assignment(line string) (lead, name, value string, ok bool) {
	text := strings.TrimSpace(line)
	if text == "" || text[0] == '#' || text[0] == ';' {
		return "", "", "", false
	}
	name, value, ok = strings.Cut(text, "=")
	name = strings.TrimSpace(name)
	if rest, minus := strings.CutPrefix(name, "-"); minus {
		lead, name = "-", strings.TrimSpace(rest)
	}
	return lead, name, strings.TrimSpace(value), ok
}

// put sets k where it stands; the last line of several counts, so that the
// others go. A new one goes to the end.
func put(text string, k key, value string) string {
	lines := strings.SplitAfter(text, "\n")
	first, last, has := -1, "", false
	for i, l := range lines {
		if _, name, is, ok := assignment(l); ok && k.is(name) {
			if first < 0 {
				first = i
			}
			last, has = is, true
		}
	}
	if has && same(last, value) {
		return text
	}
	var out strings.Builder
	for i, l := range lines {
		lead, name, _, ok := assignment(l)
		switch {
		case i == first:
			out.WriteString(lead + name + "=" + value + "\n")
		case !ok || !k.is(name):
			out.WriteString(l)
		}
	}
	if has {
		return out.String()
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		out.WriteString("\n")
	}
	return out.String() + k.name + "=" + value + "\n"
}

// drop takes all lines of k away.
func drop(text string, k key) string {
	var out strings.Builder
	for l := range strings.Lines(text) {
		if _, name, _, ok := assignment(l); !ok || !k.is(name) {
			out.WriteString(l)
		}
	}
	return out.String()
}
