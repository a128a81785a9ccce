package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/faultproxy"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

func (c *controller) exec(command string, more ...string) []string {
	return append([]string{"exec", "-i", "hosts.yaml", "-F", "ssh.conf", "all", command}, more...)
}

// throughProxies puts one proxy for each name before the first server and makes
// an inventory of those names.
func (c *controller) throughProxies(names ...string) (proxies []*faultproxy.Proxy) {
	c.t.Helper()
	s := c.servers[0]
	key, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		c.t.Fatal(err)
	}
	_, public, _ := strings.Cut(string(key), " ")
	inv, known := "all:\n  hosts:\n", ""
	for _, name := range names {
		p := faultproxy.Start(c.t, s.Addr())
		inv += fmt.Sprintf("    %s: {ansible_host: %s, ansible_port: %d, ansible_user: %s}\n", name, p.Host(), p.Port(), s.User)
		known += fmt.Sprintf("[%s]:%d %s", p.Host(), p.Port(), public)
		proxies = append(proxies, p)
	}
	for name, text := range map[string]string{"hosts.yaml": inv, "known_hosts": known} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	return proxies
}

// A command that leaves something behind which keeps its output open ends with
// the command.
func TestFault54ADaemonDoesNotHoldUpExec(t *testing.T) {
	t.Parallel()
	c := newController(t, 1, "")
	mark := fmt.Sprintf("87%06d", os.Getpid()%1000000)
	t.Cleanup(func() {
		for _, pid := range sleepers(mark) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	begin := time.Now()
	if code, out := c.sloth(c.exec("sleep " + mark + " & echo begun")...); code != 0 || !strings.Contains(out, "begun") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
	if len(sleepers(mark)) == 0 {
		t.Error("what was left behind is gone")
	}
}

// A command that takes too long is ended with all it has started, as another
// user too.
func TestFault55TheTimeoutOfExec(t *testing.T) {
	for _, as := range []string{"", "become"} {
		t.Run(as, func(t *testing.T) {
			t.Parallel()
			c := newController(t, 1, "")
			mark := fmt.Sprintf("88%06d%d", os.Getpid()%1000000, len(as))
			args := c.exec("trap '' TERM; sleep "+mark+" & sleep "+mark+"; wait", "--command-timeout", "1s")
			if as != "" {
				if _, err := exec.LookPath("sudo"); err != nil || os.Geteuid() != 0 {
					sshdtest.MustSkip(t, "needs root and sudo")
				}
				args = append(args, "-b")
			}
			code, out := c.sloth(args...)
			if code != exitFailed || !strings.Contains(out, "did not end within 1s") {
				t.Errorf("exit code %d\n%s", code, out)
			}
			c.await("no process is left", func() bool { return len(sleepers(mark)) == 0 })
		})
	}
}

// What ends a command as its own user finds all of its process groups, and
// nobody else's.
func TestTheGroupsOfACommandAreEnded(t *testing.T) {
	t.Parallel()
	start := func(mark string) (*exec.Cmd, <-chan error) {
		cmd := exec.Command("/bin/sh", "-c", "trap '' TERM; while sleep 0.05; do :; done", "sloth-command-"+mark)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // gone, if all went well
		return cmd, ended
	}
	mine, others := newMark(), newMark()
	_, first := start(mine)
	_, second := start(mine)
	other, _ := start(others)
	killer := exec.Command("/bin/sh", "-c", strings.ReplaceAll(killOthers, "MARK", mine), "sh")
	killer.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if out, err := killer.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, ended := range []<-chan error{first, second} {
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("it runs on")
		}
	}
	if syscall.Kill(other.Process.Pid, 0) != nil {
		t.Error("another command was ended")
	}
}

// A link that breaks behind the beginning of a command leaves its end unknown;
// one that breaks before does not.
func TestFault01ABrokenLinkMakesAnExecUnknown(t *testing.T) {
	t.Parallel()
	c := newController(t, 1, "")
	proxies := c.throughProxies("cut", "well")
	cmd, out := c.start(c.exec("echo $PPID >> $HOME/begun; until test -e $HOME/go; do sleep 0.02; done")...)
	begun := func() int {
		b, _ := os.ReadFile(filepath.Join(c.servers[0].Home, "begun")) // none yet
		return strings.Count(string(b), "\n")
	}
	c.await("both have begun", func() bool { return begun() == 2 })
	proxies[0].Cut()
	c.await("the link is gone", func() bool { return len(proxies[0].Links()) == 0 })
	if err := os.WriteFile(filepath.Join(c.servers[0].Home, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := c.ended(cmd, 20*time.Second); code != exitUnknown {
		t.Errorf("exit code %d", code)
	}
	for _, w := range []string{"cut", "may have ended, or still run there", "Look at the host"} {
		if !strings.Contains(out.String(), w) {
			t.Errorf("%q is not in:\n%s", w, out)
		}
	}
	if begun() != 2 {
		t.Errorf("it was begun %d times", begun())
	}
	proxies[0].Refuse(true)
	if code, out := c.sloth(c.exec("true")...); code != exitUnreachable || strings.Contains(out, "still run there") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// Ctrl-C begins nothing more, the second ends what runs, the third leaves.
func TestFault51ExecAskedToEnd(t *testing.T) {
	hangsUp(t)
	for _, tc := range []struct {
		name    string
		signals []syscall.Signal
		alive   bool // what had begun goes on
		says    []string
	}{
		{"once", []syscall.Signal{syscall.SIGINT}, true, []string{"beginning nothing on further hosts", "on web-1", "not begun here"}},
		{"twice", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}, false, []string{"ending the command on web-1", "it was ended"}},
		{"TERM", []syscall.Signal{syscall.SIGTERM}, false, []string{"ending the command on web-1"}},
		{"terminal closed", []syscall.Signal{syscall.SIGHUP}, true, []string{"leaving; the command may still run on web-1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			mark := fmt.Sprintf("89%06d%d", os.Getpid()%1000000, len(tc.name))
			c := newController(t, 2, "")
			cmd, out := c.start(c.exec("touch $HOME/begun; sleep "+mark+" & until test -e $HOME/go; do sleep 0.02; done; kill -9 $!; touch $HOME/ended", "--forks", "1")...)
			c.exists(0, "begun")
			for i, s := range tc.signals {
				if i > 0 {
					time.Sleep(150 * time.Millisecond) //nolint:forbidigo // as fast as people are
				}
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			release := func() {
				if err := os.WriteFile(filepath.Join(c.servers[0].Home, "go"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if tc.name == "once" {
				release()
			}
			if code := c.ended(cmd, 20*time.Second); code != exitInterrupted {
				t.Errorf("exit code %d\n%s", code, out)
			}
			for _, w := range tc.says {
				if !strings.Contains(out.String(), w) {
					t.Errorf("%q is not in:\n%s", w, out)
				}
			}
			if !tc.alive {
				c.await("no process is left", func() bool { return len(sleepers(mark)) == 0 })
			}
			release()
			if tc.alive {
				c.exists(0, "ended")
			}
			if _, err := os.Stat(filepath.Join(c.servers[1].Home, "begun")); err == nil {
				t.Error("it was begun on web-2")
			}
		})
	}
}

// exec counts the files it will need as apply does.
func TestFault52ExecNeedsDescriptors(t *testing.T) {
	t.Parallel()
	c := newController(t, 2, "")
	cmd := exec.Command("/bin/sh", append([]string{"-c", `ulimit -n 30; exec "$0" "$@"`, c.program}, c.exec("touch $HOME/begun")...)...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, _ := cmd.CombinedOutput() // its exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != exitUsage || !strings.Contains(string(out), "2 hosts need up to 52 open files") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	for _, s := range c.servers {
		if _, err := os.Stat(filepath.Join(s.Home, "begun")); err == nil {
			t.Error("it was begun")
		}
	}
}
