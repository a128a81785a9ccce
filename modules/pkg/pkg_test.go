package pkg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

var args = modulestest.Args

type host struct{ *modulestest.Host }

// fakeHost has apt; lists are as old as age, and there are none when it is
// negative.
func fakeHost(t *testing.T, installed, lists, upstream string, age time.Duration) host {
	t.Helper()
	h := host{modulestest.NewHost(t, Module(), map[string]string{"var/lib/dpkg/standin": installed, "var/lib/apt/upstream": upstream, "var/lib/apt/lists/lock": ""})}
	if age >= 0 {
		h.Put(t, "/var/lib/apt/lists/standin_Packages", lists)
		at := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(h.Dir, "/var/lib/apt/lists"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// calls are the command lines of apt-get without what all of them have.
func (h host) calls(t *testing.T) string {
	t.Helper()
	return strings.ReplaceAll(strings.Join(h.Programs.Calls(t), "; "), "apt-get ", "")
}

func TestInstall(t *testing.T) {
	const lists = "nginx 1.22\nnginx 1.24\ncurl 8.0\nvim 2:9.0\n"
	for _, c := range []struct {
		name, installed, upstream string
		age                       time.Duration
		args                      map[string]any
		diff, calls, err          string
	}{
		{"one transaction", "curl 8.0\n", lists, 0, args("name", []any{"nginx", "curl", "vim"}),
			"package nginx state: absent -> present 1.24; package vim state: absent -> present 2:9.0", "install -- nginx vim", ""},
		{"present keeps an old version", "nginx 1.20\n", lists, 0, args("name", "nginx"), "", "", ""},
		{"latest", "nginx 1.22\n", lists, 0, args("name", "nginx", "version", "latest"), "package nginx version: 1.22 -> 1.24", "install -- nginx", ""},
		{"state latest", "nginx 1.22\ncurl 8.0\n", lists, 0, args("name", []any{"nginx", "curl"}, "state", "latest"), "package nginx version: 1.22 -> 1.24", "install -- nginx", ""},
		{"latest is there", "nginx 1.24\n", lists, 0, args("name", "nginx", "version", "latest"), "", "", ""},
		{"a pin goes back", "nginx 1.24\n", lists, 0, args("name", "nginx", "version", "1.22"), "package nginx version: 1.24 -> 1.22", "--allow-downgrades install -- nginx=1.22", ""},
		{"a pin in the name", "", lists, 0, args("name", []any{"nginx=1.22", "curl"}), "package nginx state: absent -> present 1.22; package curl state: absent -> present 8.0",
			"--allow-downgrades install -- nginx=1.22 curl", ""},
		{"a pin with a star", "nginx 1.22-3\n", lists, 0, args("name", "nginx", "version", "1.22*"), "", "", ""},
		{"absent", "nginx 1.22\n", lists, 0, args("name", []any{"nginx", "vim"}, "state", "absent"), "package nginx state: present 1.22 -> absent", "remove -- nginx", ""},
		{"old lists that lack it", "", lists + "new 1\n", 2 * time.Hour, args("name", "new"), "package new state: absent -> present", "update; install -- new", ""},
		{"no lists yet", "", lists + "new 1\n", -1, args("name", "new"), "package new state: absent -> present", "update; install -- new", ""},
		{"update_cache with fresh lists", "", lists, time.Minute, args("name", "nginx", "update_cache", true), "package nginx state: absent -> present 1.24", "install -- nginx", ""},
		{"update_cache with old lists", "", lists, 2 * time.Hour, args("name", "nginx", "update_cache", true), "package nginx state: absent -> present 1.24", "update; install -- nginx", ""},
		{"a typo with fresh lists", "", lists, time.Minute, args("name", "ngnix"), "", "", `pkg.install: no package is called "ngnix" in the lists of apt; check the name, or add the repository that has it`},
		{"a typo with old lists", "", lists, 2 * time.Hour, args("name", "ngnix"), "", "update", `pkg.install: no package is called "ngnix" in the lists of apt; check the name, or add the repository that has it`},
		{"no such version", "", lists, 0, args("name", "nginx", "version", "9"), "", "--allow-downgrades install -- nginx=9", "pkg.install: apt-get install nginx=9: exit code 100: Version '9' for 'nginx' was not found"},
		{"an option", "", lists, 0, args("name", "--purge"), "", "", `pkg.install: "--purge" is no name of a package`},
		{"a removal", "", lists, 0, args("name", "nginx-"), "", "", `pkg.install: "nginx-" is no name of a package`},
		{"a version for two", "", lists, 0, args("name", []any{"a", "b"}, "version", "1"), "", "", `pkg.install: version = "1" cannot be that of 2 packages; write NAME=VERSION for each`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := fakeHost(t, c.installed, lists, c.upstream, c.age)
			h.Overlay = machine.NewOverlay(h.Machine)
			if _, said, err := h.Call(t, "install", c.args); c.err == "" && (err != nil || said != c.diff) {
				t.Errorf("the plan said %q, %v", said, err)
			}
			if _, said, err := h.Call(t, "install", c.args); c.err == "" && (err != nil || said != "" && !strings.Contains(c.calls, "update")) {
				t.Errorf("planned twice, it said %q, %v", said, err)
			}
			if got := h.calls(t); got != "" {
				t.Errorf("the plan ran %q", got)
			}
			h.Overlay = nil
			_, said, err := h.Call(t, "install", c.args)
			if said != c.diff || c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
				t.Errorf("it said %q, %v\nwanted %q, %s", said, err, c.diff, c.err)
			}
			if got := h.calls(t); got != c.calls {
				t.Errorf("it ran %q, wanted %q", got, c.calls)
			}
			if c.err != "" {
				return
			}
			if _, said, err := h.Call(t, "install", c.args); err != nil || said != "" {
				t.Errorf("again, it said %q, %v", said, err)
			}
		})
	}
}

func TestFault50HeldLock(t *testing.T) {
	h := fakeHost(t, "", "nginx 1\n", "", 0)
	h.Put(t, "/var/lib/apt/locked", "nginx\n")
	if _, _, err := h.Call(t, "install", args("name", "nginx")); err != nil {
		t.Fatal(err)
	}
	want := "waiting up to 5m0s for another package manager to finish: Could not get lock /var/lib/apt/lists/lock. It is held by process 4711 (apt-get)"
	if strings.Join(h.Logged, "\n") != want {
		t.Errorf("it said %q", h.Logged)
	}
	h.Put(t, "/var/lib/apt/locked", "nginx\nnginx\nnginx\n")
	_, _, err := h.Call(t, "remove", args("name", "nginx", "lock_timeout", "1s"))
	if err == nil || !strings.Contains(err.Error(), "pkg.remove: apt-get remove nginx: another package manager did not finish within 1s: Could not get lock") {
		t.Errorf("%v", err)
	}
}

func TestRemoveUpdateUpgrade(t *testing.T) {
	h := fakeHost(t, "nginx 1.22\ncurl 8.0\n", "nginx 1.22\ncurl 8.0\n", "nginx 1.24\ncurl 8.0\n", 2*time.Hour)
	for _, c := range []struct {
		verb string
		args map[string]any
		diff string
	}{
		{"update", args("cache_age", "3h"), ""},
		{"update", args("cache_age", "1h"), "package lists : "},
		{"update", args("cache_age", "1h"), ""},
		{"upgrade", args("name", []any{"nginx", "curl"}), "package nginx version: 1.22 -> 1.24"},
		{"upgrade", args("name", "nginx"), ""},
		{"remove", args("name", []any{"curl", "vim"}, "purge", true), "package curl state: present 8.0 -> absent"},
		{"remove", args("name", "curl"), ""},
	} {
		_, said, err := h.Call(t, c.verb, c.args)
		if c.verb == "update" && c.diff != "" {
			said = said[:min(len(said), len(c.diff))]
		}
		if err != nil || said != c.diff {
			t.Errorf("%s %v: %q, %v", c.verb, c.args, said, err)
		}
	}
	if got := h.calls(t); got != "update; install --only-upgrade -- nginx; purge -- curl" {
		t.Errorf("it ran %q", got)
	}
	if _, _, err := h.Call(t, "upgrade", args("name", "vim")); err == nil || !strings.Contains(err.Error(), `package "vim" is not installed`) {
		t.Errorf("%v", err)
	}
	if v, _, err := h.Call(t, "version", args("name", "nginx")); err != nil || v != "1.24" {
		t.Errorf("%v, %v", v, err)
	}
	if is, _, err := h.Call(t, "is_installed", args("name", "curl")); err != nil || is != false {
		t.Errorf("%v, %v", is, err)
	}
}

func TestVersionMatches(t *testing.T) {
	for _, c := range []struct {
		version, want string
		is            bool
	}{
		{"1.22.1-9", "1.22.1-9", true}, {"1.22.1-9", "1.22", true}, {"1.220", "1.22", false}, {"1.22", "1.22.1", false},
		{"2:9.0-1", "9.0", true}, {"2:9.0-1", "2:9.0", true}, {"2:9.0", "1:9.0", false}, {"1.22~rc1", "1.22", true},
		{"1.22.1", "1.2*", true}, {"1.3", "1.2*", false}, {"5.2.15", "5", true}, {"52", "5", false},
	} {
		if got := VersionMatches(c.version, c.want); got != c.is {
			t.Errorf("%s is %s: %t", c.version, c.want, got)
		}
	}
}

// The command lines of the managers that are not here to be tried.
func TestCommands(t *testing.T) {
	two := []wish{{name: "a"}, {"b", "2"}}
	for _, c := range []struct {
		m    manager
		do   verb
		want string
	}{
		{rpm{"dnf"}, doInstall, "dnf -y --setopt=exit_on_lock=1 install a b-2"}, {rpm{"yum"}, doRemove, "yum -y --setopt=exit_on_lock=1 remove a b-2"}, {rpm{"dnf"}, doUpgrade, "dnf -y --setopt=exit_on_lock=1 upgrade a b-2"},
		{rpm{"zypper"}, doInstall, "zypper --non-interactive install --auto-agree-with-licenses --oldpackage a b=2"},
		{pacman{}, doInstall, "pacman --noconfirm -S --needed a b"}, {pacman{}, doAutoremove, "pacman --noconfirm -Rns a b"},
		{apk{}, doInstall, "apk --no-progress add a b~2"}, {apk{}, doRemove, "apk --no-progress del a b~2"},
		{brew{}, doInstall, "brew install a b@2"},
	} {
		if got := strings.Join(c.m.command(c.do, newOptions(), two), " "); got != c.want {
			t.Errorf("%s: %q, wanted %q", c.m.name(), got, c.want)
		}
	}
	for _, m := range []manager{apt{}, rpm{"dnf"}, rpm{"yum"}, rpm{"zypper"}, pacman{}, apk{}, brew{}} {
		for do := doInstall; do <= doAutoremove; do++ {
			if argv := m.command(do, newOptions(), nil); len(argv) < 2 || argv[len(argv)-1] == "" {
				t.Errorf("%s has no command for %d: %q", m.name(), do, argv)
			}
		}
	}
}

func TestParsers(t *testing.T) {
	sim := "Reading package lists...\nInst lab-toy [1.0] (1.1 localhost [all])\nConf lab-toy (1.1 localhost [all])\nRemv libfoo [1.2]\n"
	if got := fmt.Sprint(parseSimulated(sim, "Inst"), parseSimulated(sim, "Remv")); got != "map[lab-toy:1.1] map[libfoo:]" {
		t.Error(got)
	}
	if got := fmt.Sprint(parsePolicy("a:\n  Installed: (none)\n  Candidate: 1:2-3\n  Version table:\n     1:2-3 500\nb:\n  Candidate: (none)\n")); got != "map[a:1:2-3]" {
		t.Error(got)
	}
	if got := fmt.Sprint(apk{}.versions("nginx-1.26.2-r0\npy3-yaml-6.0-r3 x86_64\nWARNING\n")); got != "map[nginx:1.26.2-r0 py3-yaml:6.0-r3]" {
		t.Error(got)
	}
	if got := fmt.Sprint(words("bash 5.2.026-2 -> 5.2.032-1\n", 3)); got != "map[bash:5.2.032-1]" {
		t.Error(got)
	}
	if got := paragraph("Package: a\nVersion: 1\nDescription-en: Thing\n more: text\n\nPackage: b\n"); got["description"] != "Thing" || got["candidate"] != "1" {
		t.Error(got)
	}
}

func FuzzParsers(f *testing.F) {
	f.Add("a:\n  Candidate: 1\n")
	f.Add("Inst a [1] (2 x)\n")
	f.Add("nginx-1-r0 - web\n")
	f.Fuzz(func(_ *testing.T, text string) {
		parsePolicy(text)
		parseSimulated(text, "Inst")
		paragraph(text)
		apk{}.versions(text)
		words(text, 3)
		pairs(text, " - ")
		VersionMatches(text, "1.2")
	})
}

// What dpkg knows of this machine, where it is a Debian.
func TestRealDatabase(t *testing.T) {
	m := machine.New()
	if _, err := m.LookPath("dpkg-query"); err != nil {
		t.Skip("dpkg is not here")
	}
	ctx := context.Background()
	if v, err := Installed(ctx, m, "dpkg"); err != nil || v == "" {
		t.Errorf("dpkg: %q, %v", v, err)
	}
	if v, err := Installed(ctx, m, "no-such-package-here"); err != nil || v != "" {
		t.Errorf("no-such-package-here: %q, %v", v, err)
	}
	all, err := apt{}.installed(ctx, m, nil)
	if err != nil || all["dpkg"] == "" {
		t.Errorf("%d packages, %v", len(all), err)
	}
	h := modulestest.On(m, Module())
	if p, _, err := h.Call(t, "which", args("path", "dpkg-query")); err != nil || p != "dpkg" {
		t.Errorf("%v, %v", p, err)
	}
}

// A question of a plan must not make apt write its caches, unless they are up
// to date and nothing is written anyway.
func TestPlanLeavesTheCachesOfApt(t *testing.T) {
	root := t.TempDir()
	write := func(name string, age time.Duration) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	real := rooted{Viewer: machine.New(), root: root}
	plan := rooted{Viewer: machine.NewOverlay(machine.New()), root: root}
	argv := []string{"apt-cache", "policy", "--", "nginx"}
	const without = "apt-cache -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= policy -- nginx"
	check := func(what string, v facts.Viewer, want string) {
		t.Helper()
		if got := strings.Join(aptUnwritten(v, argv), " "); got != want {
			t.Errorf("%s: %q", what, got)
		}
	}
	check("no plan", real, strings.Join(argv, " "))
	check("no cache", plan, without)
	write("var/lib/dpkg/status", time.Hour)
	write("var/cache/apt/pkgcache.bin", time.Minute)
	check("a cache that is up to date", plan, strings.Join(argv, " "))
	write("var/lib/dpkg/status", 0)
	check("a cache that is old", plan, without)
	if got := aptUnwritten(plan, []string{"dpkg-query", "-W"}); len(got) != 2 {
		t.Errorf("another program: %q", got)
	}
}

// rooted looks for files below root.
type rooted struct {
	facts.Viewer
	root string
}

func (r rooted) Stat(path string) (facts.FileInfo, error) { return r.Viewer.Stat(r.root + path) }
