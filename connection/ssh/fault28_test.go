package ssh_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestFault28HostKeyUnknown: no key is taken on trust unless somebody says so.
func TestFault28HostKeyUnknown(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Name: "web-01"})
	known := filepath.Join(t.TempDir(), "new", "known_hosts")
	target := s.Target()
	target.Options["userknownhostsfile"] = known
	for _, strict := range []string{"yes", "ask"} {
		target.Options["stricthostkeychecking"] = strict
		_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target)
		expect(t, s, err, connection.ClassHostKey, `verify {addr}: its ssh-ed25519 key {key} is unknown`,
			`compare the fingerprint on the host's console, then: ssh-keyscan -p {port} {host} >> `+known)
	}
	if _, err := os.Stat(known); err == nil {
		t.Error("a refused key left a file")
	}

	// Asked once, for two connections at the same time; remembered in 0600.
	var asked atomic.Int32
	d := newDialer(t, ssh.Config{HostKeyAsk: func(_ context.Context, q ssh.HostKeyQuestion) (bool, error) {
		asked.Add(1)
		want := ssh.HostKeyQuestion{Host: "web-01", Address: fmt.Sprintf("[%s]:%d", s.Host, s.Port), Type: "ssh-ed25519", Fingerprint: xssh.FingerprintSHA256(s.HostKeys[0])}
		if q != want {
			t.Errorf("asked %+v, want %+v", q, want)
		}
		return true, nil
	}})
	target.Options["stricthostkeychecking"] = "ask"
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { mustDial(t, d, target) })
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	st, err := os.Stat(known)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	text, _ := os.ReadFile(known)
	if want := fmt.Sprintf("[%s]:%d %s\n", s.Host, s.Port, authorized(s.HostKeys[0])); string(text) != want {
		t.Errorf("file holds %q, want %q", text, want)
	}
	target.Options["stricthostkeychecking"] = "yes"
	mustDial(t, newDialer(t, ssh.Config{}), target)

	t.Run("refused by the human", func(t *testing.T) {
		target := s.Target()
		target.Options["userknownhostsfile"] = filepath.Join(t.TempDir(), "k")
		target.Options["stricthostkeychecking"] = "ask"
		d := newDialer(t, ssh.Config{HostKeyAsk: func(context.Context, ssh.HostKeyQuestion) (bool, error) { return false, nil }})
		_, err := d.Dial(testContext(t), target)
		expect(t, s, err, connection.ClassHostKey, `verify {addr}: its ssh-ed25519 key {key} was not accepted`, "")
	})
	t.Run("a slow human is not the host's fault", func(t *testing.T) {
		target := s.Target()
		target.Options["userknownhostsfile"] = filepath.Join(t.TempDir(), "k")
		target.Options["stricthostkeychecking"] = "ask"
		d := newDialer(t, ssh.Config{HandshakeTimeout: time.Second, HostKeyAsk: func(context.Context, ssh.HostKeyQuestion) (bool, error) {
			time.Sleep(1500 * time.Millisecond) // longer than the handshake may take
			return true, nil
		}})
		mustDial(t, d, target)
	})
	t.Run("accepted and hashed", func(t *testing.T) {
		target := s.Target()
		file := filepath.Join(t.TempDir(), "k")
		write(t, file, "other ssh-ed25519 AAAA") // no newline at its end
		target.Options["userknownhostsfile"] = file
		target.Options["stricthostkeychecking"] = "accept-new"
		target.Options["hashknownhosts"] = "yes"
		mustDial(t, newDialer(t, ssh.Config{}), target)
		text, _ := os.ReadFile(file)
		if strings.Contains(string(text), s.Host) || strings.Count(string(text), "\n") != 2 {
			t.Errorf("file holds %q", text)
		}
		target.Options["stricthostkeychecking"] = "yes"
		mustDial(t, newDialer(t, ssh.Config{}), target)
		if out, err := exec.Command("ssh-keygen", "-F", fmt.Sprintf("[%s]:%d", s.Host, s.Port), "-f", file).Output(); err != nil {
			t.Errorf("ssh-keygen does not find it: %v %s", err, out)
		}
	})
}
