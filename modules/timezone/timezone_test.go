package timezone

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

var args = modulestest.Args

// host has time zones, and stand-ins for timedatectl and hwclock.
type host struct{ *modulestest.Host }

func fakeHost(t *testing.T, files map[string]string) host {
	t.Helper()
	all := map[string]string{"etc/localtime": "->/usr/share/zoneinfo/Etc/UTC", "etc/timezone": "Etc/UTC\n"}
	for _, zone := range []string{"Europe/Berlin", "Europe/Dublin", "America/Argentina/Ushuaia", "Etc/UTC", "UTC", "posix/Europe/Bern", "zone.tab"} {
		all["usr/share/zoneinfo/"+zone] = "TZif2"
	}
	maps.Copy(all, files)
	h := modulestest.NewHost(t, Module(), all)
	h.Say = said
	return host{h}
}

func said(d modules.Diff) string {
	var out []string
	for _, c := range d.Changes {
		out = append(out, fmt.Sprintf("%s %s: %q -> %q", c.What, c.Attr, c.Before, c.After))
	}
	return strings.Join(out, "; ")
}

// state is what there is of it on the host.
func (h host) state(t *testing.T) string {
	t.Helper()
	var out []string
	link, err := os.Readlink(filepath.Join(h.Dir, "etc/localtime"))
	if err != nil {
		link = "no link"
	}
	out = append(out, link)
	for _, name := range []string{"etc/timezone", "etc/adjtime"} {
		b, err := os.ReadFile(filepath.Join(h.Dir, name))
		if os.IsNotExist(err) {
			b, err = []byte("none"), nil
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%q", b))
	}
	return strings.Join(out, " ")
}

func TestSet(t *testing.T) {
	const (
		berlin = "/usr/share/zoneinfo/Europe/Berlin"
		link   = `/etc/localtime link: "/usr/share/zoneinfo/Etc/UTC" -> "` + berlin + `"`
		file   = `/etc/timezone content: "Etc/UTC\n" -> "Europe/Berlin\n"`
		local  = `"0.0 0 0.0\n0\nLOCAL\n"`
	)
	for _, c := range []struct {
		name               string
		files              map[string]string
		args               map[string]any
		diff, calls, state string
		zone               any
	}{
		{"plain", nil, args("name", "Europe/Berlin"), link + "; " + file, "", berlin + ` "Europe/Berlin\n" "none"`, "Europe/Berlin"},
		{"same", nil, args("zone", "Etc/UTC"), "", "", `/usr/share/zoneinfo/Etc/UTC "Etc/UTC\n" "none"`, "Etc/UTC"},
		{"relative link", map[string]string{"etc/localtime": "->../usr/share/zoneinfo/Europe/Berlin"}, args("name", "Europe/Berlin"), file, "",
			`../usr/share/zoneinfo/Europe/Berlin "Europe/Berlin\n" "none"`, "Europe/Berlin"},
		{"no file", map[string]string{"etc/timezone": "none"}, args("name", "Europe/Berlin"), link, "", berlin + ` "none" "none"`, "Europe/Berlin"},
		{"no file on Debian", map[string]string{"etc/timezone": "none", "etc/debian_version": "12"}, args("name", "Europe/Berlin"),
			link + `; /etc/timezone state: "absent" -> "file"; /etc/timezone content: "" -> "Europe/Berlin\n"`, "", berlin + ` "Europe/Berlin\n" "none"`, "Europe/Berlin"},
		{"a copy", map[string]string{"etc/localtime": "TZif2"}, args("name", "Etc/UTC"), `/etc/localtime link: "a file" -> "/usr/share/zoneinfo/Etc/UTC"`, "",
			`/usr/share/zoneinfo/Etc/UTC "Etc/UTC\n" "none"`, "Etc/UTC"},
		{"nothing", map[string]string{"etc/localtime": "none"}, args("name", "UTC"), `/etc/localtime link: "absent" -> "/usr/share/zoneinfo/UTC"; /etc/timezone content: "Etc/UTC\n" -> "UTC\n"`, "",
			`/usr/share/zoneinfo/UTC "UTC\n" "none"`, "UTC"},
		{"clock", nil, args("hwclock", "local"), `hardware clock time: "UTC" -> "local"`, "hwclock --systohc --localtime", `/usr/share/zoneinfo/Etc/UTC "Etc/UTC\n" ` + local, "Etc/UTC"},
		{"clock by systemd", map[string]string{"run/systemd/system/x": ""}, args("name", "Europe/Berlin", "hwclock", "local"), link + "; " + file + `; hardware clock time: "UTC" -> "local"`,
			"timedatectl --no-ask-password set-local-rtc 1", berlin + ` "Europe/Berlin\n" ` + local, "Europe/Berlin"},
		{"clock back", map[string]string{"etc/adjtime": "0.0 0 0.0\n0\nLOCAL\n"}, args("rtc", "UTC"), `hardware clock time: "local" -> "UTC"`, "hwclock --systohc --utc",
			`/usr/share/zoneinfo/Etc/UTC "Etc/UTC\n" "0.0 0 0.0\n0\nUTC\n"`, "Etc/UTC"},
		{"clock same", map[string]string{"etc/adjtime": "0.0 0 0.0\n0\nLOCAL\n"}, args("rtc", "local"), "", "", `/usr/share/zoneinfo/Etc/UTC "Etc/UTC\n" ` + local, "Etc/UTC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := fakeHost(t, c.files)
			before := h.state(t)
			h.Overlay = machine.NewOverlay(h.Machine)
			for _, want := range []string{c.diff, ""} {
				if _, said, err := h.Call(t, "set", c.args); err != nil || said != want {
					t.Errorf("the plan said %s, %v; wanted %s", said, err, want)
				}
			}
			if h.state(t) != before || h.Programs.Calls(t) != nil {
				t.Error("the plan changed something")
			}
			h.Overlay = nil
			if _, said, err := h.Call(t, "set", c.args); err != nil || said != c.diff {
				t.Errorf("it said %s, %v; wanted %s", said, err, c.diff)
			}
			if got := strings.Join(h.Programs.Calls(t), "; "); got != c.calls {
				t.Errorf("it ran %q, wanted %q", got, c.calls)
			}
			if got := h.state(t); got != c.state {
				t.Errorf("it left %s, wanted %s", got, c.state)
			}
			if got, _, err := h.Call(t, "get", nil); err != nil || got != c.zone {
				t.Errorf("the zone is %v, %v", got, err)
			}
			if _, said, err := h.Call(t, "set", c.args); err != nil || said != "" {
				t.Errorf("another run said %s, %v", said, err)
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	for _, c := range []struct {
		args map[string]any
		fail string
	}{
		{nil, `timezone.set: name is missing: the time zone, such as Europe/Berlin`},
		{args("name", "Europe/Belrin"), `timezone.set: this host does not know the time zone "Europe/Belrin"; did you mean "Europe/Berlin"?`},
		{args("name", "europe/berlin"), `timezone.set: this host does not know the time zone "europe/berlin"; did you mean "Europe/Berlin"?`},
		{args("name", "Ushuaia"), `timezone.set: this host does not know the time zone "Ushuaia"; did you mean "America/Argentina/Ushuaia"?`},
		{args("name", "Europe"), `timezone.set: this host does not know the time zone "Europe"; did you mean "Europe/Berlin"?`},
		{args("name", "Mars/Olympus_Mons"), "timezone.set: this host does not know the time zone \"Mars/Olympus_Mons\"; `ls -R /usr/share/zoneinfo` lists those it does"},
		{args("name", "../../../etc/passwd"), `timezone.set: name = "../../../etc/passwd" is no time zone; they look like Europe/Berlin or UTC`},
		{args("name", "/etc/passwd"), `timezone.set: name = "/etc/passwd" is no time zone; they look like Europe/Berlin or UTC`},
		{args("hwclock", "utc"), `timezone.set: hwclock = "utc": it must be one of UTC, local; did you mean "UTC"?`},
		{args("hwclock", "local"), `timezone.set: hwclock --systohc --localtime: exit code 1: hwclock: Cannot access the Hardware Clock via any known method.; virtual machines often have no hardware clock to set`},
	} {
		h := fakeHost(t, map[string]string{"run/standin/no-clock": ""})
		before := h.state(t)
		if _, _, err := h.Call(t, "set", c.args); err == nil || err.Error() != c.fail {
			t.Errorf("%v: %v\nwanted %s", c.args, err, c.fail)
		}
		if got := h.state(t); got != before {
			t.Errorf("%v: it failed and left %s", c.args, got)
		}
	}
}

// Without tzdata there are no zones, unless the plan brings them.
func TestNoZones(t *testing.T) {
	h := fakeHost(t, nil)
	if err := os.RemoveAll(filepath.Join(h.Dir, "usr")); err != nil {
		t.Fatal(err)
	}
	h.Overlay = machine.NewOverlay(h.Machine)
	want := `timezone.set: this host has no /usr/share/zoneinfo; pkg.install("tzdata") brings the time zones`
	if _, _, err := h.Call(t, "set", args("name", "Europe/Berlin")); err == nil || err.Error() != want {
		t.Errorf("%v\nwanted %s", err, want)
	}
	h.Overlay.Note(modules.NotedChange, "pkg.install")
	if _, said, err := h.Call(t, "set", args("name", "Europe/Berlin")); err != nil || said == "" {
		t.Errorf("%q, %v", said, err)
	}
	if got, _, err := h.Call(t, "get", nil); err != nil || got != "Europe/Berlin" {
		t.Errorf("the plan's zone is %v, %v", got, err)
	}
}
