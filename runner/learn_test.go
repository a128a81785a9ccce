package runner_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/runner"
)

// Whoever goes on with a run hides what was made before it: the results that
// are shown again may hold it.
func TestSecretsOfARunAreKnownWhenItIsResumed(t *testing.T) {
	f := newFleet(t, 1, sshdtest.Options{})
	script := `
local makes = function() return true, exec.run("cat", { stdin = utils.random({ length = 20, secret = true }) }).stdout end
local a = task("a"):command(makes):build()
local b = task("b"):delegate_to("local"):command(makes):build()
local c = task("c"):depends_on({"a", "b"}):command(function() return exec.run("test -e $HOME/gate").success end):build()
workflow.define("w", {tasks = {a, b, c}, config = {hosts = "all"}})`
	root, dir := t.TempDir(), t.TempDir()
	f.runID = "resumed"
	var mu sync.Mutex
	var learned []string
	learn := func(o *runner.Options) {
		o.Learn = func(host, value string) { mu.Lock(); learned = append(learned, host+" "+value); mu.Unlock() }
	}
	got := f.runIn(dir, script, f.recorded(root), learn, closing(t)).want(2)
	want := []string{"h1 " + got.done("a", "h1").Message, "local " + got.done("b", "local").Message}
	slices.Sort(learned)
	if len(want[0]) != 23 || !slices.Equal(learned, want) {
		t.Fatalf("learned %q, want %q", learned, want)
	}
	if err := os.WriteFile(filepath.Join(f.servers["h1"].Home, "gate"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	learned = nil
	f.runIn(dir, script, f.resumed(root, "resumed"), learn, closing(t)).want(0)
	for _, s := range want {
		_, value, _ := strings.Cut(s, " ")
		if !slices.Contains(learned, "local "+value) { // the record's, whoever made it
			t.Errorf("learned %q, and not %q", learned, value)
		}
	}
}
