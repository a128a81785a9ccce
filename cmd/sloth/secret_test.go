package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/state/secret/redact"
)

// planted are the secrets of a run, by where they come from.
var planted = map[string]string{
	"store":  `Hunt3r"2'horse&co/<x>é`,
	"sudo":   "sudo-Pa55-w0rd",
	"inline": "inline-v4ult-val",
	"group":  "group-v4ult-file",
	"values": "values-v4ult-yml",
}

// leakSite prints every secret in every way that comes to mind, and keeps them
// where they belong.
const leakSite = `
local db = secret("db")
local shell = [[
s=$(cat)
printf '%s\n' "$s"; printf 'error: %s\n' "$s" >&2
printf %s "$s" | base64; printf 'x%s' "$s" | base64 -w 9; printf 'xy%s' "$s" | base64 | tr '+/' '-_'
printf %s "$s" | od -An -tx1; printf %s "$s" | od -An -tx1 | tr -d ' \n' | tr a-f A-F; echo
printf '{"k": "%s"}\n' "$(printf %s "$s" | sed 's/["\\]/\\&/g')"
printf %s "$s" | sed "s/'/'\\\\''/g"; echo
printf %s "$s" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/"/\&#34;/g; s/'"'"'/\&#39;/g'; echo
rest=$s
while [ -n "$rest" ]; do printf %s "${rest%"${rest#?}"}"; rest=${rest#?}; sleep 0.002; done; echo
]]
local function printed(s)
    local r = exec.run(shell, { stdin = s })
    assert(r.success, r.stderr)
    print(r.stdout)
    print(s)
    log.info("it is " .. r.stdout, { field = r.stdout })
    return r.stdout
end
local a = task("show"):command(function()
    local out = {}
    for _, s in ipairs({ secret("db"), vars.inline, vars.group.key, values.key, utils.config("inline") }) do
        out[#out + 1] = printed(s)
    end
    log.info(utils.url_encode(out[1]:match("[^\n]+")))
    return true, "said " .. out[1], { text = out[1], [out[2]] = { out[3] }, raw = db, again = utils.secret("db") }
end):build()
local b = task("files"):depends_on("show"):command(function(_, _, deps)
    local dir = os.getenv("HOME")
    file_ops.template({ src = "app.conf.j2", dest = dir .. "/kept/app.conf", vars = { db = db } })
    file_ops.copy({ content = db, dest = dir .. "/kept/db", mode = "0600" })
    -- What a task makes plain text of is still not shown.
    file_ops.copy({ content = "old " .. deps.show.text, dest = dir .. "/kept/plain" })
    file_ops.copy({ content = "new " .. deps.show.text, dest = dir .. "/kept/plain" })
end):build()
local c = task("become"):depends_on("files"):become("nobody"):command(function()
    print(exec.run("cat", { stdin = secret("db") }).stdout)
end):build()
local d = task("fails"):depends_on("become"):command(function()
    error("cannot log in with " .. exec.run("cat", { stdin = db }).stdout)
end):build()
workflow.define("site", { tasks = { a, b, c, d }, config = { hosts = "web" } })
`

// leakRig is a controller's folder, a host and the program.
type leakRig struct {
	t      *testing.T
	sloth  string
	dir    string
	server *sshdtest.Server
	hide   *redact.Redactor
	env    []string
}

func (r *leakRig) put(name, text string, mode fs.FileMode) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// run runs the program and returns all it said.
func (r *leakRig) run(stdin string, args ...string) (code int, said string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.sloth, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = r.dir, r.env, strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// none fails when text has a secret in any form.
func (r *leakRig) none(where string, text []byte) {
	r.t.Helper()
	found := !bytes.Equal(r.hide.Bytes(text), text)
	for name, s := range planted {
		for _, f := range []string{s, base64.StdEncoding.EncodeToString([]byte(s)), hex.EncodeToString([]byte(s)), url.QueryEscape(s)} {
			if bytes.Contains(text, []byte(f)) {
				r.t.Errorf("%s has the secret %s as %q", where, name, f)
				found = false
			}
		}
	}
	if found {
		r.t.Errorf("%s has a secret in some form:\n%.3000s\nwithout it:\n%.3000s", where, text, r.hide.Bytes(text))
	}
}

func newLeakRig(t *testing.T) *leakRig {
	shim, err := shimProgram()
	if err != nil {
		t.Fatal(err)
	}
	r := &leakRig{t: t, dir: t.TempDir(), hide: redact.New("*")}
	for name, s := range planted {
		if err := r.hide.Add(name, s); err != nil {
			t.Fatal(err)
		}
	}
	// The test's own program is sloth when it is called so.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.sloth = filepath.Join(t.TempDir(), "sloth")
	if err := os.Symlink(self, r.sloth); err != nil {
		t.Fatal(err)
	}
	// A sudo that wants a password, and changes no user.
	bin := filepath.Join(r.dir, "bin")
	r.put("bin/sudo", `#!/bin/sh
while [ $# -gt 0 ]; do case "$1" in -p) prompt=$2; shift ;; --) shift; break ;; -u) shift ;; -*) ;; *) break ;; esac; shift; done
printf %s "$prompt" >&2
read -r got
want=`+"`cat "+filepath.Join(r.dir, "sum")+"`"+`
[ "$(printf %s "$got" | sha256sum | cut -d' ' -f1)" = "$want" ] || { echo "Sorry, try again." >&2; exit 1; }
exec "$@"
`, 0o700)
	sum := exec.CommandContext(t.Context(), "sh", "-c", "sha256sum | cut -d' ' -f1")
	sum.Stdin = strings.NewReader(planted["sudo"])
	text, err := sum.Output()
	if err != nil {
		t.Fatal(err)
	}
	r.put("sum", string(text), 0o600)
	r.server = sshdtest.Start(t, sshdtest.Options{Env: map[string]string{"PATH": bin + ":" + os.Getenv("PATH")}})
	r.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(r.dir, "home"), "XDG_STATE_HOME=" + filepath.Join(r.dir, "state"),
		"TMPDIR=" + filepath.Join(r.dir, "tmp"), "SLOTH_SHIM=" + shim, "NO_COLOR=1",
	}
	for _, d := range []string{"home", "state", "tmp"} {
		if err := os.Mkdir(filepath.Join(r.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// vaulted is planted text as ansible-vault wrote it, with the password swordfish.
func vaulted(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "vault", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFault43NoSecretIsLeftAnywhere runs a file that prints secrets in every
// form, at every verbosity, and looks for them in all outputs, in all files of
// both sides, and in every process while it runs.
func TestFault43NoSecretIsLeftAnywhere(t *testing.T) {
	r := newLeakRig(t)
	r.put("site.sloth", leakSite, 0o600)
	r.put("app.conf.j2", "db = {{ db }}\ninline = {{ inline }}\n", 0o600)
	r.put("pw", "swordfish\n", 0o600)
	inline := strings.ReplaceAll(strings.TrimSpace(vaulted(t, "inline")), "\n", "\n        ")
	r.put("hosts.yaml", fmt.Sprintf(`web:
  hosts:
    web-01:
      ansible_host: %s
      ansible_port: %d
      ansible_user: %s
      ansible_become_password: !secret sudo
      inline: !vault |
        %s
`, r.server.Host, r.server.Port, r.server.User, inline), 0o600)
	r.put("group_vars/web.yml", vaulted(t, "group"), 0o600)
	r.put("values.yaml", "key: !vault |\n    "+strings.ReplaceAll(strings.TrimSpace(vaulted(t, "values")), "\n", "\n    ")+"\n", 0o600)
	conf := fmt.Sprintf("IdentityFile %s\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile %s\nGlobalKnownHostsFile /dev/null\n", r.server.KeyFile, r.server.KnownHosts)
	r.put("ssh.conf", conf, 0o600)
	for name, from := range map[string]string{"db": "store", "sudo": "sudo"} {
		if code, said := r.run(planted[from]+"\n", "secret", "set", name); code != 0 || !strings.Contains(said, "stored "+name) {
			t.Fatalf("secret set: %d %s", code, said)
		}
	}

	stop, stopFiles := r.watchProcesses(), r.watchFiles()
	for _, flags := range [][]string{
		{"apply"}, {"apply", "-v", "-D"}, {"apply", "-vvv", "-D"}, {"apply", "--output", "rich", "-vv"}, {"apply", "--output", "json", "-vv", "-D"},
		{"apply", "--output", "ndjson", "-vv"}, {"apply", "--output", "junit", "-vv"}, {"plan", "-vv", "-D"},
	} {
		// Files change each time, so that there are diffs.
		if err := os.RemoveAll(filepath.Join(r.server.Home, "kept")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(r.server.Home, "kept"), 0o700); err != nil {
			t.Fatal(err)
		}
		args := append(slices.Clone(flags), "site.sloth", "-i", "hosts.yaml", "-F", "ssh.conf", "--vault-password-file", "pw", "--values", "values.yaml")
		code, said := r.run("", args...)
		r.none(strings.Join(flags, " "), []byte(said))
		if flags[0] == "plan" {
			if code != exitOK || !strings.Contains(said, "kept/app.conf") {
				t.Errorf("%v: exit code %d\n%s", flags, code, said)
			}
			continue
		}
		// The last task fails.
		if code != exitFailed || !strings.Contains(said, "cannot log in with (secret)") || strings.Contains(said, "warning:") {
			t.Fatalf("%v: exit code %d\n%s", flags, code, said)
		}
		// What is meant to have the secrets has them.
		for file, want := range map[string]string{"app.conf": "db = " + planted["store"] + "\ninline = " + planted["inline"] + "\n", "db": planted["store"]} {
			if got, err := os.ReadFile(filepath.Join(r.server.Home, "kept", file)); err != nil || string(got) != want {
				t.Errorf("%v: %s has %q, %v", flags, file, got, err)
			}
		}
	}
	if n := stop(); n < 20 {
		t.Errorf("only %d looks at processes", n)
	}
	if seen := stopFiles(); !seen["journal"] || !seen["record"] {
		t.Errorf("no journal or no record was seen: %v", seen)
	}
	if err := os.RemoveAll(filepath.Join(r.server.Home, "kept")); err != nil {
		t.Fatal(err)
	}
	// What is asked later does not show them either.
	for _, args := range [][]string{
		{"runs", "list", "--output", "json"}, {"runs", "show", "last"}, {"runs", "attach", "last"}, {"stack", "show"}, {"stack", "history", "--output", "json"},
		{"stack", "outputs"}, {"stack", "export"}, {"state", "list"}, {"audit", "list"}, {"audit", "export"}, {"secret", "list"},
	} {
		code, said := r.run("", args...)
		if code != exitOK && args[1] != "attach" { // whose exit code is the run's
			t.Errorf("%v: exit code %d\n%s", args, code, said)
		}
		r.none(strings.Join(args, " "), []byte(said))
	}
	r.searchFiles(r.dir, r.server.Dir)
	if strings.Contains(r.server.Log(), planted["store"]) {
		t.Error("sshd's log has the secret")
	}
}

// searchFiles looks into every file below the folders and into what sloth may
// have left elsewhere.
func (r *leakRig) searchFiles(dirs ...string) {
	r.t.Helper()
	for _, pattern := range []string{"/dev/shm/sloth*", "/run/sloth*", "/run/user/*/sloth*", "/tmp/sloth*", "/var/tmp/sloth*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			r.t.Fatal(err)
		}
		dirs = append(dirs, found...)
	}
	files := 0
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // others clean up at the same time
			}
			if st, err := d.Info(); err != nil || st.Size() > 4<<20 {
				return nil // the worker itself
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return nil
			}
			files++
			r.none(path, data)
			return nil
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	if files < 10 {
		r.t.Errorf("looked at %d files only", files)
	}
}

// watchProcesses looks at the command line and the environment of every process
// until stop, which says how often it did.
func (r *leakRig) watchProcesses() (stop func() int) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	looks := 0
	wg.Go(func() {
		seen := map[string]bool{}
		for {
			select {
			case <-done:
				return
			case <-time.After(3 * time.Millisecond):
			}
			looks++
			for _, kind := range []string{"cmdline", "environ"} {
				files, _ := filepath.Glob("/proc/[0-9]*/" + kind)
				for _, f := range files {
					data, err := os.ReadFile(f)
					if err != nil || len(data) == 0 || seen[string(data)] {
						continue
					}
					seen[string(data)] = true
					r.none(f, data)
				}
			}
		}
	})
	return func() int { close(done); wg.Wait(); return looks }
}

// watchFiles looks at what a run has on both sides while it goes on, journals
// and temporary files among it, until stop, which gives the names of all that
// was seen.
func (r *leakRig) watchFiles() (stop func() map[string]bool) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	names, seen := map[string]bool{}, map[string]bool{}
	look := func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		st, err := d.Info()
		if err != nil || st.Size() > 4<<20 {
			return nil
		}
		key := fmt.Sprint(path, st.Size(), st.ModTime())
		if seen[key] {
			return nil
		}
		seen[key] = true
		if data, err := os.ReadFile(path); err == nil {
			names[d.Name()] = true
			r.none(path, data)
		}
		return nil
	}
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			for _, dir := range []string{filepath.Join(r.server.Home, ".local"), filepath.Join(r.server.Home, ".cache"), filepath.Join(r.dir, "state", "sloth", "runs"), filepath.Join(r.dir, "tmp")} {
				_ = filepath.WalkDir(dir, look)
			}
		}
	})
	return func() map[string]bool { close(done); wg.Wait(); return names }
}
