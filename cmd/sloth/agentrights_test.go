package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A user whose rules name stacks reaches agents for runs in these alone, and the
// master's audit says which stack a run gave.
func TestAgentRightsByStack(t *testing.T) {
	script, want := appendLines(1)
	m := newMeeting(t, 1, script)
	for _, bad := range []string{"shop", "shop@", "@nat-1", "shop@nat-1@x", "[@nat-1", "shop@nat-1;"} {
		if code, out := m.sloth("agent", "token", "--user", "ben", "--allow", bad, "--master", m.address()); code == 0 || !strings.Contains(out, "the rule ") {
			t.Errorf("--allow %q: exit code %d\n%s", bad, code, out)
		}
	}
	if code, out := m.sloth("agent", "token", "--user", "ben", "--role", "admin", "--allow", "shop@nat-1", "--master", m.address()); code == 0 || !strings.Contains(out, "an admin can give everything to itself") {
		t.Errorf("an admin with rules: exit code %d\n%s", code, out)
	}
	code, token := m.sloth("agent", "token", "--user", "ben", "--allow", "shop,shop-*@nat-1", "--allow", "other@web-*", "--master", m.address())
	if code != 0 {
		t.Fatal(token)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "token"), []byte(strings.Split(token, "\n")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	audit := filepath.Join(m.dir, "state", "sloth", "master", "audit.log")
	m.env = append(m.env, "XDG_STATE_HOME="+filepath.Join(m.dir, "ben"))
	if code, out := m.sloth("login", m.address(), "--name", "ben", "--token-file", "token"); code != 0 || !strings.Contains(out, "(operator on all agents, for shop,shop-*@nat-1 other@web-*)") {
		t.Fatalf("login: exit code %d\n%s", code, out)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"apply", "-i", "hosts.yaml", "--stack", "shop-eu", "site.sloth"}, 0, ""},
		{[]string{"apply", "-i", "hosts.yaml", "--stack", "other", "site.sloth"}, 4, "user ben may not reach the agent nat-1 for the stack other"},
		{[]string{"apply", "-i", "hosts.yaml", "site.sloth"}, 4, "user ben may reach the agent nat-1 for runs in some stacks, and this is in none (--stack)"},
		{[]string{"exec", "-i", "hosts.yaml", "nat-1", "true"}, 4, "and this is in none (--stack)"},
	} {
		if code, out := m.sloth(c.args...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%q: exit code %d\n%s", c.args, code, out)
		}
	}
	if got := m.agentLines(0); got != want {
		t.Errorf("the agent has %q", got)
	}
	log, err := os.ReadFile(audit)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"who":"user ben","address":"127.0.0.1","method":"/sloth.User/Reach","object":"nat-1","stack":"shop-eu"}`,
		`"object":"nat-1","stack":"other","refused":"user ben may not reach the agent nat-1 for the stack other"}`,
	} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the audit has no %s:\n%s", want, log)
		}
	}
}
