package runner_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
)

// The last argument of an assertion names another host: from the controller and
// from a host, which asks the controller.
func TestAssertionsOnOtherHosts(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	there := filepath.Join(f.servers["h2"].Home, "only-on-h2")
	if err := os.WriteFile(there, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.servers["h1"].Home, "only-on-h1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := func(on string) string {
		return `
local there = [[` + there + `]]
local checks = task("checks"):delegate_to("` + on + `"):command(function()
    infra_test.file_exists(there, "h2")
    infra_test.file_size(there, 5, "h2")
    infra_test.command_output_equals("cat ~/only-on-h2", "hello", "h2")
    infra_test.command_succeeds("test -f ~/only-on-h1", "h1")
    infra_test.is_directory("/", "local")
    local ok, why = pcall(infra_test.command_succeeds, "test -f ~/only-on-h2; ls ~/only-on-h1", "h1")
    log.info(tostring(ok))
    infra_test.file_contains(there, "bye", "h2")
end):build()
workflow.define("w", {tasks = {checks}})`
	}
	for _, on := range []string{"local", "h1"} {
		r := f.runIn(dir, script(on)).want(2)
		d := r.done("checks", on)
		want := `infra_test.file_contains: expected ` + there + ` to contain "bye", found no such text in its 5 bytes (on h2)`
		if d.Failure == nil || d.Failure.Message != want || d.Failure.Line != 11 || !strings.HasSuffix(d.Failure.File, "site.sloth") {
			t.Errorf("from %s: %+v, wanted %s", on, d.Failure, want)
		}
		if got := r.logs(); got != on+": true\n" {
			t.Errorf("from %s it logged %q", on, got)
		}
		nested := 0
		for _, e := range r.events {
			if d, ok := e.(event.TaskDone); ok && d.Nested {
				nested++
			}
		}
		if nested < 5 {
			t.Errorf("from %s only %d steps were run elsewhere", on, nested)
		}
	}
}

func TestAssertionsOnOtherHostsThatAreRefused(t *testing.T) {
	f := newFleet(t, 2, sshdtest.Options{})
	for _, c := range []struct {
		name, on, call, want string
		change               func(*runner.Options)
	}{
		{"outside the limit", "h1", `infra_test.file_exists("/", "h2")`, `host "h2" is outside the limit of this run`, func(o *runner.Options) { o.Limit = "h1" }},
		{"no nested", "h1", `infra_test.file_exists("/", "h2")`, "an assertion on another host is refused by --no-nested", func(o *runner.Options) { o.NoNested = true }},
		{"nobody", "local", `infra_test.file_exists("/", "h9")`, `no host matches "h9"`, nil},
		{"several", "local", `infra_test.file_exists("/", "h1,h2")`, `"h1,h2" means h1, h2; name one host`, nil},
		{"a command made up on the host", "h1", `infra_test.command_succeeds(string.rep("true ;", 2), "h2")`,
			`h1 may not ask for infra_test.command_succeeds on h2: no function sent to it has the text "true ;true ;" in it`, nil},
		{"a function made up on the host", "h1", `infra_test["file_" .. "exists"]("/", "h2")`,
			`h1 may not ask for infra_test.file_exists on h2: no function sent to it has the text "file_exists" in it`, nil},
		{"the controller, made up on the host", "h1", `infra_test.file_exists("/", ("lo" .. host.name):gsub("h1", "cal") .. "")`,
			`h1 may not ask for infra_test.file_exists on local: no function sent to it has the text "local" in it`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			change := func(*runner.Options) {}
			if c.change != nil {
				change = c.change
			}
			r := f.run(`
local t = task("t"):delegate_to("`+c.on+`"):command(function() `+c.call+` end):build()
workflow.define("w", {tasks = {t}})`, change).want(2)
			if d := r.done("t", c.on); d.Failure == nil || !strings.HasSuffix(d.Failure.Message, ": "+c.want) {
				t.Errorf("it ended with %+v, wanted %s", d.Failure, c.want)
			}
		})
	}
}

// Whatever a host asks for, nothing but infra_test comes of it.
func TestOnlyAssertionsAreMade(t *testing.T) {
	f := newFleet(t, 1, sshdtest.Options{})
	f.run(`
local t = task("t"):delegate_to("local"):command(function() log.info("x") end):build()
workflow.define("w", {tasks = {t}})`, func(o *runner.Options) {
		r, err := runner.New(context.Background(), *o)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		s, ok := r.Env(0).Call.Services.(modules.Asserter)
		if !ok {
			t.Fatal("the controller makes no assertions")
		}
		for _, function := range []string{"exec.run", "infra_test.no_such_function", "infra_test", "file_ops.copy", ""} {
			err := s.Assert(context.Background(), modules.Assertion{Host: "h1", Function: function, Args: map[string]any{"cmd": "true"}})
			if err == nil || !strings.Contains(err.Error(), "is no function of infra_test") {
				t.Errorf("%q: %v", function, err)
			}
		}
	}).want(0)
}
