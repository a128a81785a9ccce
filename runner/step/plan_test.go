package step_test

import (
	"os"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/runner/event"
)

func TestPlan(t *testing.T) {
	r := newRig(t, checking)
	p := r.load(`
task("files"):workdir("wd"):notify("h"):on_success(function() log.info("hook") end):command(function(this)
  assert(this.check)
  fs.write("f", "planned")
  assert(fs.read("f") == "planned", "the plan does not see what it planned")
  os.execute("touch executed")
  local f = io.open("opened", "w") f:write("x") f:close()
  notify("h")
  local res = exec.run("touch executed")
  assert(res.planned and res.success and res.exit_code == 0 and res.stdout == "")
  return true, "ok"
end):build()
task("past"):retries(3):command(function()
  local res = exec.run("cat /etc/version")
  local major = res.stdout:match("^(%d+)")
  return major + 1
end):build()
task("guess"):command(function()
  local res = exec.run("cat /etc/version")
  if res.stdout ~= "1" then return false, "wrong version" end
end):build()
task("safe"):command(function() return true, exec.run("echo read", {check_safe = true}).stdout end):build()
task("shell"):command("touch executed"):build()
handler("h"):command("true"):build()`)
	res := r.run(p.Tasks[0])
	if res.Status != event.Success || !res.Changed || len(res.Notified) > 0 {
		t.Errorf("files: %+v %+v", res, res.Failure)
	}
	res = r.run(p.Tasks[1])
	if res.Status != event.Success || !strings.HasPrefix(res.Message, "cannot plan past site.sloth:16: ") || res.Attempts != 1 {
		t.Errorf("past: %s %q", res.Status, res.Message)
	}
	if res = r.run(p.Tasks[2]); res.Status != event.Success || res.Message != "not known until applied: wrong version" {
		t.Errorf("guess: %s %q", res.Status, res.Message)
	}
	if res = r.run(p.Tasks[3]); res.Message != "read\n" || res.Changed {
		t.Errorf("safe: %q %v", res.Message, res.Changed)
	}
	if res = r.run(p.Tasks[4]); res.Status != event.Success || !res.Changed {
		t.Errorf("shell: %s %v", res.Status, res.Changed)
	}
	for _, l := range r.logged() {
		if l == "hook" {
			t.Error("a hook ran")
		}
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("the plan left %v %v", entries, err)
	}
	for _, e := range kinds[event.Called](r) {
		if !e.Planned {
			t.Errorf("not planned: %+v", e)
		}
	}
}

// An error that no plan could change is an error.
func TestPlanFails(t *testing.T) {
	res := newRig(t, checking).one(`task("x"):command(function() error("broken") end):build()`)
	if res.Status != event.Failed || res.Message != "broken" {
		t.Errorf("%s %q", res.Status, res.Message)
	}
}
