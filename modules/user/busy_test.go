package user

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

// needRoot skips what only root can set up.
func needRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("SLOTH_MUST_RUN") == "1":
		t.Fatal("this needs root")
	default:
		t.Skip("only root gives files away")
	}
}

func TestLoggedIn(t *testing.T) {
	needRoot(t)
	h := fakeHost(t)
	for pid, owner := range map[string]int{"4711": 1000, "4712": 1000, "1": 0, "self": 1000} {
		h.Put(t, "/proc/"+pid+"/comm", map[string]string{"4711": "bash\n", "4712": "sleep\n"}[pid])
		if err := os.Chown(filepath.Join(h.Dir, "proc", pid), owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	const runs = `user "bob" is logged in: it runs bash (pid 4711), sleep (pid 4712); `
	for _, c := range []struct {
		function   string
		args       map[string]any
		fail, runs string
	}{
		{"delete", args("name", "bob"), "user.delete: " + runs + "end that first, or say force = true", ""},
		{"create", args("name", "bob", "state", "absent"), "user.create: " + runs + "end that first, or say force = true", ""},
		{"modify", args("name", "bob", "uid", int64(2000)), "user.modify: " + runs + "its number and home folder cannot be changed meanwhile: end that first", ""},
		{"set_home", args("name", "bob", "home", "/srv/b", "move_home", true), "user.set_home: " + runs + "its number and home folder cannot be changed meanwhile: end that first", ""},
		{"set_shell", args("name", "bob", "shell", "/bin/dash"), "", "usermod -s /bin/dash -- bob"},
		{"delete", args("name", "bob", "force", true), "", "userdel -f -- bob"},
	} {
		h.Overlay = machine.NewOverlay(h.Machine)
		for range 2 { // the plan says the same
			if _, _, err := h.Call(t, c.function, c.args); (err == nil) != (c.fail == "") || err != nil && err.Error() != c.fail {
				t.Errorf("%s ended with\n%v\nwanted\n%s", c.function, err, c.fail)
			}
			h.Overlay = nil
		}
		if got := h.calls(t); got != c.runs {
			t.Errorf("%s ran %q", c.function, got)
		}
	}
}

// records of the two files, as glibc writes them.
func lastlogRecord(l layout, at int64, line, host string) []byte {
	b := make([]byte, l.lastlog)
	putTime(l, b, at)
	copy(b[l.lastlogLine:], line)
	copy(b[l.lastlogLine+32:], host)
	return b
}

func wtmpRecord(l layout, kind uint16, name string, at int64, line, host string) []byte {
	b := make([]byte, l.wtmp)
	binary.LittleEndian.PutUint16(b, kind)
	copy(b[8:40], line)
	copy(b[44:76], name)
	copy(b[76:332], host)
	putTime(l, b[l.wtmpTime:], at)
	return b
}

func putTime(l layout, b []byte, at int64) {
	if l.wide {
		binary.LittleEndian.PutUint64(b, uint64(at))
		return
	}
	binary.LittleEndian.PutUint32(b, uint32(at))
}

func TestLastLogin(t *testing.T) {
	h := fakeHost(t)
	if _, _, err := h.Call(t, "get_last_login", args("name", "bob")); err == nil || !strings.Contains(err.Error(), "keeps neither /var/log/lastlog nor /var/log/wtmp") {
		t.Error(err)
	}
	l := layoutOf(runtime.GOARCH)
	wtmp := bytes.Join([][]byte{
		wtmpRecord(l, userLogin, "bob", 1_700_000_000, "pts/0", "10.0.0.1"), wtmpRecord(l, userLogin, "root", 1_800_000_000, "tty1", ""),
		wtmpRecord(l, 8, "bob", 1_900_000_000, "pts/0", ""), {1, 2, 3}, // a logout, and a record cut short
	}, nil)
	h.Put(t, wtmpFile, string(wtmp))
	if got, _, err := h.Call(t, "get_last_login", args("name", "bob")); err != nil || fmt.Sprint(got) != "map[date:2023-11-14T22:13:20Z host:10.0.0.1 terminal:pts/0 time:1700000000]" {
		t.Error(got, err)
	}
	lastlog := make([]byte, 1001*l.lastlog)
	copy(lastlog[1000*l.lastlog:], lastlogRecord(l, 1_750_000_000, "tty2", "evil\x1b[31m"))
	h.Put(t, lastlogFile, string(lastlog))
	if got, _, err := h.Call(t, "get_last_login", args("name", "bob")); err != nil || got.(map[string]any)["terminal"] != "tty2" {
		t.Error(got, err)
	}
	h.Put(t, "/etc/passwd", passwd+"far:x:2000000000:0::/:/bin/sh\n")
	for _, name := range []string{"far", "none"} {
		if got, _, err := h.Call(t, "get_last_login", args("name", name)); err != nil || got != nil {
			t.Error(name, got, err)
		}
	}
}

func FuzzLogins(f *testing.F) {
	for _, arch := range []string{"amd64", "arm64"} {
		l := layoutOf(arch)
		f.Add(wtmpRecord(l, userLogin, "bob", 1, "pts/0", "h"), arch)
		f.Add(lastlogRecord(l, 1, "pts/0", "h"), arch)
	}
	f.Fuzz(func(t *testing.T, b []byte, arch string) {
		l := layoutOf(arch)
		g, ok := l.parseLastlog(b)
		if ok && !utf8.ValidString(fmt.Sprint(g.table())) {
			t.Errorf("%+v", g)
		}
		if _, g = l.parseWtmp(b); !utf8.ValidString(fmt.Sprint(g.table())) {
			t.Errorf("%+v", g)
		}
	})
}

// Where busybox has the users, adduser makes them and lines are edited.
func TestBusybox(t *testing.T) {
	h := fakeHost(t)
	h.Programs.Without(t, "useradd", "usermod", "userdel", "groupadd", "groupmod", "groupdel", "chage")
	for _, tool := range []string{"adduser", "deluser", "addgroup", "delgroup"} {
		h.Programs.Put(t, tool, `called "$@"`)
	}
	h.Put(t, "/home/bob/notes", "x")
	h.Put(t, "/srv/other", "")
	for _, c := range []struct {
		function string
		args     map[string]any
		runs     string
	}{
		{"create", args("name", "new", "uid", int64(1234), "home", "/srv/new", "shell", "/bin/ash", "groups", []any{"web", "ops"}, "comment", "A B", "password", "$6$x$y"),
			"adduser -D -u 1234 -h /srv/new -s /bin/ash -g A B -- new; addgroup new ops; addgroup new web; chpasswd -e; < new:$6$x$y"},
		{"create", args("name", "ann", "system", true, "create_home", false), "adduser -D -H -S -G ann -- ann"},
		{"modify", args("name", "bob", "groups", []any{"ops"}, "append", false), "addgroup bob ops; delgroup bob web"},
		{"modify", args("name", "bob", "shell", "/bin/ash", "home", "/srv/bob", "move_home", true, "group", "ops", "expires", "2030-12-31"), ""},
		{"lock", args("name", "bob"), ""},
		{"expire_password", args("name", "bob"), ""},
		{"group_create", args("name", "dev", "gid", int64(77), "system", true), "addgroup -S -g 77 -- dev"},
		{"group_create", args("name", "ops", "gid", int64(52)), ""},
		{"group_delete", args("name", "ops"), "delgroup -- ops"},
		{"delete", args("name", "bob", "remove_home", true), "deluser --remove-home -- bob"},
	} {
		if _, _, err := h.Call(t, c.function, c.args); err != nil {
			t.Errorf("%s: %v", c.function, err)
		}
		if got := h.calls(t); got != c.runs {
			t.Errorf("%s ran %q, wanted %q", c.function, got, c.runs)
		}
	}
	for file, want := range map[string]string{
		"/etc/passwd": "bob:x:1000:50:Bob:/srv/bob:/bin/ash\n", "/etc/shadow": "bob:!$6$a$b:0:0:99999:7::22279:\n", "/etc/group": "ops:x:52:\n", "/srv/bob/notes": "x",
	} {
		if b, err := os.ReadFile(filepath.Join(h.Dir, file)); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s is %q, %v", file, b, err)
		}
	}
}

// The module's own processes are those that run as somebody else.
func TestRunAs(t *testing.T) {
	needRoot(t)
	h := modulestest.On(machine.New(), Module())
	got, _, err := h.Call(t, "run_as", args("name", "nobody", "command", `printf %s "$(id -un) $USER $X $(cat)"; exit 3`, "env", map[string]any{"X": "y"}, "stdin", "in", "workdir", "/"))
	r, _ := got.(map[string]any)
	if err != nil || r["stdout"] != "nobody nobody y in" || r["exit_code"] != 3 || r["success"] != false || r["error"] != "exit code 3" {
		t.Error(got, err)
	}
	got, _, err = h.Call(t, "run_as", args("name", "no-such-user", "command", "true"))
	if r, _ = got.(map[string]any); err != nil || r["success"] != false || !strings.Contains(fmt.Sprint(r["error"]), "there is no such user") || r["changed"] != false {
		t.Error(got, err)
	}
	got, _, err = h.Call(t, "run_as", args("name", "nobody", "command", "sleep 60", "timeout", "100ms", "workdir", "/"))
	if r, _ = got.(map[string]any); err != nil || !strings.Contains(fmt.Sprint(r["error"]), "timed out after 100ms") {
		t.Error(got, err)
	}
}
