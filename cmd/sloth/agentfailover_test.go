package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const failoverScript = `
local hold = task("hold"):delegate_to("nat-2"):command(function()
  exec.run("touch $HOME/held; while ! [ -e $HOME/go ]; do sleep 0.05; done")
end):build()
local work = task("work"):depends_on("hold"):delegate_to({ group = "web", strategy = "round_robin" }):command(function()
  exec.run("echo begun >> $HOME/lines; while ! [ -e $HOME/end ]; do sleep 0.05; done; echo done >> $HOME/lines")
end):build()
workflow.define("failover"):tasks({ hold, work })
`

// An agent that is lost before its step began: the step goes to another one.
// One that is lost later takes its step with it, and nobody else runs it.
func TestAgentFailover(t *testing.T) {
	m := newMeeting(t, 2, failoverScript)
	// What is away counts as lost at once, so that nobody waits for it.
	m.flags = []string{"--lost-after", "100ms"}
	_ = m.master.Process.Kill()
	_ = m.master.Wait()
	m.startMaster()
	m.awaitState(0, "Active")
	m.awaitState(1, "Active")
	current := filepath.Join(m.dir, "state", "sloth", "masters", "current")
	if err := os.WriteFile(current, []byte(m.address()), 0o600); err != nil {
		t.Fatal(err)
	}
	there := func(i int, name string) bool { _, err := os.Stat(filepath.Join(m.home(i), name)); return err == nil }
	touch := func(i int, name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(m.home(i), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kill := func(i int) {
		_ = m.agents[i].Process.Kill()
		_ = m.agents[i].Wait()
	}
	// The first of the group is chosen, and lost while the other one holds the run.
	cmd, out := m.start("apply", "-i", "hosts.yaml", "site.sloth", "--reconnect-for", "1s")
	m.await("the run has begun", func() bool { return there(1, "held") })
	kill(0)
	m.awaitState(0, "Lost")
	touch(1, "end")
	touch(1, "go")
	if err := cmd.Wait(); err != nil {
		t.Errorf("lost before the begin: %v\n%s", err, out)
	}
	if want := "task work had not begun on nat-1, which is lost: it goes to nat-2"; !strings.Contains(out.String(), want) {
		t.Errorf("the run does not say %q:\n%s", want, out)
	}
	if a, b := m.agentLines(0), m.agentLines(1); a != "" || b != "begun\ndone\n" {
		t.Errorf("nat-1 has %q, nat-2 has %q", a, b)
	}

	m.startAgent(0)
	m.awaitState(0, "Active")
	cmd, out = m.start("apply", "-i", "hosts.yaml", "site.sloth", "--reconnect-for", "1s")
	m.await("the step has begun", func() bool { return m.agentLines(0) != "" })
	kill(0)
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 7 || !strings.Contains(out.String(), "\nunknown in ") {
		t.Errorf("lost after the begin: %v\n%s", err, out)
	}
	if a, b := m.agentLines(0), m.agentLines(1); a != "begun\n" || b != "begun\ndone\n" {
		t.Errorf("nat-1 has %q, nat-2 has %q", a, b)
	}
	// The worker ends its step, and lets go of the host once it is asked for its end.
	touch(0, "end")
	m.startAgent(0)
	m.awaitState(0, "Active")
	m.await("the step ends on the host", func() bool { return m.agentLines(0) == "begun\ndone\n" })
}
