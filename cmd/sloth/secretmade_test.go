package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// madeSite makes secrets on a host and on the controller, keeps them in a file
// and shows them in every way that tasks show things.
const madeSite = `
local function cat(s) return exec.run("cat; echo", { stdin = s }).stdout end
local function show(dir, list)
    for i, s in ipairs(list) do
        file_ops.copy({ content = s, dest = dir .. "/made" .. i, mode = "0600" })
        local text = cat(s)
        print(text)
        log.info("it is " .. text, { field = text })
        exec.run("base64 -w 7; echo", { stdin = s })
        file_ops.copy({ content = "it is " .. text, dest = dir .. "/shown" })
    end
    return cat(list[1])
end
local made = function()
    local r = utils.random({ length = 24, secret = true })
    local printed = exec.run("head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n' | tee /dev/stderr; exit 3", { secret = true })
    assert(not printed.success and not printed.error:find("%x%x%x%x%x%x%x%x"), printed.error)
    return { r, printed.stdout, utils.hash(r), prompt("pw", { secret = true }) }
end
local a = task("far"):command(function()
    local text = show(vars.kept, made())
    return true, "made " .. text, { text = text, [text] = { text } }
end):build()
local b = task("here"):delegate_to("local"):command(function()
    local text = show(vars.kept or "HERE", made())
    error("stopped with " .. text)
end):build()
workflow.define("site", { tasks = { a, b }, config = { hosts = "web" } })
`

// TestSecretsMadeInARunAreHidden looks for secrets that nobody knew before the
// run in everything that it says and leaves.
func TestSecretsMadeInARunAreHidden(t *testing.T) {
	r := newLeakRig(t)
	kept, here := filepath.Join(r.server.Home, "kept"), filepath.Join(r.dir, "here")
	r.put("site.sloth", strings.ReplaceAll(madeSite, "HERE", here), 0o600)
	r.put("hosts.yaml", fmt.Sprintf("web:\n  hosts:\n    web-01: {ansible_host: %s, ansible_port: %d, ansible_user: %s, kept: %s}\n", r.server.Host, r.server.Port, r.server.User, kept), 0o600)
	r.put("ssh.conf", fmt.Sprintf("IdentityFile %s\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile %s\nGlobalKnownHostsFile /dev/null\n", r.server.KeyFile, r.server.KnownHosts), 0o600)
	const given = "giv3n-by-param"
	if err := r.hide.Add("pw", given); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{"-vvv", "-D"}, {"--output", "ndjson", "-vv", "-D"}} {
		for _, d := range []string{kept, here} {
			if err := os.MkdirAll(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		code, said := r.run("", append([]string{"apply", "site.sloth", "-i", "hosts.yaml", "-F", "ssh.conf", "--param", "pw=" + given}, flags...)...)
		if code != exitFailed || !strings.Contains(said, "stopped with (secret)") {
			t.Fatalf("%v: exit code %d\n%s", flags, code, said)
		}
		for _, d := range []string{kept, here} {
			for i := 1; i <= 4; i++ {
				s, err := os.ReadFile(filepath.Join(d, fmt.Sprint("made", i)))
				if err != nil || len(s) < len(given) {
					t.Fatalf("made %q, %v", s, err)
				}
				if err := r.hide.Add("made", string(s)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.RemoveAll(d); err != nil {
				t.Fatal(err)
			}
		}
		r.none(strings.Join(flags, " "), []byte(said))
	}
	// What is asked later does not show it either.
	for _, args := range [][]string{{"runs", "list"}, {"runs", "show", "last"}, {"stack", "history"}, {"audit", "list"}} {
		code, said := r.run("", args...)
		if code != exitOK {
			t.Errorf("%v: exit code %d\n%s", args, code, said)
		}
		r.none(strings.Join(args, " "), []byte(said))
	}
	r.searchFiles(filepath.Join(r.dir, "state"), filepath.Join(r.dir, "home"), filepath.Join(r.dir, "tmp"), r.server.Dir)
}

// A run goes on with the parameters that its record does not show.
func TestAHiddenParameterIsThereWhenARunIsResumed(t *testing.T) {
	r := newLeakRig(t)
	r.put("site.sloth", `
local a = task("a"):command(function()
    local f = io.open("again")
    if not f then error("not yet") end
    f:close()
    print(exec.run("wc -c", { stdin = prompt("pw", { secret = true }) }).stdout)
end):build()
workflow.define("w", { tasks = { a } })`, 0o600)
	if code, said := r.run("", "run", "-f", "site.sloth", "--param", "pw=giv3n-by-param"); code != exitFailed {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	if _, said := r.run("", "runs", "show", "last"); !strings.Contains(said, "--param pw=…") {
		t.Errorf("runs show says\n%s", said)
	}
	r.put("again", "", 0o600)
	if code, said := r.run("", "runs", "resume", "last"); code != exitOK || !strings.Contains(said, "14") {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

// State has no way to keep a secret, and never keeps something else instead.
func TestASecretIsNoStateOnAnyMachine(t *testing.T) {
	r := newLeakRig(t)
	r.put("site.sloth", `
local function refused(fn, ...)
    local ok, err = pcall(fn, ...)
    assert(not ok and tostring(err):find("plain text", 1, true), tostring(err))
end
local try = function()
    local s = utils.random({ length = 20, secret = true })
    refused(state.set, "k", s)
    refused(state.set, "k", { deep = { s } })
    refused(state.append, "k", s)
    refused(state.list_push, "k", s)
    refused(state.compare_swap, "k", nil, s)
    assert(not state.exists("k"))
    assert(exec.run("wc -c", { stdin = state.get("k", s) }).stdout:find("20"))
end
local a = task("far"):command(try):build()
local b = task("here"):delegate_to("local"):command(try):build()
workflow.define("w", { tasks = { a, b }, config = { hosts = "web-01" } })`, 0o600)
	r.put("hosts.yaml", "web:\n  hosts:\n    web-01: {ansible_connection: local}\n", 0o600)
	if code, said := r.run("", "apply", "site.sloth", "-i", "hosts.yaml"); code != exitOK {
		t.Errorf("exit code %d\n%s", code, said)
	}
	r.put("site.sloth", `
local a = task("far"):command(function()
    state.set("k", utils.random({ length = 20, secret = true }))
end):build()
workflow.define("w", { tasks = { a }, config = { hosts = "web-01" } })`, 0o600)
	if code, said := r.run("", "apply", "site.sloth", "-i", "hosts.yaml"); code != exitFailed || !strings.Contains(said, "at site.sloth:3") {
		t.Errorf("exit code %d\n%s", code, said)
	}
}
