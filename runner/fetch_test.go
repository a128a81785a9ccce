package runner_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// Files of hosts arrive below a folder of each, and again only when they differ.
func TestFetch(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	large := strings.Repeat("a line of a large file\n", 150_000)
	for host, s := range f.servers {
		if err := os.MkdirAll(filepath.Join(s.Home, "logs/old"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"logs/a": host, "logs/old/b": large, "logs/skip.gz": "x"} {
			if err := os.WriteFile(filepath.Join(s.Home, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	script := `
local get = task("get"):delegate_to({"h1", "h2"}):command(function()
    local r = file_ops.fetch({ src = utils.env("HOME") .. "/logs", dest = "fetched", exclude = { "*.gz" } })
    log.info(r.found .. " found, " .. r.fetched .. " fetched into " .. r.dest .. " " .. tostring(r.changed))
    return true
end):build()
workflow.define("w", {tasks = {get}})`
	r := f.runIn(dir, script).want(0)
	if got := r.logs(); !strings.Contains(got, "h1: 2 found, 2 fetched into fetched/h1 true\n") || !strings.Contains(got, "h2: 2 found, 2 fetched into fetched/h2 true\n") {
		t.Error(got)
	}
	r = f.runIn(dir, script).want(0)
	if got := r.logs(); !strings.Contains(got, "h1: 2 found, 0 fetched into fetched/h1 false\n") {
		t.Error(got)
	}
	for host, s := range f.servers {
		for name, want := range map[string]string{"logs/a": host, "logs/old/b": large} {
			text, err := os.ReadFile(filepath.Join(dir, "fetched", host, s.Home, name))
			if err != nil || string(text) != want {
				t.Errorf("%s of %s: %d bytes, %v", name, host, len(text), err)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "fetched", host, s.Home, "logs/skip.gz")); err == nil {
			t.Error("what was excluded came")
		}
	}
}

func TestFetchIntoAFolderMadeUpOnTheHost(t *testing.T) {
	f := newFleet(t, 1, sshdtest.Options{})
	r := f.runIn(t.TempDir(), `
local get = task("get"):delegate_to("h1"):command(function()
    file_ops.fetch({ src = "/etc/hosts", dest = string.rep("l", 1) .. "ib" })
end):build()
workflow.define("w", {tasks = {get}})`).want(2)
	d := r.done("get", "h1")
	want := `file_ops.fetch: fetch: dest = "lib" stands in no function sent to h1; write it literally where it is used`
	if d.Failure == nil || d.Failure.Message != want {
		t.Errorf("%+v", d.Failure)
	}
}

// A folder and an archive of the controller arrive on a real host, and at rest
// nothing more is sent.
func TestSyncAndUnarchive(t *testing.T) {
	f := newFleet(t, 1, sshdtest.Options{})
	dir := t.TempDir()
	for i := range 1000 {
		path := filepath.Join(dir, "site", fmt.Sprint(i%10), fmt.Sprint(i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Repeat(fmt.Sprint("file ", i), i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("tar", "-C", dir, "-czf", filepath.Join(dir, "site.tar.gz"), "site").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	script := `
local put = task("put"):delegate_to("h1"):command(function()
    local home = utils.env("HOME")
    local a = file_ops.sync({ src = "site", dest = home .. "/www", delete = true })
    local b = file_ops.unarchive({ src = "site.tar.gz", dest = home .. "/out", strip_components = 1 })
    log.info("sent " .. a.sent .. ", unpacked " .. b.unpacked)
    return true
end):build()
workflow.define("w", {tasks = {put}})`
	for _, want := range []string{"sent 1000, unpacked 1000", "sent 0, unpacked 0"} {
		if got := f.runIn(dir, script).want(0).logs(); got != "h1: "+want+"\n" {
			t.Errorf("%q, wanted %s", got, want)
		}
	}
	for _, to := range []string{"www", "out"} {
		got, err := os.ReadFile(filepath.Join(f.servers["h1"].Home, to, "9/999"))
		if err != nil || string(got) != strings.Repeat("file 999", 999) {
			t.Errorf("%s: %d bytes, %v", to, len(got), err)
		}
	}
}
