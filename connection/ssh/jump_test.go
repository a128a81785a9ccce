package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// jumpConfig writes an ssh_config that knows all servers, with more lines in
// front.
func jumpConfig(t *testing.T, lines string, servers ...*sshdtest.Server) string {
	t.Helper()
	for _, s := range servers {
		text, err := os.ReadFile(s.SSHConfig)
		if err != nil {
			t.Fatal(err)
		}
		lines += string(text)
	}
	file := filepath.Join(t.TempDir(), "config")
	write(t, file, lines)
	return file
}

func logins(s *sshdtest.Server) int { return strings.Count(s.Log(), "Accepted publickey for") }

func TestJumpShared(t *testing.T) {
	t.Parallel()
	bastion := sshdtest.Start(t, sshdtest.Options{Name: "bastion", Config: []string{"MaxSessions 60"}})
	target := sshdtest.Start(t, sshdtest.Options{Name: "target"})
	config := jumpConfig(t, "Host target\n  ProxyJump bastion\n", bastion, target)
	d := newDialer(t, ssh.Config{ConfigFile: config})
	const n = 50
	conns := make([]connection.Conn, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			c, err := d.Dial(testContext(t), connection.Target{Name: "target"})
			if err != nil {
				t.Error(err)
				return
			}
			conns[i] = c
			if err := connection.Run(testContext(t), c, connection.Command{Argv: []string{"true"}}, nil, nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := logins(bastion); got != 1 {
		t.Errorf("%d logins at the bastion", got)
	}
	if got := logins(target); got != n {
		t.Errorf("%d logins at the target", got)
	}
	for _, c := range conns {
		if c != nil {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if n := d.Bastions(); n != 0 {
		t.Errorf("%d bastions are still connected", n)
	}
}

func TestJumpWays(t *testing.T) {
	t.Parallel()
	hops := sshdtest.StartAll(t, 3, sshdtest.Options{Name: "hop"})
	target := sshdtest.Start(t, sshdtest.Options{Name: "target"})
	all := append([]*sshdtest.Server{target}, hops...)
	for _, c := range []struct {
		name, config string
		target       connection.Target
		options      map[string]string
	}{
		{"chain", "Host target\n  ProxyJump hop1,hop2\n", connection.Target{Name: "target"}, nil},
		{"nested", "Host target\n  ProxyJump hop2\nHost hop2\n  ProxyJump hop1\n", connection.Target{Name: "target"}, nil},
		{"three", "", connection.Target{Name: "target", Jump: "hop1,hop2,hop3"}, nil},
		{"everybody but itself", "Host *\n  ProxyJump hop1\n", connection.Target{Name: "target"}, nil},
		{"option", "", connection.Target{Name: "target", Options: map[string]string{"proxyjump": "hop3"}}, nil},
		{"option for all", "", connection.Target{Name: "target"}, map[string]string{"proxyjump": "hop3"}},
		{"user and port", "", connection.Target{Name: "target", Jump: fmt.Sprintf("%s@hop1:%d", hops[0].User, hops[0].Port)}, nil},
		{"uri", "", connection.Target{Name: "target", Jump: fmt.Sprintf("ssh://%s@hop1:%d", hops[0].User, hops[0].Port)}, nil},
		{"none", "Host *\n  ProxyJump nowhere\n", connection.Target{Name: "target", Jump: "none"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDialer(t, ssh.Config{ConfigFile: jumpConfig(t, c.config, all...), Options: c.options})
			works(t, d, c.target)
		})
	}
	t.Run("circle", func(t *testing.T) {
		d := newDialer(t, ssh.Config{ConfigFile: jumpConfig(t, "Host hop1\n  ProxyJump hop2\nHost hop2\n  ProxyJump hop1\nHost target\n  ProxyJump hop1\n", all...)})
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := d.Dial(ctx, connection.Target{Name: "target"})
		if ce := asError(t, err); !strings.Contains(fmt.Sprint(ce), "circle: hop1 > hop2 > hop1") {
			t.Errorf("got %v", ce)
		}
	})
	t.Run("target's own settings are not the hop's", func(t *testing.T) {
		// A wrong user and key for the target must not be used at the bastion.
		d := newDialer(t, ssh.Config{ConfigFile: jumpConfig(t, "", all...)})
		before := logins(hops[0])
		_, err := d.Dial(testContext(t), connection.Target{Name: "target", Jump: "hop1", User: "nobody-like-this"})
		if ce := asError(t, err); ce.Class != connection.ClassAuth || !strings.Contains(ce.Error(), "nobody-like-this is not let in") {
			t.Errorf("got %s: %v", ce.Class, ce)
		}
		if logins(hops[0]) != before+1 {
			t.Error("the bastion was not logged into")
		}
	})
}

func TestJumpErrors(t *testing.T) {
	t.Parallel()
	bastion := sshdtest.Start(t, sshdtest.Options{Name: "bastion"})
	target := sshdtest.Start(t, sshdtest.Options{Name: "target"})
	config := jumpConfig(t, "", bastion, target)
	dial := func(t *testing.T, target connection.Target) error {
		t.Helper()
		_, err := newDialer(t, ssh.Config{ConfigFile: config}).Dial(testContext(t), target)
		return err
	}
	t.Run("nobody behind it", func(t *testing.T) {
		err := dial(t, connection.Target{Name: "lost", Address: "127.0.0.1", Port: 1, Jump: "bastion"})
		if ce := asError(t, err); ce.Class != connection.ClassTCP || ce.Error() != "dial 127.0.0.1:1 through bastion: the jump host cannot reach it: Connection refused" ||
			ce.Hint != "check the address as seen from bastion, and the firewall between them" {
			t.Errorf("got %s: %v (%s)", ce.Class, ce, ce.Hint)
		}
	})
	t.Run("bastion does not resolve", func(t *testing.T) {
		err := dial(t, connection.Target{Name: "target", Jump: "no-such-host.invalid"})
		if ce := asError(t, err); ce.Class != connection.ClassDNS || ce.Host != "target" || !strings.HasPrefix(ce.Error(), "reach the jump host no-such-host.invalid: dial no-such-host.invalid:22: the name ") {
			t.Errorf("got %s for %s: %v", ce.Class, ce.Host, ce)
		}
	})
	t.Run("unknown key of the target", func(t *testing.T) {
		write(t, target.KnownHosts, "")
		err := dial(t, connection.Target{Name: "target", Jump: "bastion"})
		expect(t, target, err, connection.ClassHostKey, `verify {addr}: its ssh-ed25519 key {key} is unknown`, `compare .*`)
	})
	t.Run("bastion dies", func(t *testing.T) {
		write(t, target.KnownHosts, fmt.Sprintf("[%s]:%d %s\n", target.Host, target.Port, authorized(target.HostKeys[0])))
		d := newDialer(t, ssh.Config{ConfigFile: config})
		c := mustDial(t, d, connection.Target{Name: "target", Jump: "bastion"})
		p := running(t, c)
		bastion.Cut()
		if ce := asError(t, p.Wait()); ce.Class != connection.ClassTCP {
			t.Errorf("got %s: %v", ce.Class, ce)
		}
		works(t, d, connection.Target{Name: "target", Jump: "bastion"}) // over a new connection
	})
	t.Run("bastion and target are silent", func(t *testing.T) {
		d := newDialer(t, ssh.Config{ConfigFile: config, HandshakeTimeout: 300 * time.Millisecond})
		addr, _ := listen(t, drain)
		_, err := d.Dial(testContext(t), connection.Target{Name: "silent", Address: "127.0.0.1", Port: addr.Port, Jump: "bastion"})
		if ce := asError(t, err); !strings.Contains(ce.Error(), "SSH handshake not finished after 300ms") {
			t.Errorf("got %v", ce)
		}
	})
}

func TestProxyCommand(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh"); err != nil {
		sshdtest.MustSkip(t, "needs the ssh client")
	}
	bastion := sshdtest.Start(t, sshdtest.Options{Name: "bastion"})
	target := sshdtest.Start(t, sshdtest.Options{Name: "target"})
	pidFile := filepath.Join(t.TempDir(), "pid")
	proxy := fmt.Sprintf("sh -c 'echo $$ > %s; ssh -q -F %s -W %%h:%%p bastion; exit' # %%n", pidFile, bastion.SSHConfig)
	config := jumpConfig(t, "Host target\n  ProxyCommand "+proxy+"\n", target)
	d := newDialer(t, ssh.Config{ConfigFile: config})
	c, err := d.Dial(testContext(t), connection.Target{Name: "target"})
	if err != nil {
		t.Fatal(err)
	}
	if err := connection.Run(testContext(t), c, connection.Command{Argv: []string{"true"}}, nil, nil, nil); err != nil {
		t.Error(err)
	}
	if logins(bastion) != 1 {
		t.Error("the way did not lead over the bastion")
	}
	var pid int
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	waitFor(t, "the end of the command and its children", func() bool { return errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH) })

	for _, c := range []struct{ name, command, message string }{
		{"complains", "echo no way >&2; exit 3", `the ProxyCommand ended before the key exchange, saying "no way"`},
		{"does not exist", "/no/such/command", `No such file|not found`},
		{"is silent", "sleep 1000", `SSH handshake not finished after 300ms`},
		{"bad token", "nc %x", `ProxyCommand: unknown %-token in "nc %x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDialer(t, ssh.Config{ConfigFile: jumpConfig(t, "Host target\n  ProxyCommand "+c.command+"\n", target), HandshakeTimeout: 300 * time.Millisecond})
			d.Hurry()
			_, err := d.Dial(testContext(t), connection.Target{Name: "target"})
			ce := asError(t, err)
			ok := false
			for _, m := range strings.Split(c.message, "|") {
				ok = ok || strings.Contains(ce.Error(), m)
			}
			if !ok {
				t.Errorf("got %s: %v", ce.Class, ce)
			}
		})
	}
}
