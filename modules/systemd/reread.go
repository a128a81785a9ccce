package systemd

import (
	"context"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// reread lets systemd read its unit files again where one of them is not what
// it has in memory.
type reread struct{}

// Check asks systemd, which compares times, and looks itself for what systemd
// does not compare: files that hide the one that was read, and planned ones.
func (*reread) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	if !booted(v) {
		return d, errNotBooted
	}
	units, err := showUnits(ctx, v, []string{"Id", "LoadState", "FragmentPath", "NeedDaemonReload"}, []string{"*"})
	if err != nil {
		return d, err
	}
	files, err := unitFiles(v)
	if err != nil {
		return d, err
	}
	for _, u := range units {
		if u.Props["NeedDaemonReload"] == "yes" || files.differ(v, u) {
			d.Add(modules.Change{What: u.Name, Attr: "unit file", Before: "changed", After: "read again"})
		}
	}
	sort.Slice(d.Changes, func(i, j int) bool { return d.Changes[i].What < d.Changes[j].What })
	return d, nil
}

// Apply reloads.
func (*reread) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return systemctl(ctx, m, "daemon-reload")
}

// foundFiles are the unit files of a host, the first of each name, and the
// units whose drop-ins are planned.
type foundFiles struct {
	paths   map[string]string
	dropIns map[string]bool
}

func unitFiles(v facts.Viewer) (foundFiles, error) {
	f := foundFiles{map[string]string{}, map[string]bool{}}
	for _, dir := range unitFolders {
		list, err := v.ReadDir(dir)
		if hostfile.Missing(err) {
			continue
		}
		if err != nil {
			return f, err
		}
		for _, st := range list {
			full := path.Join(dir, st.Name)
			name, drops := strings.CutSuffix(st.Name, ".d")
			switch {
			case st.Mode.IsRegular() && f.paths[st.Name] == "":
				f.paths[st.Name] = full
			case st.Mode.IsDir() && drops && v.Planned():
				inside, err := v.ReadDir(full)
				if err != nil {
					return f, err
				}
				f.dropIns[name] = f.dropIns[name] || slices.ContainsFunc(inside, planned)
			case f.paths[st.Name] == "": // a link: an alias, or masked
				f.paths[st.Name] = "-"
			}
		}
	}
	return f, nil
}

// planned reports whether a file is one that is not on the host yet.
func planned(st facts.FileInfo) bool { return st.Inode == 0 }

// differ reports whether systemd would read another file for u, or another text.
func (f foundFiles) differ(v facts.Viewer, u Unit) bool {
	was, is := u.Props["FragmentPath"], f.paths[u.Name]
	if v.Planned() && (u.Exists() && f.dropIns[u.Name] || was != "" && f.changes(v, was)) {
		return true
	}
	switch {
	case is == "" || is == "-" || strings.HasPrefix(was, "/run/"): // what is generated or transient has its own order
		return false
	case was == "":
		return u.load() == notFound
	}
	return strings.TrimPrefix(is, "/usr") != strings.TrimPrefix(was, "/usr")
}

// changes reports whether a plan leaves another file at that path, or none.
func (foundFiles) changes(v facts.Viewer, at string) bool {
	st, err := v.Stat(at)
	return err == nil && planned(st) || hostfile.Missing(err)
}
