package hostname

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

// fakeHost has a kernel's name, and stand-ins for hostname and hostnamectl.
func fakeHost(t *testing.T, files map[string]string) *modulestest.Host {
	t.Helper()
	all := map[string]string{"proc/sys/kernel/hostname": "old\n", "etc/hostname": "old\n", "etc/hosts": "127.0.0.1\tlocalhost\n::1 localhost"}
	maps.Copy(all, files)
	h := modulestest.NewHost(t, Module(), all)
	h.Say = said
	return h
}

func said(d modules.Diff) string {
	var out []string
	for _, c := range d.Changes {
		out = append(out, fmt.Sprintf("%s %s: %q -> %q", c.What, c.Attr, c.Before, c.After))
	}
	return strings.Join(out, "; ")
}

func TestSet(t *testing.T) {
	const kernels = `the kernel hostname: "old" -> "web-01"`
	for _, c := range []struct {
		name        string
		files       map[string]string
		host        string
		hosts       bool
		diff, calls string
		inHosts     string
	}{
		{"plain", nil, "web-01", false, kernels + `; /etc/hostname content: "old\n" -> "web-01\n"`, "hostname web-01", ""},
		{"same", nil, "old", false, "", "", ""},
		{"file alone", map[string]string{"proc/sys/kernel/hostname": "web-01\n"}, "web-01", false, `/etc/hostname content: "old\n" -> "web-01\n"`, "", ""},
		{"kernel alone", map[string]string{"etc/hostname": "# ours\nweb-01"}, "web-01", false, kernels, "hostname web-01", ""},
		{"no file", map[string]string{"etc/hostname": "none"}, "web-01", false, kernels + `; /etc/hostname state: "absent" -> "file"; /etc/hostname content: "" -> "web-01\n"`, "hostname web-01", ""},
		{"systemd", map[string]string{"run/systemd/system/x": ""}, "web-01", false, kernels + `; /etc/hostname content: "old\n" -> "web-01\n"`,
			"hostnamectl --no-ask-password --static --transient set-hostname web-01", ""},
		{"systemd without a bus", map[string]string{"run/systemd/system/x": "", "run/standin/no-bus": ""}, "web-01", false, kernels + `; /etc/hostname content: "old\n" -> "web-01\n"`,
			"hostnamectl --no-ask-password --static --transient set-hostname web-01; hostname web-01", ""},
		{"hosts", map[string]string{"etc/hostname": "web-01.example.com\n", "proc/sys/kernel/hostname": "web-01.example.com"}, "web-01.example.com", true,
			`/etc/hosts content: "127.0.0.1\tlocalhost\n::1 localhost" -> "127.0.0.1\tlocalhost\n127.0.1.1\tweb-01.example.com web-01\n::1 localhost\n"`, "",
			"127.0.0.1\tlocalhost\n127.0.1.1\tweb-01.example.com web-01\n::1 localhost\n"},
		{"hosts of old", map[string]string{"etc/hosts": "# x\n127.0.1.1 older oldest # y\n127.0.1.1 third\n127.0.0.1 localhost\n"}, "old", true,
			`/etc/hosts content: "# x\n127.0.1.1 older oldest # y\n127.0.1.1 third\n127.0.0.1 localhost\n" -> "# x\n127.0.1.1\told\n127.0.0.1 localhost\n"`, "",
			"# x\n127.0.1.1\told\n127.0.0.1 localhost\n"},
		{"hosts same", map[string]string{"etc/hosts": "127.0.1.1   old # y"}, "old", true, "", "", "127.0.1.1   old # y"},
		{"hosts empty", map[string]string{"etc/hosts": ""}, "old", true, `/etc/hosts content: "" -> "127.0.1.1\told\n"`, "", "127.0.1.1\told\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := fakeHost(t, c.files)
			args := map[string]any{"name": c.host, "hosts": c.hosts}
			h.Overlay = machine.NewOverlay(h.Machine)
			before := h.Read(t, "etc/hostname") + h.Read(t, "etc/hosts")
			for _, want := range []string{c.diff, ""} {
				if _, said, err := h.Call(t, "set", args); err != nil || said != want {
					t.Errorf("the plan said %s, %v; wanted %s", said, err, want)
				}
			}
			if h.Read(t, "etc/hostname")+h.Read(t, "etc/hosts") != before || h.Programs.Calls(t) != nil {
				t.Error("the plan changed something")
			}
			h.Overlay = nil
			if _, said, err := h.Call(t, "set", args); err != nil || said != c.diff {
				t.Errorf("it said %s, %v; wanted %s", said, err, c.diff)
			}
			if got := strings.Join(h.Programs.Calls(t), "; "); got != c.calls {
				t.Errorf("it ran %q, wanted %q", got, c.calls)
			}
			if got := h.Read(t, "etc/hosts"); c.inHosts != "" && got != c.inHosts {
				t.Errorf("/etc/hosts is %q, wanted %q", got, c.inHosts)
			}
			if got, _, err := h.CallAll(t, "get", nil); err != nil || fmt.Sprint(got) != fmt.Sprintf("[%s %s]", c.host, c.host) {
				t.Errorf("the host is called %v, %v", got, err)
			}
			if _, said, err := h.Call(t, "set", args); err != nil || said != "" {
				t.Errorf("another run said %s, %v", said, err)
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	for name, want := range map[string]string{
		"":                      `it is empty`,
		strings.Repeat("a", 65): `it is longer than the 64 characters that Linux keeps`,
		strings.Repeat("a", 64): `the part "` + strings.Repeat("a", 64) + `" is longer than 63 characters`,
		"web_01":                `"web_01" has a _; RFC 1123 allows letters, digits and -`,
		"-web":                  `"-web" is not made of letters and digits, with - between them`,
		"web-.example.com":      `"web-" is not made of letters and digits, with - between them`,
		"web..com":              `a part between dots is empty`,
		"web 01":                `"web 01" is not made of letters and digits, with - between them`,
		"web\n127.0.0.1 x":      `"web\n127" is not made of letters and digits, with - between them`,
		"10.0.0.1":              `it is an address`,
		"münchen":               `"münchen" is not made of letters and digits, with - between them`,
	} {
		h := fakeHost(t, nil)
		_, _, err := h.Call(t, "set", map[string]any{"name": name})
		if want = fmt.Sprintf("hostname.set: name = %q is no name of a host: %s", name, want); err == nil || err.Error() != want {
			t.Errorf("%q: %v\nwanted %s", name, err, want)
		}
	}
	h := fakeHost(t, map[string]string{"run/standin/not-root": ""})
	_, _, err := h.Call(t, "set", map[string]any{"name": "web-01"})
	if want := `hostname.set: hostname: exit code 1: hostname: you must be root to change the host name; the name is root's business: give the task :become("root")`; err == nil || err.Error() != want {
		t.Errorf("%v\nwanted %s", err, want)
	}
}

func FuzzHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost\n127.0.1.1 old\n", "web-01.example.com")
	f.Fuzz(func(t *testing.T, text, name string) {
		if validate(name) != nil {
			return
		}
		once := withHost(text, name)
		if twice := withHost(once, name); twice != once {
			t.Errorf("%q: %q, and then %q", text, once, twice)
		}
		for line := range strings.Lines(text) {
			if !is(line) && !strings.Contains(once, strings.TrimSuffix(line, "\n")) {
				t.Errorf("%q lost the line %q", text, line)
			}
		}
	})
}
