package ssh_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestFleetBehindBastion: fifty hosts behind a jump host with sshd's own limit
// of beginners, and fewer sessions than there are hosts: forwarded channels are
// no sessions to sshd. One connection to it carries everything.
func TestFleetBehindBastion(t *testing.T) {
	t.Parallel()
	n := 50
	if testing.Short() {
		n = 12
	}
	for _, c := range []struct {
		name     string
		sessions string
		hosts    int
	}{
		{"the usual ten sessions", "MaxSessions 10", n},
		{"no session at all", "MaxSessions 0", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := startBehind(t, sshdtest.Options{Config: []string{c.sessions, "MaxStartups 10:30:100"}}, c.hosts, 1)
			d := newDialer(t, ssh.Config{ConfigFile: b.config})
			pool := connection.NewPool(d.Dial, connection.PoolOptions{})
			data := bytes.Repeat([]byte("0123456789abcdef"), 8<<10)
			dir := t.TempDir()
			var wg sync.WaitGroup
			for _, target := range b.targets {
				wg.Go(func() {
					conn, err := pool.Get(testContext(t), target)
					if err != nil {
						t.Errorf("%s: %v", target.Name, err)
						return
					}
					file := filepath.Join(dir, target.Name)
					if err := conn.Upload(testContext(t), file, 0o600, int64(len(data)), bytes.NewReader(data)); err != nil {
						t.Errorf("%s: %v", target.Name, err)
					}
					var out bytes.Buffer
					if err := connection.Run(testContext(t), conn, connection.Command{Argv: []string{"wc", "-c", file}}, nil, &out, nil); err != nil || !strings.HasPrefix(out.String(), "131072 ") {
						t.Errorf("%s: %v, %q", target.Name, err, out.String())
					}
				})
			}
			wg.Wait()
			if n := b.proxy.Accepted(); n != 1 {
				t.Errorf("%d connections to the bastion", n)
			}
			if n := logins(b.bastion); n != 1 {
				t.Errorf("%d logins at the bastion", n)
			}
			for _, s := range b.hosts {
				if n := logins(s); n != 1 {
					t.Errorf("%d logins at %s", n, s.Name)
				}
			}
			if err := pool.Close(); err != nil {
				t.Error(err)
			}
			waitFor(t, "the bastion's connection to end", func() bool { return len(b.proxy.Links()) == 0 })
		})
	}
}

// TestForwardingForbidden: whatever forbids it on the jump host, the error names
// the host and the settings.
func TestForwardingForbidden(t *testing.T) {
	t.Parallel()
	target := sshdtest.Start(t, sshdtest.Options{Name: "target"})
	for setting, options := range map[string]sshdtest.Options{
		"AllowTcpForwarding no":     {Config: []string{"AllowTcpForwarding no"}},
		"AllowTcpForwarding remote": {Config: []string{"AllowTcpForwarding remote"}},
		"DisableForwarding":         {Config: []string{"DisableForwarding yes"}},
		"PermitOpen none":           {Config: []string{"PermitOpen none"}},
		"PermitOpen others":         {Config: []string{"PermitOpen 192.0.2.1:22"}},
		"restricted key": {BeforeStart: func(s *sshdtest.Server) error {
			return os.WriteFile(filepath.Join(s.Dir, "authorized_keys"), []byte("restrict "+authorized(sshdtest.TestKey().PublicKey())+"\n"), 0o600)
		}},
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			options.Name = "closed"
			closed := sshdtest.Start(t, options)
			d := newDialer(t, ssh.Config{ConfigFile: jumpConfig(t, "", closed, target)})
			_, err := d.Dial(testContext(t), connection.Target{Name: "target", Jump: "closed"})
			expect(t, target, err, connection.ClassTCP,
				`dial {addr} through closed: the jump host closed forbids forwarding \(open failed\)`,
				`on closed check AllowTcpForwarding, DisableForwarding and PermitOpen in sshd_config, and no-port-forwarding and restrict in authorized_keys; or use another jump host`)
			if n := d.Bastions(); n != 0 {
				t.Errorf("%d bastions are still connected", n)
			}
		})
	}
}
