package ssh_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestFault42RequestsBack: nothing a host asks for is granted.
func TestFault42RequestsBack(t *testing.T) {
	t.Parallel()
	results := make(chan string, 20)
	target := hostile(t, func(conn *xssh.ServerConn, chans <-chan xssh.NewChannel, reqs <-chan *xssh.Request) {
		go xssh.DiscardRequests(reqs)
		go func() {
			for ch := range chans {
				_ = ch.Reject(xssh.Prohibited, "")
			}
		}()
		for _, kind := range []string{"auth-agent@openssh.com", "x11", "forwarded-tcpip", "session", "direct-tcpip", "forwarded-streamlocal@openssh.com"} {
			if _, _, err := conn.OpenChannel(kind, nil); err == nil {
				results <- "opened " + kind
			}
		}
		for _, kind := range []string{"tcpip-forward", "hostkeys-00@openssh.com", "no-more-sessions@openssh.com"} {
			if ok, _, _ := conn.SendRequest(kind, true, nil); ok {
				results <- "granted " + kind
			}
		}
		close(results)
		_ = conn.Wait()
	})
	mustDial(t, newDialer(t, ssh.Config{}), target)
	for r := range results {
		t.Errorf("the host %s", r)
	}
}

// TestFault42NothingForwarded: whatever ssh_config says, sessions get neither the
// agent nor a display, and no variable of ours.
func TestFault42NothingForwarded(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"AcceptEnv *", "X11Forwarding yes", "AllowAgentForwarding yes"}})
	config := filepath.Join(t.TempDir(), "config")
	write(t, config, "Host *\n  ForwardAgent yes\n  ForwardX11 yes\n  ForwardX11Trusted yes\n  SendEnv *\n  SetEnv SECRET=1\n")
	conn := mustDial(t, newDialer(t, ssh.Config{ConfigFile: config}), s.Target())
	for _, terminal := range []bool{false, true} {
		var out bytes.Buffer
		if err := connection.Run(testContext(t), conn, connection.Command{Argv: []string{"env"}, Terminal: terminal}, nil, &out, nil); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "SLOTH_SESSION=") {
			t.Errorf("env printed %q", out.String())
		}
		for _, name := range []string{"SSH_AUTH_SOCK=", "DISPLAY=", "SECRET=", "GOPATH=", "GOFLAGS="} {
			if strings.Contains(out.String(), "\n"+name) {
				t.Errorf("%s reached the host (terminal %v)", name, terminal)
			}
		}
	}
	if log := s.Log(); strings.Contains(log, "agent") || strings.Contains(log, "x11") {
		t.Errorf("something was asked for: %s", log)
	}
}
