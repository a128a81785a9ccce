package main

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// A plan whose controller is killed is gone on with: what is done is not done
// again, and the rest is still held to the plan.
func TestAPlanIsResumed(t *testing.T) {
	sshdtest.Start(t, sshdtest.Options{}) // skips where there is no sshd
	script, want := appendLines(20)
	c := newController(t, 2, script)
	if code, out := c.sloth("plan", "-i", "hosts.yaml", "-F", "ssh.conf", "site.sloth", "-o", "site.plan"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	args := []string{"apply", "site.plan"}
	ended, resumed := false, 0
	// The time grows by less than a run takes, so that one of them is cut.
	for try := 0; try < 150 && !ended; try++ {
		cmd, out := c.start(args...)
		kill := time.AfterFunc(time.Duration(100+40*try)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		kill.Stop()
		var exit *exec.ExitError
		switch {
		case err == nil:
			ended = true
		case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled():
			_, list := c.sloth("runs", "list", "-n", "1")
			switch {
			case strings.Contains(list, "interrupted"):
				args = []string{"runs", "resume", "last"}
				resumed++
			case resumed > 0: // behind its end
				ended = true
			}
		default:
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if !ended || resumed == 0 {
		t.Fatalf("ended: %v, resumed %d times", ended, resumed)
	}
	for i := range c.servers {
		if got := c.lines(i); got != want {
			t.Errorf("web-%d has %q", i+1, got)
		}
	}
}
