//go:build lab

// These tests change logind, make users and break logins. They are meant for a
// Debian host with systemd that can be thrown away, as root, with the shim:
//
//	go test -c -tags lab -o lab.test ./cmd/sloth && scp lab.test bin/shims/sloth-shim-linux-amd64 HOST:
//	ssh HOST SLOTH_SHIM=./sloth-shim-linux-amd64 ./lab.test -test.run Lab

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/faultproxy"
)

// labShell runs a command line of the host, whose failure fails the test.
func labShell(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// On a host whose logind ends what a session leaves behind a run survives the end
// of its link where the worker can leave the session, and says what to do where it
// cannot.
func TestLabFault01KillUserProcesses(t *testing.T) {
	if st, err := os.Stat("/run/systemd/system"); os.Geteuid() != 0 || err != nil || !st.IsDir() {
		t.Fatal("the tag lab is for root on a host that systemd runs")
	}
	const dropIn, user = "/etc/systemd/logind.conf.d/sloth-test.conf", "sloth-lab"
	labShell(t, "mkdir -p "+filepath.Dir(dropIn)+" && printf '[Login]\\nKillUserProcesses=yes\\n' >"+dropIn+" && systemctl restart systemd-logind")
	labShell(t, "useradd -m -s /bin/bash "+user+" && echo '"+user+" ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/"+user)
	t.Cleanup(func() {
		labShell(t, "rm -f "+dropIn+" /etc/sudoers.d/"+user+"; loginctl disable-linger "+user+"; systemctl restart systemd-logind; loginctl terminate-user "+user+"; sleep 1; userdel -rf "+user+" 2>&1")
	})
	home := "/home/" + user
	c := newController(t, 0, `
workflow.define("w"):config({ hosts = "all" }):tasks({
  task("first"):command(function() return exec.run("echo first >> `+home+`/lines").success end):build(),
  task("flight"):command(function() return exec.run("echo flight >> `+home+`/lines; until test -e `+home+`/go; do sleep 0.1; done; echo landed >> `+home+`/lines").success end):build(),
  task("last"):command(function() return exec.run("echo last >> `+home+`/lines").success end):build(),
})`)
	labShell(t, fmt.Sprintf("ssh-keygen -q -t ed25519 -N '' -f %s/id && install -d -o %s -m 700 %s/.ssh && install -o %[2]s -m 600 %[1]s/id.pub %[3]s/.ssh/authorized_keys && mv %[1]s/id %[1]s/key", c.dir, user, home))
	proxy := faultproxy.Start(t, "127.0.0.1:22")
	key := strings.Fields(labShell(t, "cat /etc/ssh/ssh_host_ed25519_key.pub"))
	for name, text := range map[string]string{
		"known_hosts": fmt.Sprintf("[%s]:%d %s %s\n", proxy.Host(), proxy.Port(), key[0], key[1]),
		"hosts.yaml":  fmt.Sprintf("all:\n  hosts:\n    lab: {ansible_host: %s, ansible_port: %d, ansible_user: %s}\n", proxy.Host(), proxy.Port(), user),
	} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lines := func() string {
		b, err := os.ReadFile(home + "/lines")
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(b)
	}
	sessions := func() string { return labShell(t, "loginctl list-sessions --no-legend | grep -w "+user+" | wc -l") }
	for _, tc := range []struct {
		name  string
		setup string
		args  []string
		code  int
		lines string
		says  []string
	}{
		{"become", "true", []string{"-b"}, 0, "first\nflight\nlanded\nlast\n", []string{"reconnected"}},
		{"lingering", "loginctl enable-linger " + user, nil, 0, "first\nflight\nlanded\nlast\n", []string{"reconnected"}},
		{"neither", "loginctl disable-linger " + user, nil, exitUnknown, "first\nflight\nlast\n",
			[]string{"logind ended the worker with its login session (KillUserProcesses=yes)", "loginctl enable-linger", "--rerun-unknown"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			labShell(t, tc.setup+"; rm -f "+home+"/lines "+home+"/go")
			c.await("no session", func() bool { return strings.TrimSpace(sessions()) == "0" })
			cmd, out := c.start(c.apply(tc.args...)...)
			c.await("the step", func() bool { return strings.HasSuffix(lines(), "flight\n") })
			proxy.Refuse(true)
			proxy.Reset()
			c.await("the session is over", func() bool { return strings.TrimSpace(sessions()) == "0" })
			proxy.Refuse(false)
			if tc.code == 0 {
				labShell(t, "touch "+home+"/go")
			}
			if code := c.ended(cmd, time.Minute); code != tc.code {
				t.Errorf("exit code %d\n%s", code, out)
			}
			for _, w := range tc.says {
				if !strings.Contains(out.String(), w) {
					t.Errorf("%q is not in:\n%s", w, out)
				}
			}
			if got := lines(); got != tc.lines {
				t.Errorf("the host has %q\n%s", got, out)
			}
			labShell(t, "touch "+home+"/go")
		})
	}
}
