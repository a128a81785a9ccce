package sshdtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Start launches a server that ends with the test. Without sshd the test is
// skipped, or fails under SLOTH_MUST_RUN=1.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	return StartAll(t, 1, o)[0]
}

// StartAll launches n servers named NAME1…NAMEn (NAME alone when n is 1) that
// end with the test.
func StartAll(t testing.TB, n int, o Options) []*Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var servers []*Server
	var err error
	if n == 1 {
		var s *Server
		s, err = Launch(ctx, o)
		servers = []*Server{s}
	} else {
		servers, err = launchAll(ctx, n, o)
	}
	if errors.Is(err, ErrNoSSHD) {
		MustSkip(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range servers {
			if err := s.Close(); err != nil {
				t.Errorf("close %s: %v", s.Name, err)
			}
			if t.Failed() {
				t.Logf("sshd %s said:\n%s", s.Name, tail(s.Log(), 4000))
			}
		}
	})
	return servers
}

// MustSkip skips the test with a reason, or fails it under SLOTH_MUST_RUN=1.
func MustSkip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("SLOTH_MUST_RUN") == "1" {
		t.Fatal("SLOTH_MUST_RUN=1, but: " + why)
	}
	t.Skip(why)
}

// Account is a throw-away user of this machine.
type Account struct {
	Name, Password, Home string
}

// AddAccount makes a user with a random password, the given login shell
// ("/bin/sh" when empty) and a home folder; the test's end removes it and its
// processes. Only root can do that: others skip.
func AddAccount(t testing.TB, shell string) Account {
	t.Helper()
	if os.Geteuid() != 0 {
		MustSkip(t, "needs root to add a user")
	}
	for _, tool := range []string{"useradd", "userdel", "chpasswd"} {
		if _, err := exec.LookPath(tool); err != nil {
			MustSkip(t, "needs "+tool)
		}
	}
	if shell == "" {
		shell = "/bin/sh"
	}
	var b [12]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	home, err := os.MkdirTemp("", "sshdtest-home-")
	if err != nil {
		t.Fatal(err)
	}
	a := Account{Name: "sloth" + hex.EncodeToString(b[:4]), Password: "p " + hex.EncodeToString(b[4:]), Home: home}
	t.Cleanup(func() {
		// userdel refuses while the user still runs something.
		if err := endProcessesOf(a.Name); err != nil {
			t.Errorf("end processes of %s: %v", a.Name, err)
		}
		if err := patiently("userdel", "", a.Name); err != nil {
			t.Error(err)
		}
		os.RemoveAll(home)
	})
	if err := patiently("useradd", "", "-M", "-d", home, "-s", shell, a.Name); err != nil {
		t.Fatal(err)
	}
	if err := patiently("chpasswd", a.Name+":"+a.Password+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("chown", a.Name+":", home).Run(); err != nil {
		t.Fatal(err)
	}
	return a
}

// patiently retries what another process holds a lock against.
func patiently(name, stdin string, args ...string) error {
	for deadline := time.Now().Add(20 * time.Second); ; {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || !strings.Contains(string(out), "lock") && !strings.Contains(string(out), "used by process") {
			return fmt.Errorf("%s: %w: %s", name, err, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}
