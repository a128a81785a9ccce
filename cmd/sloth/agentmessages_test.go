package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestAgentMessages: what is wrong is said with what to do about it.
func TestAgentMessages(t *testing.T) {
	m := newMeeting(t, 1, "")
	closed := freePort(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
			c.Close()
		}
	})
	defer wg.Wait()
	defer other.Close()
	for name, mode := range map[string]os.FileMode{"open": 0o755, "again": 0o700} { //nolint:gosec // the point
		if err := os.Mkdir(filepath.Join(m.dir, name), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(m.dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	token := func(args ...string) string {
		code, out := m.sloth(append([]string{"agent", "token", "--master", m.address()}, args...)...)
		if code != 0 {
			t.Fatalf("exit code %d\n%s", code, out)
		}
		return strings.Split(out, "\n")[0]
	}
	replace := strings.NewReplacer(m.address(), "MASTER", strconv.Itoa(m.port), "PORT", m.dir, "DIR", strconv.Itoa(closed), "CLOSED",
		other.Addr().String(), "OTHER")
	hostname, _ := os.Hostname()
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"not logged in", []string{"agent", "list", "--master", "master.example"}, 1,
			"sloth: not logged in to the master master.example:50053\n       sloth login master.example:50053; `sloth master start` logs its own user in.\n"},
		{"wrong address", []string{"agent", "start", "--name", "a", "--dir", "a", "--master", "127.0.0.1:" + strconv.Itoa(closed)}, 4,
			"sloth: connect to the master 127.0.0.1:CLOSED: connection refused\n       Is the address right, does the master run (`sloth master start`), and does a firewall let its port through?\n"},
		{"no such name", []string{"agent", "start", "--name", "a", "--dir", "a", "--master", "master.invalid"}, 4,
			"sloth: connect to the master master.invalid:50053: the name master.invalid does not resolve\n       Correct the name, or give the master's IP address.\n"},
		{"something else listens", []string{"agent", "start", "--name", "a", "--dir", "a", "--master", other.Addr().String()}, 4,
			"sloth: connect to the master OTHER: what answers there does not speak TLS\n       Is this the master's port?\n"},
		{"bad name", []string{"agent", "start", "--name", "a b"}, 1,
			"sloth: the name \"a b\" has the character ' '; letters, digits, '.', '_' and '-' are allowed\n       Give it with --name.\n"},
		{"duplicate name", []string{"agent", "start", "--name", "nat-1", "--dir", "a", "--master", m.address(), "--token", token("nat-1")}, 4,
			"sloth: ask the master MASTER: an agent called nat-1 is connected (" + hostname + ", from 127.0.0.1)\n       Choose another --name; or, where this machine takes the place of the other, first `sloth agent delete NAME`.\n"},
		{"duplicate on this host", []string{"agent", "start", "--name", "nat-1", "--dir", filepath.Join(m.home(0), "state", "sloth", "agents", "nat-1")}, 1,
			"sloth: agent nat-1 runs already on this host, pid " + strconv.Itoa(m.agents[0].Process.Pid) + "\n       `sloth agent stop nat-1` ends it; another agent needs another --name.\n"},
		{"no token", []string{"agent", "start", "--name", "a", "--dir", "a", "--master", m.address(), "--token", "hello"}, 1,
			"sloth: this is no join token; `sloth agent token` makes one, it begins with sloth-join-\n"},
		{"folder is a file", []string{"agent", "start", "--name", "a", "--dir", "hosts.yaml/a", "--master", m.address()}, 1,
			"sloth: make the folder for keys: mkdir DIR/hosts.yaml: not a directory\n"},
		{"folder is open", []string{"master", "start", "--dir", "open"}, 1,
			"sloth: the folder DIR/open for keys is open to others (-rwxr-xr-x): close it with chmod 700 DIR/open\n"},
		{"port in use", []string{"master", "start", "--dir", "again", "--bind-address", "127.0.0.1", "--port", strconv.Itoa(m.port)}, 1,
			"sloth: listen on MASTER: bind: address already in use\n       Something listens there already, perhaps another master (`ss -ltnp 'sport = :PORT'`); end it, or take another --port.\n"},
		{"port in use, in the background", []string{"master", "start", "--daemon", "--dir", "again", "--bind-address", "127.0.0.1", "--port", strconv.Itoa(m.port)}, 1,
			"sloth: listen on MASTER: bind: address already in use\n       Something listens there already, perhaps another master (`ss -ltnp 'sport = :PORT'`); end it, or take another --port.\n"},
		{"two masters", []string{"master", "start", "--bind-address", "127.0.0.1", "--port", strconv.Itoa(closed)}, 1,
			"sloth: another master runs with the folder DIR/state/sloth/master: stop it, or use another with --dir\n"},
		{"no port", []string{"master", "start", "--port", "70000"}, 1, "sloth: --port 70000: a port is from 1 to 65535\n"},
		{"unknown agent", []string{"agent", "show", "web-9", "--master", m.address()}, 1,
			"sloth: there is no agent web-9\n       `sloth agent list` shows the agents there are.\n"},
		{"no role", []string{"agent", "token", "--user", "ann", "--role", "root", "--master", m.address()}, 4,
			"sloth: ask the master MASTER: there is no role \"root\"; there are viewer, operator and admin\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out := m.sloth(c.args...)
			if got := replace.Replace(out); code != c.code || got != c.want {
				t.Errorf("exit code %d, want %d\n got %q\nwant %q", code, c.code, got, c.want)
			}
		})
	}
	t.Run("expired token", func(t *testing.T) {
		late := token("late", "--expires", "1ms")
		code, out := m.sloth("agent", "start", "--name", "late", "--dir", "late", "--master", m.address(), "--token", late)
		if code != 4 || !strings.Contains(out, ": the token expired at ") || !strings.Contains(out, " by the master's clock\n       `sloth agent token` on the master") {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
	t.Run("unreachable in a run", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(m.dir, "gone.yaml"), []byte("all:\n  hosts:\n    web-9: {connection: agent, sloth_master: \""+m.address()+"\"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out := m.sloth("exec", "-i", "gone.yaml", "all", "true")
		if code != 4 || !strings.Contains(out, "there is no agent web-9") || !strings.Contains(out, "`sloth agent list`") {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
}
