package ssh_test

import (
	"context"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/conntest"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// newDialer reads no configuration of the developer's.
func newDialer(t testing.TB, c ssh.Config) *ssh.Dialer {
	t.Helper()
	if c.ConfigFile == "" {
		c.ConfigFile = "none"
	}
	if c.Home == "" {
		c.Home = t.TempDir()
	}
	d := ssh.NewDialer(c)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close dialer: %v", err)
		}
	})
	return d
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func mustDial(t testing.TB, d *ssh.Dialer, target connection.Target) connection.Conn {
	t.Helper()
	c, err := d.Dial(testContext(t), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func TestContract(t *testing.T) {
	for _, c := range []struct {
		name    string
		options sshdtest.Options
	}{
		{"sftp", sshdtest.Options{}},
		{"without sftp", sshdtest.Options{NoSFTP: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := sshdtest.Start(t, c.options)
			d := newDialer(t, ssh.Config{})
			conntest.Run(t, func(t testing.TB) connection.Conn {
				conn, err := d.Dial(testContext(t), s.Target())
				if err != nil {
					t.Fatal(err)
				}
				return conn
			})
		})
	}
}
