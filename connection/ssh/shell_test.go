package ssh_test

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/conntest"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestShells: whatever the login shell, arguments arrive, signals and exit
// codes are told apart, and a cancel ends the command.
func TestShells(t *testing.T) {
	for _, shell := range []string{"sh", "bash", "dash", "zsh", "fish", "csh", "tcsh", "rbash"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(shell)
			if err != nil {
				sshdtest.MustSkip(t, "needs "+shell)
			}
			a := sshdtest.AddAccount(t, path)
			s := sshdtest.Start(t, sshdtest.Options{User: a.Name, RealHome: true})
			c := mustDial(t, newDialer(t, ssh.Config{}), s.Target())
			if shell == "rbash" {
				// It forbids exec and slashes, and says so.
				var out strings.Builder
				err := connection.Run(testContext(t), c, connection.Command{Argv: []string{"/bin/true"}}, nil, nil, &out)
				if err == nil || !strings.Contains(out.String(), "restricted") {
					t.Errorf("got %v, %q", err, out.String())
				}
				return
			}
			conntest.Arguments(t, c)
			var exit *connection.ExitError
			if err := connection.Run(testContext(t), c, connection.Command{Argv: []string{"/bin/sh", "-c", "exit 7"}}, nil, nil, nil); !errors.As(err, &exit) || exit.Code != 7 {
				t.Errorf("exit 7 gives %v", err)
			}
			if err := connection.Run(testContext(t), c, connection.Command{Argv: []string{"/bin/sh", "-c", "kill -9 $$"}}, nil, nil, nil); !errors.As(err, &exit) || exit.Signal != "KILL" {
				t.Errorf("kill -9 gives %v", err)
			}
			var out strings.Builder
			if err := connection.Run(testContext(t), c, connection.Command{Line: "echo $SHELL"}, nil, &out, nil); err != nil || strings.TrimSpace(out.String()) != path {
				t.Errorf("a Line runs under %q (%v), not %s", out.String(), err, path)
			}
			for _, cmd := range []connection.Command{{Argv: []string{"/bin/sh", "-c", "echo $$; exec sleep 1000"}}, {Line: "exec /bin/sh -c 'echo $$; exec sleep 1000'"}} {
				ctx, cancel := context.WithCancel(testContext(t))
				p, err := c.Start(ctx, cmd)
				if err != nil {
					t.Fatal(err)
				}
				pid := make([]byte, 16)
				n, err := p.Stdout().Read(pid)
				if err != nil {
					t.Fatal(err)
				}
				cancel()
				if err := p.Wait(); !errors.Is(err, context.Canceled) {
					t.Errorf("Wait = %v", err)
				}
				waitFor(t, "the command's end", func() bool {
					return exec.Command("kill", "-0", strings.TrimSpace(string(pid[:n]))).Run() != nil
				})
			}
		})
	}
}

// TestContractUnprivileged runs the whole suite as somebody who is not root:
// other rules hold for signals and for looking at processes.
func TestContractUnprivileged(t *testing.T) {
	t.Parallel()
	a := sshdtest.AddAccount(t, "/bin/bash")
	s := sshdtest.Start(t, sshdtest.Options{User: a.Name, RealHome: true})
	d := newDialer(t, ssh.Config{})
	conntest.Run(t, func(t testing.TB) connection.Conn {
		conn, err := d.Dial(testContext(t), s.Target())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	})
}

// TestNoCommands: accounts that may not run what they are asked to.
func TestNoCommands(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"ForceCommand echo no entry; exit 9"}})
	c := mustDial(t, newDialer(t, ssh.Config{}), s.Target())
	var out strings.Builder
	var exit *connection.ExitError
	if err := connection.Run(testContext(t), c, connection.Command{Argv: []string{"true"}}, nil, &out, nil); !errors.As(err, &exit) || exit.Code != 9 || out.String() != "no entry\n" {
		t.Errorf("got %v, %q", err, out.String())
	}
	// SFTP is not what a forced command offers either: a clear error, no hang.
	if err := c.Upload(testContext(t), "/tmp/never", 0o600, 1, strings.NewReader("x")); err == nil {
		t.Error("the upload succeeded")
	}
	if err := c.Download(testContext(t), "/etc/hostname", io.Discard); err == nil {
		t.Error("the download succeeded")
	}
}
