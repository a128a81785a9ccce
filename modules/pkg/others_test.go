package pkg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// said answers every question with one text.
type said struct {
	facts.Viewer
	text string
	code int
}

func (s said) Query(context.Context, ...string) (facts.Answer, error) {
	return facts.Answer{Stdout: []byte(s.text), ExitCode: s.code}, nil
}

func (said) LookPath(string) (string, error) { return "/usr/bin/x", nil }

func (said) Planned() bool { return false }

const (
	zypperInfo = `Loading repository data...
Reading installed packages...


Information for package lab-rpm:
--------------------------------
Repository     : lab2
Name           : lab-rpm
Version        : 1.1-1
Arch           : noarch
Vendor         : 
Installed Size : 4 B
Installed      : Yes
Status         : out-of-date (version 1.0-1 installed)
Source package : lab-rpm-1.1-1.src
Summary        : A toy
Description    : 
    A toy: it does nothing

package 'nope' not found.
`
	zypperUpdates = `Loading repository data...
Reading installed packages...
S | Repository | Name    | Current Version | Available Version | Arch
--+------------+---------+-----------------+-------------------+-------
v | lab2       | lab-rpm | 1.0-1           | 1.1-1             | noarch
`
	zypperUnneeded = `S | Repository | Name       | Version | Arch
--+------------+------------+---------+-------
i | lab2       | lab-anchor | 1.0-1   | noarch
`
	zypperLocks = `
# | Name    | Type    | Repository
--+---------+---------+-----------
1 | lab-rpm | package | (any)

`
	zypperFound = `S | Name       | Summary | Type
--+------------+---------+--------
i | lab-anchor | A toy   | package
  | lab-rpm    | A toy   | package
`
	dnfUpdates = "\nlab-rpm.noarch                             1.1-1                             lab\n" +
		"python3.11.x86_64   3.11.2-2.el9   appstream\nObsoleting Packages\nnew.noarch 2-1 lab\n    old.noarch 1-1 @lab\n"
	dnfFound   = "============================= Summary Matched: toy =============================\nlab-anchor.noarch : A toy\nlab-rpm.noarch : A toy\n"
	dnfLocks   = "lab-rpm-0:1.1-1.*\npython3-dnf-plugins-core-0:4.3.0-13.el9.*\n!bad-0:1-1.*\nLast metadata expiration check: 0:00:01 ago\n"
	pacmanInfo = `Repository      : lab
Name            : lab-pac
Version         : 1:1.1-1
Description     : A toy : with a colon
Architecture    : any
URL             : https://example.org/
Depends On      : glibc  sh

Repository      : other
Name            : lab-pac
Version         : 0.9-1
`
	apkUpdates = "Installed:                                Available:\nbusybox-1.36.1-r15                      < 1.36.1-r29 \nca-certificates-bundle-20230506-r0      < 20240705-r0 \n"
)

// What the managers print. That of dnf, rpm, zypper and pacman was printed by real
// ones; that of apk and brew is as their manuals have it.
func TestWhatOthersPrint(t *testing.T) {
	ctx := context.Background()
	zypper, dnf := rpm{"zypper"}, rpm{"dnf"}
	show := func(v any, err error) string { return fmt.Sprint(v, " ", err) }
	for name, c := range map[string]struct {
		got  func(v facts.Viewer) string
		text string
		code int
		want string
	}{
		"zypper info":    {func(v facts.Viewer) string { return show(zypper.candidates(ctx, v, nil)) }, zypperInfo, 0, "map[lab-rpm:1.1-1] <nil>"},
		"zypper nothing": {func(v facts.Viewer) string { return show(zypper.candidates(ctx, v, nil)) }, "package 'x' not found.\n", 104, "map[] <nil>"},
		"zypper updates": {func(v facts.Viewer) string { return show(zypper.upgradable(ctx, v)) }, zypperUpdates, 0, "map[lab-rpm:1.1-1] <nil>"},
		"zypper orphans": {func(v facts.Viewer) string { return show(zypper.orphans(ctx, v)) }, zypperUnneeded, 0, "[lab-anchor] <nil>"},
		"zypper locks":   {func(v facts.Viewer) string { return show(zypper.held(ctx, v)) }, zypperLocks, 0, "[lab-rpm] <nil>"},
		"zypper none":    {func(v facts.Viewer) string { return show(zypper.held(ctx, v)) }, "\nThere are no package locks defined.\n\n", 0, "[] <nil>"},
		"zypper search":  {func(v facts.Viewer) string { return show(zypper.search(ctx, v, "toy")) }, zypperFound, 0, "[[lab-anchor A toy] [lab-rpm A toy]] <nil>"},
		"dnf repoquery":  {func(v facts.Viewer) string { return show(dnf.candidates(ctx, v, nil)) }, "lab-rpm\t1.1-1\n\n", 0, "map[lab-rpm:1.1-1] <nil>"},
		"dnf updates":    {func(v facts.Viewer) string { return show(dnf.upgradable(ctx, v)) }, dnfUpdates, 100, "map[lab-rpm:1.1-1 python3.11:3.11.2-2.el9] <nil>"},
		"dnf search":     {func(v facts.Viewer) string { return show(dnf.search(ctx, v, "toy")) }, dnfFound, 0, "[[lab-anchor A toy] [lab-rpm A toy]] <nil>"},
		"dnf locks":      {func(v facts.Viewer) string { return show(dnf.held(ctx, v)) }, dnfLocks, 0, "[lab-rpm python3-dnf-plugins-core] <nil>"},
		"rpm":            {func(v facts.Viewer) string { return show(dnf.installed(ctx, v, []string{"lab-rpm", "nope"})) }, "lab-rpm\t1.0-1\npackage nope is not installed\n", 1, "map[lab-rpm:1.0-1] <nil>"},
		"pacman":         {func(v facts.Viewer) string { return show(pacman{}.candidates(ctx, v, nil)) }, pacmanInfo, 1, "map[lab-pac:1:1.1-1] <nil>"},
		"pacman deps":    {func(v facts.Viewer) string { return show(pacman{}.depends(ctx, v, "x")) }, pacmanInfo, 0, "[glibc sh] <nil>"},
		"pacman updates": {func(v facts.Viewer) string { return show(pacman{}.upgradable(ctx, v)) }, "lab-pac 1.0-1 -> 1.1-1\n", 0, "map[lab-pac:1.1-1] <nil>"},
		"pacman search":  {func(v facts.Viewer) string { return show(pacman{}.search(ctx, v, "toy")) }, "lab/lab-pac 1.1-1 [installed]\n    A toy\n", 0, "[[lab-pac A toy]] <nil>"},
		"apk updates":    {func(v facts.Viewer) string { return show(apk{}.upgradable(ctx, v)) }, apkUpdates, 0, "map[busybox:1.36.1-r29 ca-certificates-bundle:20240705-r0] <nil>"},
		"brew":           {func(v facts.Viewer) string { return show(brew{}.installed(ctx, v, nil)) }, "nginx 1.25.1 1.27.2\njq 1.7.1\n", 0, "map[jq:1.7.1 nginx:1.27.2] <nil>"},
		"brew formula":   {func(v facts.Viewer) string { return show(brew{}.candidates(ctx, v, []string{"nginx"})) }, "==> nginx: stable 1.27.2 (bottled), HEAD\nHTTP server\n", 0, "map[nginx:1.27.2] <nil>"},
		"brew cask":      {func(v facts.Viewer) string { return show(brew{}.candidates(ctx, v, []string{"firefox"})) }, "==> firefox: 119.0 (auto_updates)\n", 0, "map[firefox:119.0] <nil>"},
		"brew outdated":  {func(v facts.Viewer) string { return show(brew{}.upgradable(ctx, v)) }, "nginx (1.25.1) < 1.27.2\n", 0, "map[nginx:1.27.2] <nil>"},
	} {
		if got := c.got(said{text: c.text, code: c.code}); got != c.want {
			t.Errorf("%s: %s, wanted %s", name, got, c.want)
		}
	}
}

// How the managers say that another one is at work, and what is no such thing.
func TestFault50WhoIsBusy(t *testing.T) {
	for _, line := range []string{
		"E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (apt-get)",
		"Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (unattended-upgr)...",
		"E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?",
		"metadata already locked by 3163",
		"Waiting for process with pid 3163 to finish.",
		"Existing lock /var/run/yum.pid: another copy is running as pid 22.",
		"RPM: error: can't create transaction lock on /var/lib/rpm/.rpm.lock (Resource temporarily unavailable)",
		"System management is locked by the application with pid 403 (zypper).",
		"error: failed to synchronize all databases (unable to lock database)",
		"error: could not lock database: File exists",
		"ERROR: Unable to lock database: Resource temporarily unavailable",
		"Error: A `brew update` process is already running.",
	} {
		if got := busy.FindString("Reading…\n" + line + "\nmore"); got == "" || strings.Contains(got, "more") || strings.Contains(got, "Reading") {
			t.Errorf("%q: %q", line, got)
		}
	}
	for _, line := range []string{"Unpacking procmail-lockfile", "Setting up lockfile-progs", "lab-rpm is already installed", "E: Unable to locate package blocker"} {
		if busy.MatchString(line) {
			t.Errorf("%q is taken for a lock", line)
		}
	}
}

// zypper's exit codes above 100 tell of other things than failure.
func TestDone(t *testing.T) {
	for code, want := range map[int]bool{0: true, 102: true, 103: true, 106: true, 1: false, 4: false, 7: false, 104: false, 107: false} {
		if got := done(rpm{"zypper"}, code); got != want {
			t.Errorf("zypper %d: %t", code, got)
		}
	}
	if done(apt{}, 102) || done(rpm{"dnf"}, 100) || !done(apt{}, 0) {
		t.Error("another manager's exit code is taken for zypper's")
	}
}

// Questions wait for locks too, and no longer than they may.
func TestFault50QuestionsWait(t *testing.T) {
	v := said{text: "System management is locked by the application with pid 403 (zypper).\nClose this application before trying again.\n", code: 7}
	ctx := options{LockTimeout: time.Second}.within(context.Background())
	_, err := rpm{"zypper"}.candidates(ctx, v, []string{"nginx"})
	want := "zypper info nginx: another package manager did not finish within 1s: System management is locked by the application with pid 403 (zypper)."
	if err == nil || err.Error() != want {
		t.Errorf("%v, wanted %s", err, want)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var logged []string
	ctx = modules.WithCall(ctx, modules.Call{Log: func(level, message string, _ map[string]any) {
		logged = append(logged, level+" "+message)
		cancel()
	}})
	if _, err = (rpm{"zypper"}).candidates(ctx, v, []string{"nginx"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(logged) != 1 || !strings.HasPrefix(logged[0], "warn waiting up to 5m0s for another package manager to finish: System management is locked") {
		t.Errorf("it said %q", logged)
	}
}
