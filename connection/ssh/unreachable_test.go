package ssh_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestUnreachable holds the message for each way in which there is no server to
// talk to.
func TestUnreachable(t *testing.T) {
	t.Run("connection refused", func(t *testing.T) {
		addr, _ := listen(t, drain)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		_, err = newDialer(t, ssh.Config{}).Dial(testContext(t), connection.Target{Name: "127.0.0.1", Port: port})
		ce := asError(t, err)
		if want := fmt.Sprintf("dial 127.0.0.1:%d: connection refused", port); ce.Error() != want || ce.Class != connection.ClassTCP ||
			ce.Hint != fmt.Sprintf("nothing listens on port %d there: is sshd running, is the port right?", port) {
			t.Errorf("got %s: %v (%s), want %s", ce.Class, ce, ce.Hint, want)
		}
		_ = addr
	})
	t.Run("no such name", func(t *testing.T) {
		_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), connection.Target{Name: "web-01", Address: "no-such-host.invalid"})
		ce := asError(t, err)
		if ce.Class != connection.ClassDNS || !strings.HasPrefix(ce.Error(), "dial no-such-host.invalid:22: the name no-such-host.invalid does not resolve: ") ||
			ce.Hint != "check the name, or give web-01 an address (ansible_host, HostName)" {
			t.Errorf("got %s: %v (%s)", ce.Class, ce, ce.Hint)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		addr, _ := listen(t, drain)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_, err := newDialer(t, ssh.Config{}).Dial(ctx, connection.Target{Name: "127.0.0.1", Port: addr.Port})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("configuration", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "config")
		write(t, file, "Host *\n  Prot 22\n")
		_, err := newDialer(t, ssh.Config{ConfigFile: file}).Dial(testContext(t), connection.Target{Name: "web-01"})
		if ce := asError(t, err); ce.Error() != "prepare connection to web-01: "+file+":2: bad configuration option: prot" {
			t.Errorf("got %v", ce)
		}
		_, err = newDialer(t, ssh.Config{ConfigFile: file + ".missing"}).Dial(testContext(t), connection.Target{Name: "web-01"})
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

// TestNoise: what a host says around the session reaches nobody.
func TestNoise(t *testing.T) {
	t.Parallel()
	banner := filepath.Join(t.TempDir(), "banner")
	write(t, banner, strings.Repeat("WELCOME\n", 1000))
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"Banner " + banner, "PrintMotd yes"}})
	write(t, s.Home+"/.bashrc", "echo noise from bashrc\n")
	c := mustDial(t, newDialer(t, ssh.Config{}), s.Target())
	p, err := c.Start(testContext(t), connection.Command{Argv: []string{"echo", "hello"}})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for sc := bufio.NewScanner(p.Stdout()); sc.Scan(); {
		lines = append(lines, sc.Text())
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	// A shell's own start-up files are the caller's to see through.
	if n := len(lines); n == 0 || n > 2 || lines[n-1] != "hello" {
		t.Errorf("got %q", lines)
	}
}
