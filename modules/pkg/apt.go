package pkg

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
)

// apt is Debian's and its children's.
type apt struct{}

const aptLists = "/var/lib/apt/lists"

func (apt) name() string { return "apt" }

func (apt) environment() []string {
	return []string{"DEBIAN_FRONTEND=noninteractive", "APT_LISTCHANGES_FRONTEND=none", "NEEDRESTART_MODE=l", "UCF_FORCE_CONFFOLD=1"}
}

func (apt) downloads() []string { return []string{"/var/cache/apt/archives"} }

func (apt) installed(ctx context.Context, v facts.Viewer, names []string) (map[string]string, error) {
	argv := []string{"dpkg-query", "-W", `-f=${Package}\t${Architecture}\t${db:Status-Status}\t${Version}\n`, "--"}
	// dpkg-query ends with 1 when it does not know one of the names.
	text, err := ask(ctx, v, []int{1}, append(argv, names...)...)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, f := range fields(text) {
		if len(f) != 4 || f[2] != "installed" && !strings.HasPrefix(f[2], "triggers-") {
			continue // config-files, half-installed and the like
		}
		out[f[0]], out[f[0]+":"+f[1]] = f[3], f[3]
		if len(names) == 0 {
			delete(out, f[0]+":"+f[1])
		}
	}
	return out, nil
}

func (apt) candidates(ctx context.Context, v facts.Viewer, names []string) (map[string]string, error) {
	text, err := ask(ctx, v, nil, append([]string{"apt-cache", "policy", "--"}, names...)...)
	return parsePolicy(text), err
}

// aptUnwritten keeps a question of a plan from writing apt's own caches. It costs
// apt a second to do without, so it may use those that are up to date.
func aptUnwritten(v facts.Viewer, argv []string) []string {
	if !v.Planned() || argv[0] != "apt-cache" && argv[0] != "apt-get" {
		return argv
	}
	cache, err := v.Stat("/var/cache/apt/pkgcache.bin")
	for _, source := range []string{aptLists, "/var/lib/dpkg/status", "/etc/apt/sources.list", "/etc/apt/sources.list.d"} {
		if st, missing := v.Stat(source); missing == nil && err == nil && st.MTime >= cache.MTime {
			err = fs.ErrNotExist // as good as none
		}
	}
	if err == nil {
		return argv
	}
	return slices.Concat(argv[:1], []string{"-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="}, argv[1:])
}

// parsePolicy reads apt-cache policy:
//
//	nginx:
//	  Installed: (none)
//	  Candidate: 1.22.1-9
func parsePolicy(text string) map[string]string {
	out := map[string]string{}
	name := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if line != "" && line[0] != ' ' {
			name = strings.TrimSuffix(line, ":")
			continue
		}
		if c, ok := strings.CutPrefix(line, "  Candidate: "); ok && c != "(none)" && name != "" {
			out[name] = c
		}
	}
	return out
}

func (apt) upgradable(ctx context.Context, v facts.Viewer) (map[string]string, error) {
	text, err := ask(ctx, v, nil, "apt-get", "--simulate", "-o", "Debug::NoLocking=1", "dist-upgrade")
	return parseSimulated(text, "Inst"), err
}

func (apt) orphans(ctx context.Context, v facts.Viewer) ([]string, error) {
	text, err := ask(ctx, v, nil, "apt-get", "--simulate", "-o", "Debug::NoLocking=1", "autoremove")
	var out []string
	for name := range parseSimulated(text, "Remv") {
		out = append(out, name)
	}
	return out, err
}

// parseSimulated reads apt-get --simulate:
//
//	Inst lab-toy [1.0] (1.1 localhost [all])
//	Remv libfoo [1.2]
func parseSimulated(text, word string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != word {
			continue
		}
		out[f[1]] = ""
		if _, after, ok := strings.Cut(line, "("); ok {
			out[f[1]], _, _ = strings.Cut(after, " ")
		}
	}
	return out
}

func (apt) lists() string { return aptLists }

func (a apt) refreshed(v facts.Viewer) time.Time { return folderTime(v, a.lists(), "_Packages") }

func (apt) command(do verb, o options, pkgs []wish) []string {
	argv := []string{"apt-get", "--yes", "--quiet",
		"-o", fmt.Sprintf("DPkg::Lock::Timeout=%d", int(o.LockTimeout.Seconds())),
		"-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Use-Pty=0"}
	add := func(words ...string) {
		argv = append(argv, words...)
		if len(pkgs) > 0 {
			argv = append(argv, "--")
		}
		for _, p := range pkgs {
			if p.version != "" {
				p.name += "=" + p.version
			}
			argv = append(argv, p.name)
		}
	}
	switch do {
	case doInstall:
		for _, p := range pkgs {
			if p.version != "" { // a pin may go back
				argv = append(argv, "--allow-downgrades")
				break
			}
		}
		add("install")
	case doLocal:
		add("install", "--allow-downgrades")
	case doRemove:
		add("remove")
	case doPurge:
		add("purge")
	case doRefresh:
		add("update")
	case doUpgrade:
		add("install", "--only-upgrade")
	case doUpgradeAll:
		add("dist-upgrade")
	case doClean:
		add("clean")
	case doAutoremove:
		add("autoremove")
	}
	return argv
}

func (apt) search(ctx context.Context, v facts.Viewer, text string) ([][2]string, error) {
	out, err := ask(ctx, v, nil, "apt-cache", "search", "--", text)
	return pairs(out, " - "), err
}

// pairs reads lines of a name and a description.
func pairs(text, between string) [][2]string {
	var out [][2]string
	for line := range strings.Lines(text) {
		if name, about, ok := strings.Cut(strings.TrimSpace(line), between); ok {
			out = append(out, [2]string{strings.TrimSpace(name), strings.TrimSpace(about)})
		}
	}
	return out
}

func (a apt) describe(ctx context.Context, v facts.Viewer, name string) (map[string]any, error) {
	text, err := ask(ctx, v, []int{1, 100}, "apt-cache", "show", "--no-all-versions", "--", name)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(text) == "" { // installed from a file, and in no list
		if text, err = ask(ctx, v, []int{1}, "dpkg-query", "-s", "--", name); err != nil {
			return nil, err
		}
	}
	return paragraph(text), nil
}

// paragraph reads the first one of a control file.
func paragraph(text string) map[string]any {
	f := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if line == "" && len(f) > 0 {
			break
		}
		if k, val, ok := strings.Cut(line, ":"); ok && line[0] != ' ' {
			f[strings.ToLower(k)] = strings.TrimSpace(val)
		}
	}
	if f["package"] == "" {
		return nil
	}
	about := f["description"]
	if about == "" {
		about = f["description-en"]
	}
	return map[string]any{"description": about, "section": f["section"], "architecture": f["architecture"],
		"homepage": f["homepage"], "maintainer": f["maintainer"], "depends": f["depends"], "candidate": f["version"]}
}

func (apt) owner(ctx context.Context, v facts.Viewer, file string) (string, error) {
	text, err := ask(ctx, v, []int{1}, "dpkg-query", "-S", "--", file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		// "libc6:amd64, libc6:i386: /usr/share/doc/libc6"; diversions have no such form
		if names, path, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && path == file && !strings.HasPrefix(names, "diversion by") {
			first, _, _ := strings.Cut(names, ", ")
			first, _, _ = strings.Cut(first, ":")
			return first, nil
		}
	}
	return "", nil
}

func (apt) depends(ctx context.Context, v facts.Viewer, name string) ([]string, error) {
	text, err := ask(ctx, v, []int{100}, "apt-cache", "depends", "--important", "--no-recommends", "--no-suggests",
		"--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances", "--", name)
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimLeft(line, " |")
		for _, kind := range []string{"Depends: ", "PreDepends: "} {
			if d, ok := strings.CutPrefix(line, kind); ok {
				out = append(out, strings.Trim(strings.TrimSpace(d), "<>"))
			}
		}
	}
	return out, err
}

func (apt) identify(ctx context.Context, v facts.Viewer, file string) (string, string, error) {
	text, err := ask(ctx, v, nil, "dpkg-deb", "--show", "--showformat=${Package}\t${Version}\n", "--", file)
	if err != nil {
		return "", "", err
	}
	if f := fields(text); len(f) == 1 && len(f[0]) == 2 {
		return f[0][0], f[0][1], nil
	}
	return "", "", fmt.Errorf("%s is no Debian package", file)
}
