package ssh_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/conntest"
	"github.com/sloth-runner/sloth/connection/faultproxy"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// patience is how long a test waits for what must happen soon, on a machine
// that may be busy with other things.
const patience = 30 * time.Second

// running starts a command and returns once it runs.
func running(t *testing.T, c connection.Conn) connection.Process {
	t.Helper()
	p, err := c.Start(testContext(t), connection.Command{Argv: []string{"/bin/sh", "-c", "echo here; exec sleep 1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p.Stdout(), make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestConnectionLost: however the link ends, with and without SFTP, over a
// bastion and directly.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	ends := map[string]func(*faultproxy.Proxy){"cut": (*faultproxy.Proxy).Cut, "reset": (*faultproxy.Proxy).Reset, "silent": (*faultproxy.Proxy).Blackhole}
	bastion := sshdtest.Start(t, sshdtest.Options{Name: "bastion"})
	for _, c := range []struct {
		name, end string
		options   sshdtest.Options
		jump      bool // the faulty link is the one behind the bastion
	}{
		{"cut", "cut", sshdtest.Options{}, false},
		{"reset", "reset", sshdtest.Options{}, false},
		{"silent", "silent", sshdtest.Options{}, false},
		{"silent, without sftp", "silent", sshdtest.Options{NoSFTP: true}, false},
		{"silent, over a bastion", "silent", sshdtest.Options{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.options.Config = []string{"ClientAliveInterval 1", "ClientAliveCountMax 2"} // it must not keep what nobody wants any more
			s := sshdtest.Start(t, c.options)
			config := ssh.Config{KeepAlive: time.Second, KeepAliveCount: 3}
			if c.jump {
				config.ConfigFile = jumpConfig(t, "", bastion)
			}
			d := newDialer(t, config)
			conntest.Lost(t, func(t testing.TB) (connection.Conn, func()) {
				p := faultproxy.Start(t, s.Addr())
				target := p.Target(s.Target())
				if c.jump {
					target.Jump = "bastion"
				}
				conn, err := d.Dial(testContext(t), target)
				if err != nil {
					t.Fatal(err)
				}
				return conn, func() { ends[c.end](p) }
			})
		})
	}
}

// TestLostUpload: what a lost connection leaves of an upload is not the file.
func TestLostUpload(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	p := faultproxy.Start(t, s.Addr())
	for _, size := range []int64{64 << 20, 100 << 10} {
		c := mustDial(t, newDialer(t, ssh.Config{}), p.Target(s.Target()))
		file := filepath.Join(t.TempDir(), "f")
		p.CutAfter(size/2, faultproxy.ToServer)
		err := c.Upload(testContext(t), file, 0o600, size, io.LimitReader(zeros{}, size))
		expect(t, s, err, connection.ClassTCP, `upload `+file+`: the connection broke`, `.*`)
		if _, err := os.Stat(file); err == nil {
			t.Error("half a file is there")
		}
	}
}
