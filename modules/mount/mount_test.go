package mount

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

const (
	info = "proc/self/mountinfo"
	tab  = "etc/fstab"

	kernel = `1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw
2 1 0:20 / /mnt/tmp rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
3 1 8:17 / /mnt/my\040disk rw - ext4 /dev/sdb1 rw
4 1 8:1 /srv/real /mnt/bound rw - ext4 /dev/sda1 rw
5 1 0:30 / /mnt/dead rw - nfs4 nas:/export rw
6 1 0:31 / /mnt/busy rw - tmpfs tmpfs rw
7 1 7:0 / /mnt/image ro - iso9660 /dev/loop0 ro
8 1 0:32 / /mnt/twice rw - tmpfs one rw
9 1 0:33 / /mnt/twice rw - tmpfs two rw
`
	listing = `# Static file systems.
/dev/sda1   /   ext4   errors=remount-ro   0   1

tmpfs /mnt/tmp tmpfs nosuid
/dev/sdb1 /mnt/my\040disk/ ext4 defaults 0 2
/dev/sdc1 none swap sw 0 0
/dev/sdc2 none swap sw 0 0
not a line
`
)

var args = modulestest.Args

// fakeHost has a kernel's table of mounts, and stand-ins for mount and umount.
func fakeHost(t *testing.T, files map[string]string) *modulestest.Host {
	t.Helper()
	all := map[string]string{
		info: kernel, tab: listing, "srv/real/x": "", "srv/images/cd.iso": "", "dev/sdb1": "", "dev/sdd1": "", "dev/sda1": "", "dev/disk/by-uuid/47-11": "->../../sdb1",
		"sys/block/loop0/loop/backing_file": "/srv/images/cd.iso\n", "mnt/full/x": "", "mnt/some/x/": "", "mnt/file": "", "mnt/link": "->tmp",
		"mnt/tmp/": "", "mnt/my disk/": "", "mnt/bound/": "", "mnt/busy/": "", "mnt/twice/": "", "mnt/image/": "",
	}
	maps.Copy(all, files)
	h := modulestest.NewHost(t, Module(), all)
	h.Workdir, h.Say = "/srv", said
	return h
}

func said(d modules.Diff) string {
	var out []string
	for _, c := range d.Changes {
		if c.Unknown && c.Attr == "content" {
			out = append(out, c.What+" "+c.Attr+": unknown")
			continue
		}
		if c.Text {
			c.Before, c.After = "…", "…"
		}
		out = append(out, fmt.Sprintf("%s %s: %s -> %s", c.What, c.Attr, c.Before, c.After))
	}
	return strings.Join(out, "; ")
}

func TestChanges(t *testing.T) {
	const file = "/etc/fstab content: … -> …"
	add := func(line string) func(string) string { return func(s string) string { return s + line + "\n" } }
	swap := func(old, fresh string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, fresh, 1) }
	}
	for _, c := range []struct {
		name, function string
		args           map[string]any
		diff, calls    string
		tab            func(string) string // what becomes of fstab
	}{
		{"listed", "present", args("path", "/srv/my data", "src", "/dev/sdd1", "fstype", "xfs"), file, "", add(`/dev/sdd1 /srv/my\040data xfs defaults 0 0`)},
		{"listed same", "present", args("path", "/mnt/my disk", "src", "/dev/sdb1", "fstype", "ext4", "passno", int64(2)), "", "", nil},
		{"listed other", "present", args("path", "/mnt/my disk/", "src", "/dev/sdb1", "fstype", "ext4", "opts", "ro", "boot", false), file, "",
			swap(`/dev/sdb1 /mnt/my\040disk/ ext4 defaults 0 2`, `/dev/sdb1 /mnt/my\040disk ext4 ro,noauto 0 0`)},
		{"short line", "present", args("path", "/mnt/tmp", "src", "tmpfs", "fstype", "tmpfs", "opts", "nosuid"), "", "", nil},
		{"swap", "present", args("path", "none", "src", "/dev/sdc2", "fstype", "swap", "opts", "sw,pri=1"), file, "", swap("/dev/sdc2 none swap sw", "/dev/sdc2 none swap sw,pri=1")},

		{"mounted", "mounted", args("path", "/srv/a/b", "src", "/dev/sdd1", "fstype", "xfs", "opts", "noatime"),
			"/srv/a state: absent -> directory; /srv/a/b state: absent -> directory; /srv/a/b mount:  -> /dev/sdd1 (xfs); " + file,
			"mount -t xfs -o noatime -- /dev/sdd1 /srv/a/b", add("/dev/sdd1 /srv/a/b xfs noatime 0 0")},
		{"mounted same", "mounted", args("path", "/mnt/my disk", "src", "/dev/sdb1", "fstype", "ext4", "passno", int64(2)), "", "", nil},
		{"mounted by uuid", "mounted", args("path", "/mnt/my disk", "src", "UUID=47-11", "fstype", "ext4", "passno", int64(2)), file, "",
			swap("/dev/sdb1 /mnt/my\\040disk/", "UUID=47-11 /mnt/my\\040disk")},
		{"mounted other options", "mounted", args("path", "/mnt/tmp", "src", "tmpfs", "fstype", "tmpfs", "opts", "nosuid,ro"),
			"/mnt/tmp options: rw,nosuid -> nosuid,ro; " + file, "mount -o remount,nosuid,ro -- tmpfs /mnt/tmp", swap("tmpfs /mnt/tmp tmpfs nosuid", "tmpfs /mnt/tmp tmpfs nosuid,ro 0 0")},
		{"mounted by a link", "mounted", args("path", "/mnt/link", "src", "tmpfs", "fstype", "tmpfs", "opts", "nosuid,size=64m,mode=0755"),
			file, "", add("tmpfs /mnt/link tmpfs nosuid,size=64m,mode=0755 0 0")},
		{"bound", "mounted", args("path", "/mnt/bound", "src", "/srv/real", "fstype", "none", "opts", "bind"), file, "", add("/srv/real /mnt/bound none bind 0 0")},
		{"image", "mounted", args("path", "/mnt/image", "src", "/srv/images/cd.iso", "fstype", "iso9660", "opts", "loop,ro"), file, "", add("/srv/images/cd.iso /mnt/image iso9660 loop,ro 0 0")},

		{"ephemeral", "ephemeral", args("path", "/mnt/some", "src", "tmpfs", "fstype", "tmpfs", "opts", "size=1m"), "/mnt/some mount:  -> tmpfs (tmpfs)", "mount -t tmpfs -o size=1m -- tmpfs /mnt/some", nil},
		{"ephemeral same", "ephemeral", args("path", "/mnt/tmp", "src", "tmpfs", "fstype", "tmpfs", "opts", "size=64m"), "", "", nil},
		{"ephemeral other", "ephemeral", args("path", "/mnt/tmp", "src", "tmpfs", "fstype", "tmpfs", "opts", "ro"), "/mnt/tmp options: rw,nosuid -> ro", "mount -o remount,ro -- tmpfs /mnt/tmp", nil},
		{"ephemeral by state", "mounted", args("path", "/mnt/some", "src", "tmpfs", "fstype", "tmpfs", "state", "ephemeral"), "/mnt/some mount:  -> tmpfs (tmpfs)", "mount -t tmpfs -- tmpfs /mnt/some", nil},

		{"unmounted", "unmounted", args("path", "/mnt/tmp/"), "/mnt/tmp mount: tmpfs (tmpfs) -> ", "umount -- /mnt/tmp", nil},
		{"unmounted twice", "unmounted", args("path", "/mnt/twice"), "/mnt/twice mount: two (tmpfs) -> ", "umount -- /mnt/twice; umount -- /mnt/twice", nil},
		{"unmounted lazily", "unmounted", args("path", "/mnt/busy", "lazy", true), "/mnt/busy mount: tmpfs (tmpfs) -> ", "umount -l -- /mnt/busy", nil},
		{"unmounted already", "unmounted", args("path", "/mnt/some"), "", "", nil},

		{"absent", "absent", args("path", "/mnt/tmp"), "/mnt/tmp mount: tmpfs (tmpfs) -> ; /mnt/tmp state: directory -> absent; " + file, "umount -- /mnt/tmp", swap("tmpfs /mnt/tmp tmpfs nosuid\n", "")},
		{"absent already", "absent", args("path", "/mnt/some"), "", "", nil},
		{"absent swap", "absent", args("path", "none", "src", "/dev/sdc1"), file, "", swap("/dev/sdc1 none swap sw 0 0\n", "")},
		{"absent from fstab", "absent_from_fstab", args("path", "/mnt/my disk"), file, "", swap("/dev/sdb1 /mnt/my\\040disk/ ext4 defaults 0 2\n", "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := fakeHost(t, nil)
			want := listing
			if c.tab != nil {
				if want = c.tab(listing); want == listing {
					t.Fatal("the case changes nothing in fstab")
				}
			}
			h.Overlay = machine.NewOverlay(h.Machine)
			if _, said, err := h.Call(t, c.function, c.args); err != nil || said != c.diff {
				t.Errorf("the plan said %q, %v; wanted %q", said, err, c.diff)
			}
			if _, said, err := h.Call(t, c.function, c.args); err != nil || said != "" {
				t.Errorf("planned twice, it said %q, %v", said, err)
			}
			if h.Read(t, tab) != listing || h.Read(t, info) != kernel || h.Programs.Calls(t) != nil {
				t.Error("the plan changed something")
			}
			h.Overlay = nil
			if _, said, err := h.Call(t, c.function, c.args); err != nil || said != c.diff {
				t.Errorf("it said %q, %v; wanted %q", said, err, c.diff)
			}
			if got := strings.Join(h.Programs.Calls(t), "; "); got != c.calls {
				t.Errorf("it ran %q, wanted %q", got, c.calls)
			}
			if got := h.Read(t, tab); got != want {
				t.Errorf("fstab is\n%s\nwanted\n%s", got, want)
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
		{"mounted", args("path", "/mnt/x", "fstype", "ext4"), `mount.mounted: src is missing: what is mounted`},
		{"mounted", args("path", "/mnt/x", "src", "/dev/x"), `mount.mounted: fstype is missing: the type of the file system`},
		{"mounted", args("path", "/mnt/x", "src", "/dev/x", "fstype", "ext4", "state", "mount"), `mount.mounted: state = "mount": it must be one of mounted, present, unmounted, absent, absent_from_fstab, remounted, ephemeral; did you mean "mounted"?`},
		{"present", args("path", "/mnt/x", "src", "/dev/x\n/dev/sda1 /", "fstype", "ext4"), `mount.present: src = "/dev/x\n/dev/sda1 /" has a line break in it`},
		{"present", args("path", "/mnt/x", "src", "#x", "fstype", "ext4"), `mount.present: src = "#x" would be a comment in fstab`},
		{"present", args("path", "/mnt/x", "src", "x", "fstype", "-O"), `mount.present: fstype = "-O" is no type of a file system`},
		{"present", args("path", "/mnt/x", "src", "x", "fstype", "ext4", "opts", "ro, noexec"), `mount.present: opts = "ro, noexec" has a blank or an empty option in it`},
		{"mounted", args("path", "none", "src", "/dev/sdc1", "fstype", "swap"), `mount.mounted: swap is not mounted: mount.present lists it, and exec.run("swapon -a") brings it into use`},
		{"mounted", args("path", "/mnt/new", "src", "/dev/none", "fstype", "ext4"), `mount.mounted: mount /dev/none: exit code 32: mount: /mnt/new: special device /dev/none does not exist.`},
		{"mounted", args("path", "/mnt/file", "src", "/dev/sdd1", "fstype", "ext4"), `mount.mounted: /mnt/file is no folder, and nothing can be mounted there`},
		{"mounted", args("path", "/mnt/file/x", "src", "/dev/sdd1", "fstype", "ext4"), `mount.mounted: /mnt/file is no folder, and nothing can be mounted there`},
		{"mounted", args("path", "/mnt/my disk", "src", "/dev/sdd1", "fstype", "ext4"), `mount.mounted: /dev/sdb1 is mounted at /mnt/my disk, and not /dev/sdd1; mount.unmounted("/mnt/my disk") first if it should go`},
		{"mounted", args("path", "/mnt/dead", "src", "nas:/other", "fstype", "nfs4"), `mount.mounted: nas:/export is mounted at /mnt/dead, and not nas:/other; mount.unmounted("/mnt/dead") first if it should go`},
		{"ephemeral", args("path", "/mnt/tmp", "src", "/dev/sdd1", "fstype", "ext4"), `mount.ephemeral: tmpfs is mounted at /mnt/tmp, and not /dev/sdd1; mount.unmounted("/mnt/tmp") first if it should go`},
		{"mounted", args("path", "/mnt/slow", "src", "slow:/x", "fstype", "nfs", "timeout", 0.05), `mount.mounted: mount slow:/x: run /bin/sh: timed out after 50ms; it was killed with everything it started`},
		{"unmounted", args("path", "/mnt/busy"), "mount.unmounted: umount /mnt/busy: exit code 32: umount: /mnt/busy: target is busy.; `fuser -vm /mnt/busy` says who uses it, lazy = true detaches it all the same"},
		{"unmounted", args("path", "/"), `mount.unmounted: / is the root of this host, which is not unmounted`},
		{"absent", args("path", "none"), `mount.absent: src is missing: the device of the swap`},
		{"ephemeral", args("path", "/mnt/some", "src", "/dev/notroot", "fstype", "ext4"), `mount.ephemeral: mount /dev/notroot: exit code 1: mount: /mnt/some: must be superuser to use mount.; mounting is root's business: give the task :become("root")`},
		{"remounted", args("path", "/mnt/some"), `mount.remounted: nothing is mounted at /mnt/some; mount.mounted or mount.ephemeral mount something`},
		{"remounted", args("path", "/mnt/tmp", "opts", "stubborn"), `mount.remounted: remount /mnt/tmp: exit code 32: mount: /mnt/tmp: cannot remount read-only.`},
	} {
		h := fakeHost(t, nil)
		if _, _, err := h.Call(t, c.function, c.args); err == nil || err.Error() != c.fail {
			t.Errorf("%v: %v\nwanted %s", c.args, err, c.fail)
		}
		if h.Read(t, tab) != listing || h.Read(t, info) != kernel {
			t.Errorf("%v: it failed and changed something", c.args)
		}
		if _, err := os.Stat(filepath.Join(h.Dir, "mnt/new")); err == nil {
			t.Errorf("%v: it failed and left a folder", c.args)
		}
	}
}

// Nothing looks at a server that does not answer; where something must, it has
// a deadline.
func TestDeadServer(t *testing.T) {
	h := fakeHost(t, nil)
	h.Machine = watched{h.Machine, t}
	start := time.Now()
	if got, _, err := h.Call(t, "get", args("path", "/mnt/dead")); err != nil || got.(map[string]any)["src"] != "nas:/export" {
		t.Errorf("%v, %v", got, err)
	}
	if _, said, err := h.Call(t, "mounted", args("path", "/mnt/dead", "src", "nas:/export", "fstype", "nfs4")); err != nil || said == "" {
		t.Errorf("%q, %v", said, err)
	}
	if _, _, err := h.Call(t, "unmounted", args("path", "/mnt/dead/below")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), 200*time.Millisecond, fmt.Errorf("too late"))
	defer cancel()
	all, err := mounts(h.Machine)
	if err != nil {
		t.Fatal(err)
	}
	want := "/mnt/dead/new is in nas:/export, which does not answer (run /bin/sh: too late)"
	if _, err := isFolder(ctx, h.Machine, all, "/mnt/dead/new"); err == nil || err.Error() != want {
		t.Errorf("%v, wanted %s", err, want)
	}
	if _, _, err := h.Call(t, "unmounted", args("path", "/mnt/dead")); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestFullFoldersStay(t *testing.T) {
	h := fakeHost(t, map[string]string{tab: "/dev/sdd1 /mnt/full ext4 defaults 0 0\ntmpfs /mnt/busy tmpfs defaults 0 0\n"})
	if _, _, err := h.Call(t, "absent", args("path", "/mnt/full")); err != nil || h.Read(t, "mnt/full/x") != "" {
		t.Error(err)
	}
	h = fakeHost(t, map[string]string{"mnt/tmp/kept": ""})
	if _, _, err := h.Call(t, "absent", args("path", "/mnt/tmp")); err != nil || h.Read(t, "mnt/tmp/kept") != "" || len(h.Logged) != 1 {
		t.Errorf("%v, %q", err, h.Logged)
	}
}

func TestRemounted(t *testing.T) {
	h := fakeHost(t, map[string]string{"etc/other": ""})
	for _, c := range []struct {
		args  map[string]any
		calls string
	}{
		{args("path", "/mnt/tmp"), "mount -o remount -- /mnt/tmp"},
		{args("path", "/mnt/tmp", "opts", "ro"), "mount -o remount,ro -- /mnt/tmp"},
		{args("path", "/mnt/tmp", "fstab", "/etc/other"), "mount -T /etc/other -o remount -- /mnt/tmp"},
	} {
		for range 2 {
			if _, said, err := h.Call(t, "remounted", c.args); err != nil || said == "" {
				t.Errorf("%v: %q, %v", c.args, said, err)
			}
			if got := strings.Join(h.Programs.Calls(t), "; "); got != c.calls {
				t.Errorf("%v: it ran %q", c.args, got)
			}
		}
	}
}

func TestList(t *testing.T) {
	h := fakeHost(t, nil)
	got, _, err := h.Call(t, "list", args("fstype", "tmpfs"))
	want := "[map[fstype:tmpfs opts:rw,nosuid,size=65536k,mode=755 path:/mnt/tmp root:/ src:tmpfs] map[fstype:tmpfs opts:rw path:/mnt/busy root:/ src:tmpfs] map[fstype:tmpfs opts:rw path:/mnt/twice root:/ src:two]]"
	if err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v", got, err)
	}
	if got, _, err := h.Call(t, "get", args("path", "/mnt/some")); err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// A plan's mounts are there for the rest of the plan.
func TestPlanGoesOn(t *testing.T) {
	h := fakeHost(t, nil)
	h.Overlay = machine.NewOverlay(h.Machine)
	for _, c := range []struct {
		function string
		args     map[string]any
		changes  bool
	}{
		{"mounted", args("path", "/mnt/p", "src", "/dev/sdd1", "fstype", "ext4"), true},
		{"mounted", args("path", "/mnt/p", "src", "/dev/sdd1", "fstype", "ext4"), false},
		{"ephemeral", args("path", "/mnt/p/sub", "src", "tmpfs", "fstype", "tmpfs"), true},
		{"unmounted", args("path", "/mnt/p/sub"), true},
		{"absent", args("path", "/mnt/p"), true},
		{"absent", args("path", "/mnt/p"), false},
	} {
		if _, said, err := h.Call(t, c.function, c.args); err != nil || (said != "") != c.changes {
			t.Errorf("%s %v: %q, %v", c.function, c.args, said, err)
		}
	}
	h.Overlay.PutUnknownFile("/etc/fstab", 0o644)
	want := "/etc/fstab content: unknown"
	if _, said, err := h.Call(t, "present", args("path", "/mnt/q", "src", "/dev/sdd1", "fstype", "ext4")); err != nil || said != want {
		t.Errorf("%q, %v", said, err)
	}
	if h.Read(t, info) != kernel || h.Read(t, tab) != listing {
		t.Error("the plan changed something")
	}
}

func FuzzTables(f *testing.F) {
	f.Add(kernel, "/mnt/my disk", "/dev/x")
	f.Add(listing, `/a\b`, "a b")
	f.Fuzz(func(t *testing.T, text, folder, src string) {
		for _, m := range parseMounts(text) {
			if again := parseMounts(m.line()); len(again) == 1 && again[0].path != m.path {
				t.Errorf("%+v is not %+v", m, again[0])
			}
		}
		want := row{src: src, path: filepath.Clean("/" + folder), fstype: "ext4", opts: "ro"}
		if complete(want.path, src, want.fstype, want.opts) != nil || strings.ContainsAny(src+folder, "\v\f\u0085\u00a0") {
			return
		}
		if r, ok := parseRow(want.String()); ok && r != want {
			t.Errorf("%+v became %+v", want, r)
		}
		once, _ := put(text, want)
		if twice, _ := put(once, want); twice != once {
			t.Errorf("%q: %q, and then %q", text, once, twice)
		}
	})
}
