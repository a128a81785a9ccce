package pkg

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
)

// pacman is Arch's.
type pacman struct{}

func (pacman) name() string                         { return "pacman" }
func (pacman) environment() []string                { return nil }
func (pacman) downloads() []string                  { return []string{"/var/cache/pacman/pkg"} }
func (pacman) lists() string                        { return "/var/lib/pacman/sync" }
func (p pacman) refreshed(v facts.Viewer) time.Time { return folderTime(v, p.lists(), ".db") }

func (pacman) installed(ctx context.Context, v facts.Viewer, names []string) (map[string]string, error) {
	text, err := ask(ctx, v, anyCode, append([]string{"pacman", "-Q"}, names...)...)
	return words(text, 1), err
}

// words reads lines of a name and, at a place after it, a version.
func words(text string, at int) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > at {
			out[f[0]] = f[at]
		}
	}
	return out
}

func (pacman) candidates(ctx context.Context, v facts.Viewer, names []string) (map[string]string, error) {
	// -Sp says nothing at all when it does not know one of them.
	text, err := ask(ctx, v, anyCode, append([]string{"pacman", "-Si", "--"}, names...)...)
	return parseInfo(text), err
}

// parseInfo reads names and versions of pacman -Si. Of a package that several
// repositories have the first one counts.
func parseInfo(text string) map[string]string {
	out := map[string]string{}
	name := ""
	for _, p := range pairs(text, " : ") {
		switch p[0] {
		case "Name":
			name = p[1]
		case "Version":
			if _, twice := out[name]; !twice && name != "" {
				out[name] = p[1]
			}
		}
	}
	return out
}

func (pacman) upgradable(ctx context.Context, v facts.Viewer) (map[string]string, error) {
	text, err := ask(ctx, v, []int{1}, "pacman", "-Qu") // name old -> new
	return words(text, 3), err
}

func (pacman) orphans(ctx context.Context, v facts.Viewer) ([]string, error) {
	text, err := ask(ctx, v, []int{1}, "pacman", "-Qdtq")
	return strings.Fields(text), err
}

func (pacman) command(do verb, _ options, pkgs []wish) []string {
	argv := append([]string{"pacman", "--noconfirm"}, map[verb][]string{
		doInstall: {"-S", "--needed"}, doLocal: {"-U", "--needed"}, doRemove: {"-R"}, doPurge: {"-Rn"}, doRefresh: {"-Sy"},
		doUpgrade: {"-S", "--needed"}, doUpgradeAll: {"-Su"}, doClean: {"-Scc"}, doAutoremove: {"-Rns"},
	}[do]...)
	for _, p := range pkgs {
		argv = append(argv, p.name) // pacman knows no versions but the newest
	}
	return argv
}

func (pacman) search(ctx context.Context, v facts.Viewer, text string) ([][2]string, error) {
	out, err := ask(ctx, v, []int{1}, "pacman", "-Ss", "--", text)
	var found [][2]string
	for line := range strings.Lines(out) { // "repo/name version", and below it, indented, what it is
		if f := strings.Fields(line); len(f) > 0 && line[0] != ' ' {
			found = append(found, [2]string{path.Base(f[0]), ""})
		} else if len(found) > 0 {
			found[len(found)-1][1] = strings.TrimSpace(line)
		}
	}
	return found, err
}

func (pacman) describe(ctx context.Context, v facts.Viewer, name string) (map[string]any, error) {
	text, err := ask(ctx, v, []int{1}, "pacman", "-Si", "--", name)
	about := map[string]any{}
	for _, p := range pairs(text, " : ") {
		switch p[0] {
		case "Description", "Architecture":
			about[strings.ToLower(p[0])] = p[1]
		case "URL":
			about["homepage"] = p[1]
		}
	}
	if len(about) == 0 {
		return nil, err
	}
	return about, err
}

func (pacman) owner(ctx context.Context, v facts.Viewer, file string) (string, error) {
	text, err := ask(ctx, v, []int{1}, "pacman", "-Qoq", "--", file)
	return strings.TrimSpace(text), err
}

func (pacman) depends(ctx context.Context, v facts.Viewer, name string) ([]string, error) {
	text, err := ask(ctx, v, []int{1}, "pacman", "-Si", "--", name)
	for _, p := range pairs(text, " : ") {
		if p[0] == "Depends On" && p[1] != "None" {
			return strings.Fields(p[1]), err
		}
	}
	return nil, err
}

func (pacman) identify(ctx context.Context, v facts.Viewer, file string) (string, string, error) {
	text, err := ask(ctx, v, nil, "pacman", "-Qp", "--", file)
	for name, version := range words(text, 1) {
		return name, version, nil
	}
	return "", "", errors.Join(err, fmt.Errorf("%s is no package of pacman", file))
}

// apk is Alpine's.
type apk struct{}

func (apk) name() string          { return "apk" }
func (apk) environment() []string { return nil }
func (apk) downloads() []string   { return []string{"/var/cache/apk"} }

func (apk) refreshed(v facts.Viewer) time.Time {
	list, err := v.ReadDir("/var/cache/apk")
	newest := time.Time{}
	for _, f := range list {
		if t := time.Unix(0, f.MTime); err == nil && strings.HasPrefix(f.Name, "APKINDEX") && t.After(newest) {
			newest = t
		}
	}
	return newest
}

// split takes "nginx-1.26.2-r0" apart.
func split(full string) (name, version string, ok bool) {
	rest, release, ok := cutLast(full, "-")
	if !ok {
		return "", "", false
	}
	name, version, ok = cutLast(rest, "-")
	return name, version + "-" + release, ok
}

func cutLast(text, at string) (before, after string, ok bool) {
	i := strings.LastIndex(text, at)
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+len(at):], true
}

func (apk) versions(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 0 {
			if name, version, ok := split(f[0]); ok {
				out[name] = version
			}
		}
	}
	return out
}

func (a apk) installed(ctx context.Context, v facts.Viewer, names []string) (map[string]string, error) {
	text, err := ask(ctx, v, nil, "apk", "info", "-v")
	all := a.versions(text)
	if len(names) == 0 {
		return all, err
	}
	out := map[string]string{}
	for _, n := range names {
		if version, ok := all[n]; ok {
			out[n] = version
		}
	}
	return out, err
}

func (a apk) candidates(ctx context.Context, v facts.Viewer, names []string) (map[string]string, error) {
	text, err := ask(ctx, v, []int{1}, append([]string{"apk", "search", "-x"}, names...)...)
	return a.versions(text), err
}

func (a apk) upgradable(ctx context.Context, v facts.Viewer) (map[string]string, error) {
	text, err := ask(ctx, v, nil, "apk", "version", "-l", "<") // nginx-1.24-r0 < 1.26-r0
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && f[1] == "<" {
			if name, _, ok := split(f[0]); ok {
				out[name] = f[2]
			}
		}
	}
	return out, err
}

// orphans is empty: apk removes them by itself.
func (apk) orphans(context.Context, facts.Viewer) ([]string, error) { return nil, nil }

func (apk) command(do verb, _ options, pkgs []wish) []string {
	argv := append([]string{"apk", "--no-progress"}, map[verb][]string{
		doInstall: {"add"}, doLocal: {"add", "--allow-untrusted"}, doRemove: {"del"}, doPurge: {"del", "--purge"}, doRefresh: {"update"},
		doUpgrade: {"add", "--upgrade"}, doUpgradeAll: {"upgrade"}, doClean: {"cache", "clean"}, doAutoremove: {"fix"},
	}[do]...)
	for _, p := range pkgs {
		switch start, fuzzy := strings.CutSuffix(p.version, "*"); {
		case fuzzy || p.version != "" && !strings.Contains(p.version, "-r"):
			p.name += "~" + strings.TrimRight(start, ".") // 1.26.2-r0 is 1.26
		case p.version != "":
			p.name += "=" + p.version
		}
		argv = append(argv, p.name)
	}
	return argv
}

func (apk) search(ctx context.Context, v facts.Viewer, text string) ([][2]string, error) {
	out, err := ask(ctx, v, nil, "apk", "search", "-v", "-d", "--", text)
	found := pairs(out, " - ")
	for i, f := range found {
		if name, _, ok := split(f[0]); ok {
			found[i][0] = name
		}
	}
	return found, err
}

func (apk) describe(ctx context.Context, v facts.Viewer, name string) (map[string]any, error) {
	found, err := apk{}.search(ctx, v, name)
	for _, f := range found {
		if f[0] == name {
			return map[string]any{"description": f[1]}, nil
		}
	}
	return nil, err
}

func (apk) owner(ctx context.Context, v facts.Viewer, file string) (string, error) {
	text, err := ask(ctx, v, []int{1}, "apk", "info", "-q", "--who-owns", file)
	if name, _, ok := split(strings.TrimSpace(text)); ok {
		return name, nil
	}
	return strings.TrimSpace(text), err
}

func (apk) depends(ctx context.Context, v facts.Viewer, name string) ([]string, error) {
	text, err := ask(ctx, v, []int{1}, "apk", "info", "-q", "-R", name)
	return lines(text), err
}

func (apk) identify(_ context.Context, _ facts.Viewer, file string) (string, string, error) {
	if name, version, ok := split(strings.TrimSuffix(path.Base(file), ".apk")); ok && strings.HasSuffix(file, ".apk") {
		return name, version, nil
	}
	return "", "", fmt.Errorf("%s is not named NAME-VERSION.apk", file)
}

// brew is macOS's. It refuses to run as root by itself.
type brew struct{}

func (brew) name() string { return "brew" }
func (brew) environment() []string {
	return []string{"HOMEBREW_NO_AUTO_UPDATE=1", "HOMEBREW_NO_ENV_HINTS=1", "NONINTERACTIVE=1"}
}
func (brew) downloads() []string              { return nil }
func (brew) refreshed(facts.Viewer) time.Time { return time.Time{} }

func (brew) installed(ctx context.Context, v facts.Viewer, names []string) (map[string]string, error) {
	text, err := ask(ctx, v, []int{1}, append([]string{"brew", "list", "--versions"}, names...)...)
	out := map[string]string{}
	for line := range strings.Lines(text) { // nginx 1.25.1 1.27.2
		if f := strings.Fields(line); len(f) > 1 {
			out[f[0]] = f[len(f)-1]
		}
	}
	return out, err
}

func (brew) candidates(ctx context.Context, v facts.Viewer, names []string) (map[string]string, error) {
	out := map[string]string{}
	for _, n := range names {
		text, err := ask(ctx, v, []int{1}, "brew", "info", n)
		if err != nil {
			return nil, err
		}
		if version := parseBrew(text); version != "" {
			out[n] = version
		}
	}
	return out, nil
}

// parseBrew reads the version in the first line of brew info:
//
//	==> nginx: stable 1.27.2 (bottled), HEAD
//	==> firefox: 119.0 (auto_updates)
func parseBrew(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	f := strings.Fields(first)
	if len(f) < 3 || f[0] != "==>" {
		return ""
	}
	if f[2] == "stable" && len(f) > 3 {
		f[2] = f[3]
	}
	return strings.TrimSuffix(f[2], ",")
}

func (brew) upgradable(ctx context.Context, v facts.Viewer) (map[string]string, error) {
	text, err := ask(ctx, v, nil, "brew", "outdated", "--verbose") // nginx (1.25.1) < 1.27.2
	return words(text, 3), err
}

func (brew) orphans(ctx context.Context, v facts.Viewer) ([]string, error) {
	text, err := ask(ctx, v, nil, "brew", "autoremove", "--dry-run")
	var out []string
	for _, l := range lines(text) {
		if !strings.HasPrefix(l, "==>") {
			out = append(out, strings.Fields(l)...)
		}
	}
	return out, err
}

func (brew) command(do verb, _ options, pkgs []wish) []string {
	argv := append([]string{"brew"}, map[verb][]string{
		doInstall: {"install"}, doLocal: {"install"}, doRemove: {"uninstall"}, doPurge: {"uninstall", "--zap"}, doRefresh: {"update"},
		doUpgrade: {"upgrade"}, doUpgradeAll: {"upgrade"}, doClean: {"cleanup"}, doAutoremove: {"autoremove"},
	}[do]...)
	for _, p := range pkgs {
		if p.version != "" {
			p.name += "@" + p.version
		}
		argv = append(argv, p.name)
	}
	return argv
}

func (brew) search(ctx context.Context, v facts.Viewer, text string) ([][2]string, error) {
	out, err := ask(ctx, v, []int{1}, "brew", "search", "--desc", "--eval-all", text)
	return pairs(out, ": "), err
}

func (brew) describe(ctx context.Context, v facts.Viewer, name string) (map[string]any, error) {
	text, err := ask(ctx, v, []int{1}, "brew", "desc", name)
	for _, p := range pairs(text, ": ") {
		return map[string]any{"description": p[1]}, nil
	}
	return nil, err
}

func (brew) owner(context.Context, facts.Viewer, string) (string, error) {
	return "", errors.New("brew cannot tell which package a file belongs to")
}

func (brew) depends(ctx context.Context, v facts.Viewer, name string) ([]string, error) {
	text, err := ask(ctx, v, nil, "brew", "deps", "--1", name)
	return lines(text), err
}

func (brew) identify(context.Context, facts.Viewer, string) (string, string, error) {
	return "", "", errors.New("brew installs no package files")
}
