package inventory

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// script writes an executable.
func script(t *testing.T, text string) string {
	t.Helper()
	path := put(t, filepath.Join(t.TempDir(), "inventory"), "#!/bin/sh\n"+text)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestScript(t *testing.T) {
	const meta = `
case "$1" in
--list) cat <<'END'
{"web": {"hosts": ["a", "b"], "vars": {"x": 1, "z": "{{ y }}"}, "children": ["db"]}, "db": ["c"], "alone": {"y": [1.5, null, true]},
 "_meta": {"hostvars": {"a": {"x": 2, "s": {"__ansible_vault": "cipher"}}, "stray": {"q": 1}}}}
END
;;
*) echo "asked for $*" >&2; exit 3;;
esac`
	var warned []string
	inv := load(t, Options{Warn: func(s string) { warned = append(warned, s) }}, script(t, meta))
	if got := inv.HostsOf("web"); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("web has %v", got)
	}
	if got := inv.HostsOf("alone"); !slices.Equal(got, []string{"alone"}) {
		t.Errorf("alone has %v", got)
	}
	if got := inv.Vars("a"); got["x"] != int64(2) || got["z"] != "{{ y }}" || got["s"] != (Encrypted{kind: "vault", text: "cipher"}) {
		t.Errorf("a has %v", got)
	}
	if got := inv.Vars("alone")["y"]; !reflect.DeepEqual(got, []any{1.5, nil, true}) {
		t.Errorf("alone has %v", got)
	}
	if !slices.ContainsFunc(warned, func(s string) bool { return strings.Contains(s, "stray") }) {
		t.Errorf("nothing was said of the stray host: %q", warned)
	}
}

func TestScriptAsksForEachHost(t *testing.T) {
	inv := load(t, Options{}, script(t, `
case "$1" in
--list) echo '{"web": {"hosts": ["a", "b", "c"]}}';;
--host) [ "$2" = c ] || echo "{\"me\": \"$2\"}";;
esac`))
	for _, h := range []string{"a", "b"} {
		if got := inv.Vars(h)["me"]; got != h {
			t.Errorf("%s has %v", h, got)
		}
	}
	if got := inv.Vars("c"); len(got) != 0 {
		t.Errorf("c has %v", got)
	}
}

func TestScriptRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"it fails", "echo no token >&2; exit 7", "--list ended with exit status 7; it said: no token"},
		{"no JSON", "echo '{\"a\": [1,]}'", "inventory --list:1:10: it printed no valid JSON"},
		{"a list", "echo '[]'", "--list printed no JSON object"},
		{"nothing", "true", "it printed no valid JSON"},
		{"a number as host", `echo '{"web": {"hosts": [1]}}'`, "inventory --list:1:20: a host's name must be text, got the number 1"},
		{"hosts as map", `echo '{"web": {"hosts": {"a": 1}}}'`, `hosts of group "web" must be a list, got a map`},
		{"children as text", `echo '{"web": {"children": "db"}}'`, `children of group "web" must be a list, got text`},
		{"vars as list", `echo '{"web": {"vars": []}}'`, `vars of group "web" must be a map, got a list`},
		{"a loop", `echo '{"a": {"children": ["b"]}, "b": {"children": ["a"]}}'`, "these groups contain each other: b > a > b"},
		{"escapes in stderr", `printf 'x\033[2Jy\n' >&2; exit 1`, "it said: x�[2Jy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(t.Context(), []string{script(t, c.text)}, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// A script that never answers is ended, with everything it started.
func TestScriptDeadline(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "pid")
	begin := time.Now()
	_, err := Load(t.Context(), []string{script(t, "sleep 60 & echo $! > "+mark+"; wait")}, Options{ScriptTimeout: 300 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "--list did not answer in 300ms") {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("it took %s", d)
	}
	pid, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	gone := func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc to look for the child in")
	}
	for end := time.Now().Add(10 * time.Second); !gone(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the script's child lives on")
		}
	}
}

func TestScriptOutputIsCapped(t *testing.T) {
	_, err := Load(t.Context(), []string{script(t, "exec cat /dev/zero")}, Options{ScriptTimeout: time.Minute})
	if err == nil || !strings.Contains(err.Error(), "printed more than 64 MiB") {
		t.Errorf("got %v", err)
	}
}

// Permissions say little on shared folders: what is no program is a file.
func TestExecutableFileThatIsNoScript(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "hosts"), "[web]\na\n")
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	var warned []string
	inv := load(t, Options{Warn: func(s string) { warned = append(warned, s) }}, path)
	if got := inv.HostsOf("web"); !slices.Equal(got, []string{"a"}) || len(warned) != 1 || !strings.Contains(warned[0], "chmod -x") {
		t.Errorf("web has %v, warned %q", got, warned)
	}
}

func TestScriptWithoutPermission(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "inventory"), "#!/bin/sh\necho '{}'\n")
	_, err := Load(t.Context(), []string{path}, Options{})
	if err == nil || !strings.Contains(err.Error(), "chmod +x") {
		t.Errorf("got %v", err)
	}
}
