package sshdtest

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestServersHaveOwnHomesAndEndWholly(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		MustSkip(t, "needs the ssh client")
	}
	var pid int
	t.Run("run", func(t *testing.T) {
		servers := StartAll(t, 3, Options{Name: "web-"})
		homes := map[string]bool{}
		for _, s := range servers {
			out, err := exec.Command("ssh", "-F", s.SSHConfig, s.Name, "printf %s \"$HOME\"").CombinedOutput()
			if err != nil {
				t.Fatalf("ssh %s: %v: %s", s.Name, err, out)
			}
			homes[string(out)] = true
			if os.Geteuid() == 0 && string(out) != s.Home {
				t.Errorf("HOME of %s = %s, want %s", s.Name, out, s.Home)
			}
		}
		if len(homes) != 3 {
			t.Errorf("homes = %v, want three", homes)
		}
		s := servers[1]
		// A daemon that leaves session, process group and parent behind.
		out, err := exec.Command("ssh", "-F", s.SSHConfig, s.Name, "setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1 </dev/null' &").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range strings.TrimSpace(string(out)) {
			pid = pid*10 + int(c-'0')
		}
		if pid < 2 || syscall.Kill(pid, 0) != nil {
			t.Fatalf("daemon %q does not run", out)
		}
	})
	for deadline := time.Now().Add(5 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlives its server", pid)
		}
	}
}

func TestCutAndFreeze(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		MustSkip(t, "needs the ssh client")
	}
	s := Start(t, Options{})
	start := func() *exec.Cmd {
		cmd := exec.Command("ssh", "-F", s.SSHConfig, s.Name, "echo here; exec sleep 1000")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		if _, err := out.Read(make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	cmd := start()
	s.Freeze()
	s.Thaw()
	s.Cut()
	if err := cmd.Wait(); err == nil {
		t.Error("the client did not notice the cut")
	}
	start() // the listener is still there
}
