package systemd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

type host struct{ *modulestest.Host }

// fakeHost is a folder that looks like a host with systemd.
func fakeHost(t *testing.T, units map[string]string) host {
	t.Helper()
	h := host{modulestest.NewHost(t, Module(), nil)}
	h.Say = text
	h.put(t, "/run/standin/journal", "cannot bind to port 80\ngiving up\n")
	h.put(t, "/run/systemd/system/x", "")
	h.put(t, "/etc/systemd/system/x", "")
	h.put(t, "/lib/x", "")
	for name, text := range units {
		h.put(t, "/run/standin/"+name, strings.ReplaceAll(text, " ", "\n")+"\n")
	}
	return h
}

// put makes a file that may be run.
func (h host) put(t *testing.T, path, text string) {
	t.Helper()
	h.Put(t, path, text)
	if err := os.Chmod(filepath.Join(h.Dir, path), 0o755); err != nil {
		t.Fatal(err)
	}
}

const (
	stopped = "LoadState=loaded ActiveState=inactive SubState=dead UnitFileState=disabled MainPID=0 Type=forking NeedDaemonReload=no FragmentPath=/lib/x"
	running = "LoadState=loaded ActiveState=active SubState=running UnitFileState=enabled MainPID=42 Type=notify NeedDaemonReload=no FragmentPath=/lib/x"
)

func text(d modules.Diff) string {
	var out []string
	for _, c := range d.Changes {
		line := c.What + " " + c.Attr + ": " + c.Before + " -> " + c.After
		if c.Unknown {
			line += " (unknown)"
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

func (h host) calls(t *testing.T) string {
	t.Helper()
	return strings.ReplaceAll(strings.TrimSpace(strings.Join(h.Programs.Calls(t), "; ")), "systemctl ", "")
}

func name(n ...any) map[string]any { return map[string]any{"name": n} }

func TestChangesAreMadeOnce(t *testing.T) {
	for verb, want := range map[string]struct{ unit, diff, calls string }{
		"start":   {stopped, "a.service state: inactive -> active", "start -- a.service"},
		"stop":    {running, "a.service state: active -> inactive", "stop -- a.service"},
		"enable":  {stopped, "a.service enablement: disabled -> enabled", "enable -- a.service"},
		"disable": {running, "a.service enablement: enabled -> disabled", "disable -- a.service"},
		"mask":    {stopped, "a.service enablement: disabled -> masked", "mask -- a.service"},
		"unmask":  {"LoadState=masked ActiveState=inactive UnitFileState=masked", "a.service enablement: masked -> unmasked", "unmask -- a.service"},
	} {
		t.Run(verb, func(t *testing.T) {
			h := fakeHost(t, map[string]string{"a.service": want.unit})
			h.Overlay = machine.NewOverlay(h.Machine)
			if _, said, err := h.Call(t, verb, name("a")); err != nil || said != want.diff {
				t.Errorf("the plan said %q, %v", said, err)
			}
			if _, said, err := h.Call(t, verb, name("a")); err != nil || said != "" {
				t.Errorf("planned twice, it said %q, %v", said, err)
			}
			if got := h.calls(t); got != "" {
				t.Errorf("the plan ran %s", got)
			}
			h.Overlay = nil
			if _, said, err := h.Call(t, verb, name("a")); err != nil || said != want.diff {
				t.Errorf("it said %q, %v; wanted %q", said, err, want.diff)
			}
			if _, said, err := h.Call(t, verb, name("a.service")); err != nil || said != "" {
				t.Errorf("again, it said %q, %v", said, err)
			}
			if got := h.calls(t); got != want.calls {
				t.Errorf("it ran %q, wanted %q", got, want.calls)
			}
		})
	}
}

func TestRestartAlwaysChanges(t *testing.T) {
	h := fakeHost(t, map[string]string{"a.service": strings.Replace(running, "Reload=no", "Reload=yes", 1), "b.service": running})
	for range 2 {
		if _, said, err := h.Call(t, "restart", name("a", "b")); err != nil || said != "a.service restart: active -> restarted; b.service restart: active -> restarted" {
			t.Errorf("%q, %v", said, err)
		}
	}
	if _, said, err := h.Call(t, "reload", name("b")); err != nil || said != "b.service reload: active -> reloaded" {
		t.Errorf("%q, %v", said, err)
	}
	// The unit file of a had changed, which systemd must be told once.
	want := "daemon-reload; restart -- a.service; restart -- b.service; restart -- a.service; restart -- b.service; reload -- b.service"
	if got := h.calls(t); got != want {
		t.Errorf("it ran %q, wanted %q", got, want)
	}
}

func TestFailures(t *testing.T) {
	h := fakeHost(t, map[string]string{
		"a.service": stopped + " Broken=start", "b.service": strings.Replace(stopped, "forking", "simple", 1) + " Broken=soon Result=exit-code",
		"m.service": "LoadState=masked ActiveState=inactive UnitFileState=masked",
	})
	for _, c := range []struct{ verb, unit, want string }{
		{"start", "a", "systemd.start: systemctl start a.service: exit code 1: Job for a.service failed because the control process exited with error code.\n" +
			"the end of its journal:\n  cannot bind to port 80\n  giving up"},
		{"start", "b", "systemd.start: systemctl start b.service: it started and ended at once (failed, exit-code)\nthe end of its journal:\n  cannot bind to port 80\n  giving up"},
		{"start", "m", `systemd.start: m.service is masked, so that nobody can start it; systemd.unmask("m.service") first`},
		{"enable", "none", `systemd.enable: there is no service "none" on this host; systemd.list_services() lists them, pkg.install brings more`},
		{"stop", "none", `systemd.stop: there is no service "none" on this host; systemd.list_services() lists them, pkg.install brings more`},
		{"start", "--help", `systemd.start: "--help" is no name of a service`},
		{"start", "a b", `systemd.start: "a b" is no name of a service`},
	} {
		if _, _, err := h.Call(t, c.verb, name(c.unit)); err == nil || err.Error() != c.want {
			t.Errorf("%s %s ended with\n%v\nwanted\n%s", c.verb, c.unit, err, c.want)
		}
	}
}

// A unit that a planned package may bring is unknown, not missing.
func TestPlannedUnits(t *testing.T) {
	h := fakeHost(t, nil)
	h.Overlay = machine.NewOverlay(h.Machine)
	if _, _, err := h.Call(t, "start", name("app")); err == nil {
		t.Error("nothing was planned, and a missing service is no error")
	}
	h.Overlay.Note(modules.NotedChange, "pkg.install")
	for verb, want := range map[string]string{
		"enable": "app.service enablement:  -> enabled (unknown)", "restart": "gone.service restart:  -> restarted (unknown)",
	} {
		unit := "app"
		if verb == "restart" {
			unit = "gone"
		}
		if _, said, err := h.Call(t, verb, name(unit)); err != nil || said != want {
			t.Errorf("%s: %q, %v", verb, said, err)
		}
	}
	if is, _, err := h.Call(t, "is_enabled", map[string]any{"name": "app"}); err != nil || is != true {
		t.Errorf("is_enabled after a planned enable: %v, %v", is, err)
	}
	if _, _, err := h.Call(t, "create_service", map[string]any{"name": "new", "exec_start": "/bin/new", "enabled": true, "started": true}); err != nil {
		t.Error(err)
	}
	if is, _, err := h.Call(t, "is_active", map[string]any{"name": "new"}); err != nil || is != true {
		t.Errorf("is_active after a planned create_service: %v, %v", is, err)
	}
}

func TestQueries(t *testing.T) {
	h := fakeHost(t, map[string]string{"ssh.service": running, "off.service": stopped})
	got, _, err := h.Call(t, "status", map[string]any{"name": "sshd"})
	s, _ := got.(map[string]any)
	if err != nil || s["name"] != "ssh.service" || s["is_active"] != true || s["is_enabled"] != true || s["pid"] != 42 || s["state"] != "active" {
		t.Errorf("status of an alias: %v, %v", got, err)
	}
	for unit, want := range map[string]bool{"ssh": true, "off": false, "none": false} {
		for _, f := range []string{"is_active", "is_enabled"} {
			if is, _, err := h.Call(t, f, map[string]any{"name": unit}); err != nil || is != want {
				t.Errorf("%s %s: %v, %v", f, unit, is, err)
			}
		}
	}
	if pid, _, err := h.Call(t, "show", map[string]any{"name": "ssh", "property": "MainPID"}); err != nil || pid != "42" {
		t.Errorf("show: %v, %v", pid, err)
	}
}

func TestCreateAndRemove(t *testing.T) {
	h := fakeHost(t, map[string]string{"app.service": stopped})
	args := map[string]any{"name": "app", "exec_start": "/bin/app", "enabled": true, "started": true}
	if _, said, err := h.Call(t, "create_service", args); err != nil || !strings.Contains(said, "app.service enablement: disabled -> enabled; app.service state: inactive -> active") {
		t.Errorf("%q, %v", said, err)
	}
	if _, said, err := h.Call(t, "create_service", args); err != nil || said != "" {
		t.Errorf("again: %q, %v", said, err)
	}
	args["exec_start"] = "/bin/app2"
	if _, said, err := h.Call(t, "create_service", args); err != nil || !strings.HasSuffix(said, "; app.service restart: active -> restarted") {
		t.Errorf("changed: %q, %v", said, err)
	}
	if _, said, err := h.Call(t, "remove_service", map[string]any{"name": "app"}); err != nil || !strings.HasPrefix(said, "app.service state: active -> inactive; app.service enablement: enabled -> disabled; /etc/") {
		t.Errorf("%q, %v", said, err)
	}
	want := "daemon-reload; enable -- app.service; start -- app.service; daemon-reload; restart -- app.service; stop -- app.service; disable -- app.service; daemon-reload"
	if got := h.calls(t); got != want {
		t.Errorf("it ran\n%s\nwanted\n%s", got, want)
	}
	if _, _, err := h.Call(t, "remove_service", map[string]any{"name": "app"}); err == nil || !strings.Contains(err.Error(), "the unit file of app.service is /lib/x, which this function leaves alone") {
		t.Errorf("a package's unit: %v", err)
	}
}

func TestEnsure(t *testing.T) {
	for _, c := range []struct {
		name, unit       string
		args             map[string]any
		diff, calls, err string
	}{
		{"started and enabled", stopped, map[string]any{"state": "started", "enabled": "yes"},
			"a.service enablement: disabled -> enabled; a.service state: inactive -> active", "enable -- a.service; start -- a.service", ""},
		{"as it is", running, map[string]any{"state": "started", "enabled": true}, "", "", ""},
		{"stopped and masked", running, map[string]any{"state": "stopped", "masked": true},
			"a.service state: active -> inactive; a.service enablement: enabled -> masked", "stop -- a.service; mask -- a.service", ""},
		{"unmasked and started", "LoadState=masked ActiveState=inactive UnitFileState=masked", map[string]any{"state": "started", "enabled": true, "masked": false},
			"a.service enablement: masked -> unmasked; a.service enablement: disabled -> enabled; a.service state: inactive -> active",
			"unmask -- a.service; enable -- a.service; start -- a.service", ""},
		{"restarted", running, map[string]any{"state": "restarted"}, "a.service restart: active -> restarted", "restart -- a.service", ""},
		{"nothing to read again", running, map[string]any{"state": "started", "daemon_reload": true}, "", "", ""},
		{"read again", strings.Replace(running, "Reload=no", "Reload=yes", 1), map[string]any{"daemon_reload": true},
			"a.service unit file: changed -> read again", "daemon-reload", ""},
		{"nothing said", running, map[string]any{}, "", "", "systemd.ensure: say at least one of state, enabled, masked and daemon_reload"},
		{"nonsense", running, map[string]any{"state": "started", "masked": true}, "", "", "systemd.ensure: what is masked can be neither started nor enabled"},
		{"a typo", running, map[string]any{"state": "startd"}, "", "", `systemd.ensure: state = "startd": it must be one of`},
		{"masked", "LoadState=masked ActiveState=inactive UnitFileState=masked", map[string]any{"state": "started"}, "", "",
			`systemd.ensure: a.service is masked, so that nobody can start it; systemd.unmask("a.service") first`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := fakeHost(t, map[string]string{"a.service": c.unit})
			c.args["name"] = "a"
			h.Overlay = machine.NewOverlay(h.Machine)
			for _, when := range []string{"the plan", "it"} {
				_, said, err := h.Call(t, "ensure", c.args)
				if said != c.diff || (err == nil) != (c.err == "") || err != nil && !strings.HasPrefix(err.Error(), c.err) {
					t.Errorf("%s said %q, %v", when, said, err)
				}
				if when == "the plan" {
					if got := h.calls(t); got != "" {
						t.Errorf("the plan ran %q", got)
					}
				}
				h.Overlay = nil
			}
			if got := h.calls(t); got != c.calls {
				t.Errorf("it ran %q, wanted %q", got, c.calls)
			}
			if _, again, err := h.Call(t, "ensure", c.args); c.err == "" && (err != nil || c.args["state"] != "restarted" && again != "") {
				t.Errorf("again: %q, %v", again, err)
			}
		})
	}
}

// What hides the file that was read counts as changed, also where it is planned.
func TestUnitFilesAreReadAgainWhereTheyChange(t *testing.T) {
	const path = "/etc/systemd/system/"
	read := strings.Replace(running, "/lib/x", path+"a.service", 1)
	for _, c := range []struct {
		name, unit string
		file, late string // in a plan, and written on the host before it
		want       string
	}{
		{"as it was", read, "", path + "a.service", ""},
		{"another in front of it", strings.Replace(running, "/lib/x", "/usr/lib/systemd/system/a.service", 1), "", path + "a.service", "a.service unit file: changed -> read again"},
		{"a drop-in", running, path + "a.service.d/more.conf", "", "a.service unit file: changed -> read again"},
		{"another's drop-in", running, path + "c.service.d/more.conf", "", ""},
		{"its own text", read, path + "a.service", path + "a.service", "a.service unit file: changed -> read again"},
		{"a new unit", running, path + "new.service", "", ""},
		{"generated", strings.Replace(running, "/lib/x", "/run/systemd/generator/a.service", 1), "", path + "a.service", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := fakeHost(t, map[string]string{"a.service": c.unit})
			h.put(t, "/run/systemd/generator/a.service", "")
			if c.late != "" {
				h.put(t, c.late, "[Service]\n")
			}
			args := map[string]any{"name": "a", "daemon_reload": true}
			h.Overlay = machine.NewOverlay(h.Machine)
			if c.file != "" {
				if dir := filepath.Dir(c.file); dir+"/" != path {
					h.Overlay.PutDir(dir, 0o755)
				}
				h.Overlay.PutFile(c.file, []byte("[Service]\nNice=3\n"), 0o644, 0, 0)
			}
			if _, said, err := h.Call(t, "ensure", args); err != nil || said != c.want {
				t.Errorf("%q, %v; wanted %q", said, err, c.want)
			}
			if c.want == "" || c.file != "" {
				return
			}
			h.Overlay = nil
			for _, want := range []string{c.want, ""} {
				if _, said, err := h.Call(t, "ensure", args); err != nil || said != want {
					t.Errorf("%q, %v; wanted %q", said, err, want)
				}
			}
		})
	}
}

// A run that was cut off between the file and daemon-reload is made whole.
func TestUnitFileThatWasNotRead(t *testing.T) {
	h := fakeHost(t, map[string]string{"app.service": stopped})
	args := map[string]any{"name": "app", "exec_start": "/bin/app"}
	if _, _, err := h.Call(t, "create_service", args); err != nil {
		t.Fatal(err)
	}
	h.put(t, "/run/standin/app.service", strings.ReplaceAll(strings.Replace(stopped, "Reload=no", "Reload=yes", 1), " ", "\n")+"\n")
	for _, want := range []string{"app.service unit file: changed -> read again", ""} {
		if _, said, err := h.Call(t, "create_service", args); err != nil || said != want {
			t.Errorf("%q, %v; wanted %q", said, err, want)
		}
	}
	if got := h.calls(t); got != "daemon-reload; daemon-reload" {
		t.Errorf("it ran %q", got)
	}
}

// OpenRC has services in several runlevels, all of which a boot passes through.
func TestRunlevels(t *testing.T) {
	h := fakeHost(t, nil)
	if err := os.RemoveAll(filepath.Join(h.Dir, "run/systemd")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/etc/init.d/app", "/etc/init.d/net", "/etc/runlevels/boot/net", "/etc/runlevels/sysinit/net", "/etc/init.d/off", "/etc/runlevels/shutdown/off"} {
		h.put(t, path, "")
	}
	h.Programs.Put(t, "rc-service", `[ "$2" = status ] || unexpected "$@"; exit 3`)
	h.Programs.Put(t, "rc-update", `called "$@"
verb=$1 name=$2; shift 2
for l; do
	if [ "$verb" = del ]; then rm "$ROOT/etc/runlevels/$l/$name" || exit 1; else mkdir -p "$ROOT/etc/runlevels/$l"; : > "$ROOT/etc/runlevels/$l/$name"; fi
done
`)
	for _, c := range []struct{ verb, unit, diff string }{
		{"enable", "net", ""}, {"disable", "net", "net.service enablement: enabled -> disabled"}, {"disable", "net", ""},
		{"enable", "off", "off.service enablement: disabled -> enabled"}, {"enable", "off", ""}, {"disable", "app", ""},
	} {
		if _, said, err := h.Call(t, c.verb, name(c.unit)); err != nil || said != c.diff {
			t.Errorf("%s %s: %q, %v", c.verb, c.unit, said, err)
		}
	}
	if got, want := h.calls(t), "rc-update del net sysinit boot; rc-update add off default"; got != want {
		t.Errorf("it ran\n%s\nwanted\n%s", got, want)
	}
}

// Without systemd there are scripts in /etc/init.d.
func TestClassic(t *testing.T) {
	h := fakeHost(t, nil)
	if err := os.RemoveAll(filepath.Join(h.Dir, "run/systemd")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/etc/init.d/app", "/etc/init.d/on", "/etc/rc2.d/S01on", "/etc/init.d/off", "/etc/rc2.d/K01off"} {
		h.put(t, path, "")
	}
	h.Programs.Put(t, "service", `[ "$2" != status ] || { [ "$1" = on ] || exit 3; exit 0; }
called "$@"
`)
	h.Programs.Put(t, "update-rc.d", `called "$@"`)
	for _, c := range []struct{ verb, unit, diff string }{
		{"start", "app", "app.service state: inactive -> active"}, {"start", "on", ""}, {"stop", "on", "on.service state: active -> inactive"},
		{"enable", "app", "app.service enablement: disabled -> enabled"}, {"enable", "off", "off.service enablement: disabled -> enabled"},
		{"enable", "on", ""}, {"disable", "on", "on.service enablement: enabled -> disabled"}, {"restart", "on", "on.service restart: active -> restarted"},
	} {
		if _, said, err := h.Call(t, c.verb, name(c.unit)); err != nil || said != c.diff {
			t.Errorf("%s %s: %q, %v", c.verb, c.unit, said, err)
		}
	}
	want := "service app start; service on stop; update-rc.d app defaults; update-rc.d off enable; update-rc.d on disable; service on restart"
	if got := h.calls(t); got != want {
		t.Errorf("it ran\n%s\nwanted\n%s", got, want)
	}
	if _, _, err := h.Call(t, "mask", name("app")); err == nil || !strings.Contains(err.Error(), "only systemd can mask services") {
		t.Errorf("mask: %v", err)
	}
}

// OpenRC has its own programs and links; a service that fails says so itself.
func TestOpenRC(t *testing.T) {
	h := fakeHost(t, nil)
	if err := os.RemoveAll(filepath.Join(h.Dir, "run/systemd")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/etc/init.d/app", "/etc/init.d/on", "/etc/runlevels/default/on", "/etc/init.d/bad"} {
		h.put(t, path, "")
	}
	h.Programs.Put(t, "rc-service", `case $2 in
status) [ "$1" = on ] || exit 3; exit 0 ;;
esac
called "$@"
[ "$1" != bad ] || { echo " * ERROR: bad failed to start" >&2; exit 1; }
`)
	h.Programs.Put(t, "service", `unexpected "$@"`)
	h.Programs.Put(t, "rc-update", `called "$@"`)
	for _, c := range []struct {
		function string
		args     map[string]any
		diff     string
	}{
		{"ensure", map[string]any{"name": "app", "state": "started", "enabled": true}, "app.service enablement: disabled -> enabled; app.service state: inactive -> active"},
		{"ensure", map[string]any{"name": "on", "state": "started", "enabled": true}, ""},
		{"disable", name("on"), "on.service enablement: enabled -> disabled"},
		{"reload", name("on"), "on.service reload: active -> reloaded"},
	} {
		if _, said, err := h.Call(t, c.function, c.args); err != nil || said != c.diff {
			t.Errorf("%s: %q, %v", c.function, said, err)
		}
	}
	want := "rc-update add app default; rc-service app start; rc-update del on default; rc-service on reload"
	if got := h.calls(t); got != want {
		t.Errorf("it ran\n%s\nwanted\n%s", got, want)
	}
	for _, c := range []struct {
		function string
		args     map[string]any
		want     string
	}{
		{"start", name("bad"), "systemd.start: rc-service bad start: exit code 1: * ERROR: bad failed to start"},
		{"start", name("none"), `systemd.start: there is no service "none" on this host; systemd.list_services() lists them, pkg.install brings more`},
		{"ensure", map[string]any{"name": "app", "masked": true}, "systemd.ensure: only systemd can mask services, and this host does not run it"},
		{"daemon_reload", map[string]any{}, "systemd.daemon_reload: this host does not run systemd"},
	} {
		if _, _, err := h.Call(t, c.function, c.args); err == nil || err.Error() != c.want {
			t.Errorf("%s ended with %v, wanted %s", c.function, err, c.want)
		}
	}
	h.Programs.Without(t, "rc-service", "service")
	if _, _, err := h.Call(t, "start", name("app")); err == nil || err.Error() != "systemd.start: this host runs neither systemd nor OpenRC nor SysV init, so it has no services to speak of" {
		t.Error(err)
	}
}

func FuzzShow(f *testing.F) {
	f.Add("Id=a.service\nLoadState=loaded\n\nId=b.service\nMainPID=x\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, u := range parseShow(text) {
			if u.Props == nil || u.table()["pid"] == nil {
				t.Errorf("%+v", u)
			}
		}
	})
}

func FuzzUnitName(f *testing.F) {
	for _, n := range []string{"nginx", "a@b.service", "-x", ".service", "x.timer", "a/b"} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n string) {
		got, err := unitName(n)
		if err == nil && (got[0] == '-' || strings.ContainsAny(got, "/ \n*?") || !strings.Contains(got, ".")) {
			t.Errorf("%q became %q", n, got)
		}
	})
}
