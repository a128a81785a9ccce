package sysctl

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

const (
	conf    = "etc/sysctl.conf"
	comment = "# Uncomment the next line\n#net.ipv4.ip_forward=1\n"
)

var args = modulestest.Args

// fakeHost has a kernel's parameters, and a stand-in for tee.
func fakeHost(t *testing.T, files map[string]string) *modulestest.Host {
	t.Helper()
	all := map[string]string{
		"proc/sys/net/ipv4/ip_forward": "0\n", "proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456\n",
		"proc/sys/net/ipv4/conf/eth0.1/forwarding": "0\n", "proc/sys/vm/swappiness": "60\n",
		"proc/sys/kernel/ostype": "Linux\n", "proc/sys/net/ipv4/flush": "", conf: comment, "etc/sysctl.d/x": "",
	}
	maps.Copy(all, files)
	h := modulestest.NewHost(t, Module(), all)
	h.Say = said
	for path, mode := range map[string]os.FileMode{"proc/sys/kernel/ostype": 0o444, "proc/sys/net/ipv4/flush": 0o200} {
		if err := os.Chmod(filepath.Join(h.Dir, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func said(d modules.Diff) string {
	var out []string
	for _, c := range d.Changes {
		if c.Text {
			c.Before, c.After = "", ""
		}
		if c.Unknown {
			c.Before = "unknown"
		}
		out = append(out, fmt.Sprintf("%s %s: %s -> %s", c.What, c.Attr, c.Before, c.After))
	}
	return strings.Join(out, "; ")
}

func TestChanges(t *testing.T) {
	const forward, both = "net.ipv4.ip_forward running value: 0 -> 1", "; /etc/sysctl.conf content:  -> "
	for _, c := range []struct {
		name, function string
		args           map[string]any
		conf           string // what the file holds before, below the comment
		diff           string
		calls          string
		after          string // what it holds afterwards
	}{
		{"new", "set", args("name", "net.ipv4.ip_forward", "value", int64(1)), "", forward + both, "tee /proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward=1\n"},
		{"boolean", "set", args("key", "net.ipv4.ip_forward", "val", true), "", forward + both, "tee /proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward=1\n"},
		{"word", "set", args("name", "net.ipv4.ip_forward", "value", "off"), "", "/etc/sysctl.conf content:  -> ", "", "net.ipv4.ip_forward=0\n"},
		{"slashes", "set", args("name", "net/ipv4/ip_forward", "value", "1"), "net.ipv4.ip_forward = 1\n", strings.ReplaceAll(forward, "net.ipv4.", "net/ipv4/"), "tee /proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward = 1\n"},
		{"dot in a name", "set", args("name", "net.ipv4.conf.eth0/1.forwarding", "value", "1"), "",
			"net.ipv4.conf.eth0/1.forwarding running value: 0 -> 1" + both, "tee /proc/sys/net/ipv4/conf/eth0.1/forwarding", "net.ipv4.conf.eth0/1.forwarding=1\n"},
		{"same", "set", args("name", "vm.swappiness", "value", 60.0), "vm.swappiness=60\n", "", "", "vm.swappiness=60\n"},
		{"same words", "set", args("name", "net.ipv4.tcp_rmem", "value", "4096 131072 6291456"), "net.ipv4.tcp_rmem = 4096 131072  6291456", "", "", "net.ipv4.tcp_rmem = 4096 131072  6291456"},
		{"file alone", "set", args("name", "vm.swappiness", "value", "10", "reload", false), "kernel.x=1", "/etc/sysctl.conf content:  -> ", "", "kernel.x=1\nvm.swappiness=10\n"},
		{"kernel too", "set", args("name", "vm.swappiness", "value", "10", "reload", false, "sysctl_set", true), "", "vm.swappiness running value: 60 -> 10" + both, "tee /proc/sys/vm/swappiness", "vm.swappiness=10\n"},
		{"several lines", "set", args("name", "vm.swappiness", "value", "60"), "vm.swappiness=1\nx=1\n-vm/swappiness=2\n", "/etc/sysctl.conf content:  -> ", "", "vm.swappiness=60\nx=1\n"},
		{"minus", "set", args("name", "vm.swappiness", "value", "60"), "-vm.swappiness = 1\n", "/etc/sysctl.conf content:  -> ", "", "-vm.swappiness=60\n"},
		{"the last counts", "set", args("name", "vm.swappiness", "value", "60"), "vm.swappiness=1\nvm.swappiness=60\n", "", "", "vm.swappiness=1\nvm.swappiness=60\n"},
		{"unknown", "set", args("name", "net.bridge.x", "value", "1", "ignoreerrors", true), "", "/etc/sysctl.conf content:  -> ", "", "net.bridge.x=1\n"},
		{"absent", "absent", args("name", "vm.swappiness"), "vm.swappiness=1\n; x\nvm/swappiness = 2\n", "/etc/sysctl.conf content:  -> ", "", "; x\n"},
		{"absent by state", "set", args("name", "vm.swappiness", "state", "absent"), "vm.swappiness=1\n", "/etc/sysctl.conf content:  -> ", "", ""},
		{"never there", "absent", args("name", "vm.swappiness"), "x=1\n", "", "", "x=1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := fakeHost(t, map[string]string{conf: comment + c.conf})
			h.Overlay = machine.NewOverlay(h.Machine)
			for _, when := range []struct{ name, want string }{{"the plan", c.diff}, {"planned twice, it", ""}} {
				if _, said, err := h.Call(t, c.function, c.args); err != nil || said != when.want {
					t.Errorf("%s said %q, %v; wanted %q", when.name, said, err, when.want)
				}
			}
			if now := h.Read(t, conf); now != comment+c.conf || h.Programs.Calls(t) != nil {
				t.Errorf("the plan changed the file into %q", now)
			}
			h.Overlay = nil
			if _, said, err := h.Call(t, c.function, c.args); err != nil || said != c.diff {
				t.Errorf("it said %q, %v; wanted %q", said, err, c.diff)
			}
			if got := strings.Join(h.Programs.Calls(t), "; "); got != c.calls {
				t.Errorf("it ran %q, wanted %q", got, c.calls)
			}
			if now := h.Read(t, conf); now != comment+c.after {
				t.Errorf("it left %q, wanted %q", now, comment+c.after)
			}
			if _, said, err := h.Call(t, c.function, c.args); err != nil || said != "" {
				t.Errorf("another run said %q, %v", said, err)
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	for _, c := range []struct {
		function string
		args     map[string]any
		fail     string
	}{
		{"set", args("name", "net.ipv4.ip_forwrad", "value", "1"), `sysctl.set: the kernel has no parameter "net.ipv4.ip_forwrad"; did you mean "net.ipv4.ip_forward"?`},
		{"set", args("name", "nte.ipv4.ip_forward", "value", "1"), `sysctl.set: the kernel has no parameter "nte.ipv4.ip_forward"; did you mean "net.ipv4.ip_forward"?`},
		{"set", args("name", "net/ipv4/conf/eht0.1/forwarding", "value", "1"), `sysctl.set: the kernel has no parameter "net/ipv4/conf/eht0.1/forwarding"; did you mean "net/ipv4/conf/eth0.1/forwarding"?`},
		{"get", args("name", "net.bridge.bridge-nf-call-iptables"), `sysctl.get: the kernel has no parameter "net.bridge.bridge-nf-call-iptables"; the module that brings it may not be loaded, and ignoreerrors = true sets it in the file alone`},
		{"get", args("name", "net.ipv4"), `sysctl.get: the kernel has no parameter "net.ipv4"; the module that brings it may not be loaded, and ignoreerrors = true sets it in the file alone`},
		{"set", args("name", "../../etc/passwd", "value", "1"), `sysctl.set: name = "../../etc/passwd" is no parameter: a part of it is empty; it looks like net.ipv4.ip_forward`},
		{"set", args("name", "net/../../../etc/passwd", "value", "1"), `sysctl.set: name = "net/../../../etc/passwd" is no parameter: a part of it is empty; it looks like net.ipv4.ip_forward`},
		{"set", args("name", "a = b", "value", "1"), `sysctl.set: name = "a = b" is no parameter: it is empty, or has -, blanks, = or the like in it; it looks like net.ipv4.ip_forward`},
		{"set", args("name", "vm.swappiness"), `sysctl.set: value is missing: the value of the parameter`},
		{"set", args("name", "vm.swappiness", "value", " "), `sysctl.set: value is empty; sysctl.absent takes a parameter out of its file`},
		{"set", args("name", "vm.swappiness", "value", "1\nkernel.core_pattern=|/x"), `sysctl.set: value = "1\nkernel.core_pattern=|/x" has a line break in it`},
		{"set", args("name", "vm.swappiness", "value", []any{"1"}), `sysctl.set: value must be text, a number or a boolean`},
		{"set", args("name", "vm.swappiness", "value", "1", "file", "a/"), `sysctl.set: sysctl_file = "a/" is no name of a file`},
		{"set", args("name", "kernel.ostype", "value", "BSD"), `sysctl.set: kernel.ostype can only be read, and is "Linux"`},
		{"set", args("name", "net.ipv4.flush", "value", "1"), `sysctl.set: net.ipv4.flush can only be written, so nobody can tell whether it has a value; use exec.run`},
		{"set", args("name", "vm.swappiness", "value", "bad"), `sysctl.set: the kernel refuses vm.swappiness = "bad": Invalid argument; the file is untouched`},
		{"set", args("name", "vm.swappiness", "value", "odd"), `sysctl.set: the kernel made "7" of vm.swappiness = "odd"; give the value in its words`},
	} {
		h := fakeHost(t, nil)
		if _, _, err := h.Call(t, c.function, c.args); err == nil || err.Error() != c.fail {
			t.Errorf("%v: %v\nwanted %s", c.args, err, c.fail)
		}
		if got := h.Read(t, conf); got != comment {
			t.Errorf("%v: it failed, and left %q", c.args, got)
		}
	}
}

// A planned change may bring a parameter, and a folder's file is named shortly.
func TestPlanGoesOn(t *testing.T) {
	h := fakeHost(t, nil)
	h.Overlay = machine.NewOverlay(h.Machine)
	if _, _, err := h.Call(t, "set", args("name", "net.bridge.x", "value", "1")); err == nil {
		t.Error("an unknown parameter was planned on a host that nothing was planned for")
	}
	h.Overlay.Note(modules.NotedTool, "exec.run")
	want := "net.bridge.x running value: unknown -> 1; /etc/sysctl.d/bridge.conf state: absent -> file; /etc/sysctl.d/bridge.conf content:  -> "
	if _, said, err := h.Call(t, "set", args("name", "net.bridge.x", "value", "1", "file", "bridge")); err != nil || said != want {
		t.Errorf("%q, %v", said, err)
	}
	if got, _, err := h.Call(t, "get", args("name", "net.bridge.x")); err != nil || got != "1" {
		t.Errorf("the plan gets %v, %v", got, err)
	}
	h.Overlay.PutUnknownFile("/etc/sysctl.d/drawn.conf", 0o644)
	want = "/etc/sysctl.d/drawn.conf content: unknown -> "
	if _, said, err := h.Call(t, "absent", args("name", "vm.swappiness", "file", "drawn")); err != nil || said != want {
		t.Errorf("%q, %v", said, err)
	}
	h.Overlay = nil
	if got, _, err := h.Call(t, "get", args("name", "net.ipv4.tcp_rmem")); err != nil || got != "4096\t131072\t6291456" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWarnsWhereNothingReadsTheFile(t *testing.T) {
	for link, want := range map[string]int{"etc/sysctl.d/99-sysctl.conf": 0, "etc/other": 1} {
		h := fakeHost(t, map[string]string{"run/systemd/system/x": "", link: ""})
		if _, _, err := h.Call(t, "set", args("name", "vm.swappiness", "value", "60")); err != nil || len(h.Logged) != want {
			t.Errorf("with %s: %q, %v", link, h.Logged, err)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add("a.b = 1\n#a.b=2\n-a/b=3", "a.b", "4")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		k, err := parseKey(name)
		value, err2 := textOf(value)
		if err != nil || err2 != nil {
			return
		}
		if p := k.path(); !strings.HasPrefix(p, procSys+"/") {
			t.Fatalf("%q leads to %s", name, p)
		}
		once := put(text, k, value)
		if twice := put(once, k, value); twice != once {
			t.Errorf("%q: %q, and then %q", text, once, twice)
		}
		if left := drop(once, k); drop(left, k) != left || left == once {
			t.Errorf("%q: %q is left of %q", text, left, once)
		}
	})
}
