package pkg

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
)

// exitOnLock keeps dnf and yum from waiting for locks themselves: they would do so
// without end, and tell nobody.
const exitOnLock = "--setopt=exit_on_lock=1"

// rpm is dnf, yum and zypper: they differ in commands, and share the database.
type rpm struct{ tool string }

func (r rpm) name() string { return r.tool }

func (rpm) environment() []string { return nil }

// refreshed is the newest time of a repository's index, which dnf touches even
// when nothing was new; zypper does not.
func (r rpm) refreshed(v facts.Viewer) time.Time {
	if dir := r.lists(); dir != "" {
		return folderTime(v, dir, "")
	}
	var newest time.Time
	repos, err := v.ReadDir("/var/cache/dnf")
	if err != nil {
		return newest
	}
	for _, repo := range repos {
		files, err := v.ReadDir(path.Join("/var/cache/dnf", repo.Name, "repodata"))
		if err != nil {
			continue
		}
		for _, f := range files {
			if at := time.Unix(0, f.MTime); strings.Contains(f.Name, "primary") && at.After(newest) {
				newest = at
			}
		}
	}
	return newest
}

func (r rpm) lists() string {
	if r.tool == "zypper" {
		return "/var/cache/zypp/raw"
	}
	return ""
}

func (r rpm) downloads() []string {
	if r.tool == "zypper" {
		return []string{"/var/cache/zypp/packages"}
	}
	return []string{"/var/cache/" + r.tool}
}

func (rpm) installed(ctx context.Context, v facts.Viewer, names []string) (map[string]string, error) {
	argv := []string{"rpm", "-q", "--qf", `%{NAME}\t%{VERSION}-%{RELEASE}\n`}
	if len(names) == 0 {
		argv = append(argv, "-a")
	}
	// rpm -q ends with the number of packages that are not installed.
	text, err := ask(ctx, v, anyCode, append(argv, names...)...)
	out := map[string]string{}
	for _, f := range fields(text) { // "package x is not installed" has no tab
		if len(f) == 2 {
			out[f[0]] = f[1]
		}
	}
	return out, err
}

func (r rpm) candidates(ctx context.Context, v facts.Viewer, names []string) (map[string]string, error) {
	out := map[string]string{}
	if r.tool == "zypper" {
		text, err := ask(ctx, v, []int{104}, append([]string{"zypper", "--non-interactive", "--no-refresh", "info"}, names...)...)
		name := ""
		for line := range strings.Lines(text) {
			key, value, _ := strings.Cut(line, ":")
			switch strings.TrimSpace(key) {
			case "Name":
				name = strings.TrimSpace(value)
			case "Version":
				out[name] = strings.TrimSpace(value)
			}
		}
		return out, err
	}
	argv := []string{r.tool, "-q", exitOnLock, "repoquery", "--latest-limit=1", "--qf", "%{name}\t%{version}-%{release}\n"}
	if r.tool == "yum" {
		argv = []string{"repoquery", "-q", "--qf", "%{name}\t%{version}-%{release}"}
		if _, err := v.LookPath("repoquery"); err != nil {
			argv = []string{"yum", "-q", "repoquery", "--qf", "%{name}\t%{version}-%{release}\n"}
		}
	}
	text, err := ask(ctx, v, []int{1}, append(argv, names...)...)
	for _, f := range fields(text) {
		if len(f) == 2 {
			out[f[0]] = f[1]
		}
	}
	return out, err
}

func (r rpm) upgradable(ctx context.Context, v facts.Viewer) (map[string]string, error) {
	out := map[string]string{}
	if r.tool == "zypper" {
		text, err := ask(ctx, v, nil, "zypper", "--non-interactive", "--no-refresh", "list-updates")
		for line := range strings.Lines(text) { // S | Repository | Name | Current | Available | Arch
			if c := strings.Split(line, "|"); len(c) >= 6 && strings.TrimSpace(c[0]) == "v" {
				out[strings.TrimSpace(c[2])] = strings.TrimSpace(c[4])
			}
		}
		return out, err
	}
	text, err := ask(ctx, v, []int{100}, r.tool, "-q", exitOnLock, "check-update") // 100: there are some
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if strings.HasPrefix(line, "Obsoleting") {
			break
		}
		if len(f) == 3 && strings.Contains(f[0], ".") {
			out[f[0][:strings.LastIndexByte(f[0], '.')]] = f[1]
		}
	}
	return out, err
}

func (r rpm) orphans(ctx context.Context, v facts.Viewer) ([]string, error) {
	if r.tool == "zypper" {
		text, err := ask(ctx, v, nil, "zypper", "--non-interactive", "--no-refresh", "packages", "--unneeded")
		var out []string
		for line := range strings.Lines(text) {
			if c := strings.Split(line, "|"); len(c) >= 5 && strings.HasPrefix(line, "i") {
				out = append(out, strings.TrimSpace(c[2]))
			}
		}
		return out, err
	}
	text, err := ask(ctx, v, nil, r.tool, "-q", exitOnLock, "repoquery", "--unneeded", "--qf", "%{name}\n")
	return strings.Fields(text), err
}

func (r rpm) command(do verb, _ options, pkgs []wish) []string {
	argv := []string{r.tool, "-y", exitOnLock}
	words := map[verb][]string{
		doInstall: {"install"}, doLocal: {"install"}, doRemove: {"remove"}, doPurge: {"remove"},
		doRefresh: {"makecache"}, doUpgrade: {"upgrade"}, doUpgradeAll: {"upgrade"},
		doClean: {"clean", "packages"}, doAutoremove: {"autoremove"},
	}
	if r.tool == "zypper" {
		argv = []string{"zypper", "--non-interactive"}
		words = map[verb][]string{
			doInstall: {"install", "--auto-agree-with-licenses"}, doLocal: {"install", "--allow-unsigned-rpm"},
			doRemove: {"remove"}, doPurge: {"remove"}, doRefresh: {"refresh"}, doUpgrade: {"update"},
			doUpgradeAll: {"update"}, doClean: {"clean"}, doAutoremove: {"remove", "--clean-deps"},
		}
	}
	argv = append(argv, words[do]...)
	if r.tool == "zypper" && do == doInstall && slices.ContainsFunc(pkgs, func(p wish) bool { return p.version != "" }) {
		argv = append(argv, "--oldpackage") // a pin may go back
	}
	between := "-"
	if r.tool == "zypper" {
		between = "="
	}
	for _, p := range pkgs {
		if p.version != "" {
			p.name += between + p.version
		}
		argv = append(argv, p.name)
	}
	return argv
}

func (r rpm) search(ctx context.Context, v facts.Viewer, text string) ([][2]string, error) {
	if r.tool == "zypper" {
		out, err := ask(ctx, v, []int{104}, "zypper", "--non-interactive", "--no-refresh", "search", "--search-descriptions", "--", text)
		var found [][2]string
		for line := range strings.Lines(out) { // S | Name | Summary | Type
			if c := strings.Split(line, "|"); len(c) >= 4 && strings.TrimSpace(c[1]) != "Name" {
				found = append(found, [2]string{strings.TrimSpace(c[1]), strings.TrimSpace(c[2])})
			}
		}
		return found, err
	}
	out, err := ask(ctx, v, []int{1}, r.tool, "-q", exitOnLock, "search", text)
	found := pairs(out, " : ")
	for i, f := range found {
		if at := strings.LastIndexByte(f[0], '.'); at > 0 {
			found[i][0] = f[0][:at] // nginx.x86_64
		}
	}
	return found, err
}

func (rpm) describe(ctx context.Context, v facts.Viewer, name string) (map[string]any, error) {
	text, err := ask(ctx, v, []int{1}, "rpm", "-q", "--qf", `%{SUMMARY}\t%{ARCH}\t%{URL}\t%{GROUP}\n`, name)
	for _, f := range fields(text) {
		if len(f) == 4 {
			return map[string]any{"description": f[0], "architecture": f[1], "homepage": f[2], "section": f[3]}, nil
		}
	}
	return nil, err
}

func (rpm) owner(ctx context.Context, v facts.Viewer, file string) (string, error) {
	text, err := ask(ctx, v, []int{1}, "rpm", "-qf", "--qf", `%{NAME}\t\n`, file)
	for _, f := range fields(text) {
		if len(f) == 2 {
			return f[0], nil
		}
	}
	return "", err
}

func (rpm) depends(ctx context.Context, v facts.Viewer, name string) ([]string, error) {
	text, err := ask(ctx, v, nil, "rpm", "-q", "--requires", name)
	return lines(text), err
}

func (rpm) identify(ctx context.Context, v facts.Viewer, file string) (string, string, error) {
	text, err := ask(ctx, v, nil, "rpm", "-qp", "--qf", `%{NAME}\t%{VERSION}-%{RELEASE}\n`, file)
	if f := fields(text); err == nil && len(f) == 1 && len(f[0]) == 2 {
		return f[0][0], f[0][1], nil
	}
	if err == nil {
		err = fmt.Errorf("%s is no RPM package", file)
	}
	return "", "", err
}

func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}
