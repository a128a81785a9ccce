package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/sshdtest"
)

func (c *controller) apply(more ...string) []string {
	return append([]string{"apply", "-i", "hosts.yaml", "-F", "ssh.conf", "site.sloth"}, more...)
}

// exists waits until a file is in the home of a host.
func (c *controller) exists(i int, name string) {
	c.t.Helper()
	c.await(name+" on web-"+strconv.Itoa(i+1), func() bool { _, err := os.Stat(filepath.Join(c.servers[i].Home, name)); return err == nil })
}

func (c *controller) await(what string, is func() bool) {
	c.t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) { //nolint:forbidigo // polls
		if time.Now().After(end) {
			c.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// ended waits for the end of a command that start began and gives its exit code.
func (c *controller) ended(cmd *exec.Cmd, within time.Duration) int {
	c.t.Helper()
	late := time.AfterFunc(within, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	if !late.Stop() {
		c.t.Errorf("it did not end within %s", within)
	}
	return cmd.ProcessState.ExitCode()
}

func needsMounts(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 || exec.Command("unshare", "-m", "true").Run() != nil {
		sshdtest.MustSkip(t, "needs root and mount namespaces")
	}
}

// A controller that cannot write down what it does begins nothing more, says so
// with its exit code, and what was begun is done once when it goes on.
func TestFault07TheDiskOfTheControllerIsFull(t *testing.T) {
	needsMounts(t)
	script := `
local tasks = {}
for i = 1, 12 do
  tasks[i] = task("t" .. i):delegate_to(i % 2 == 0 and "web-1" or "web-2"):command(function()
    exec.run("echo " .. i .. " >> $HOME/lines")
    return true, "", { big = string.rep("x", 3000) }
  end):build()
end
workflow.define("w"):tasks(tasks)`
	c := newController(t, 2, script)
	if code, out := c.sloth("ping", "-i", "hosts.yaml", "-F", "ssh.conf", "all"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	state := filepath.Join(c.dir, "state")
	kept := filepath.Join(c.dir, "kept")
	for _, d := range []string{state, kept} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	small := func(size string) (int, string) {
		mount := fmt.Sprintf("mount -t tmpfs -o size=%s,mode=700 tmpfs %s && { %s %s; code=$?; cp -r %s/. %s; exit $code; }", size, state, c.program, strings.Join(c.apply(), " "), state, kept)
		cmd := exec.Command("unshare", "-m", "/bin/sh", "-c", mount)
		cmd.Dir, cmd.Env = c.dir, c.env
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		c.endWorkers()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	code, out := small("4k")
	if code != 1 || !strings.Contains(out, "no space left on device") || !strings.Contains(out, "Nothing was begun") || c.lines(0)+c.lines(1) != "" {
		t.Errorf("no room at all: exit code %d, %q\n%s", code, c.lines(0)+c.lines(1), out)
	}
	code, out = small("40k")
	done := strings.Fields(c.lines(0) + c.lines(1))
	if code != 2 || !strings.Contains(out, "no space left on device; nothing more is begun") || len(done) == 0 || len(done) == 12 {
		t.Fatalf("exit code %d, %v\n%s", code, done, out)
	}
	// With room again the run goes on.
	if out, err := exec.Command("cp", "-r", kept+"/.", state).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	code, out = c.sloth("runs", "resume", "last")
	if code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if got := c.lines(0); got != "2\n4\n6\n8\n10\n12\n" {
		t.Errorf("web-1 has %q", got)
	}
	if got := c.lines(1); got != "1\n3\n5\n7\n9\n11\n" {
		t.Errorf("web-2 has %q", got)
	}
}

// Two controllers on the same hosts: the second says for whom it waits, or gives
// up with an exit code of its own.
func TestFault09TwoControllers(t *testing.T) {
	script := `
workflow.define("w"):config({ hosts = "all" }):tasks({ task("t"):command(function()
  return exec.run("touch $HOME/begun; until test -e $HOME/go; do sleep 0.02; done; echo x >> $HOME/lines").success
end):build() })`
	c := newController(t, 1, script)
	first, out1 := c.start(c.apply()...)
	c.exists(0, "begun")
	code, out := c.sloth(c.apply("--wait-lock", "1ms", "--stack", "two")...)
	if code != exitLocked || !strings.Contains(out, "the host is being changed by run ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	second, out2 := c.start(c.apply("--output", "ndjson", "--stack", "three")...)
	c.await("the second to wait", func() bool {
		return strings.Contains(read(c.dir, "state/sloth/runs", "waiting: the host is being changed by run"), "x")
	})
	if err := os.WriteFile(filepath.Join(c.servers[0].Home, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := c.ended(first, 20*time.Second); code != 0 {
		t.Errorf("the first: exit code %d\n%s", code, out1)
	}
	if code := c.ended(second, 20*time.Second); code != 0 {
		t.Errorf("the second: exit code %d\n%s", code, out2)
	}
	if c.lines(0) != "x\nx\n" {
		t.Errorf("the host has %q", c.lines(0))
	}
}

// read gives "x" for each file below a folder that has the text in it.
func read(dir, sub, text string) (found string) {
	_ = filepath.WalkDir(filepath.Join(dir, sub), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(text)) {
				found += "x"
			}
		}
		return nil
	})
	return found
}

// endWorkers kills the workers on all hosts.
func (c *controller) endWorkers() {
	for _, s := range c.servers {
		for _, pid := range processes(func(cmd string) bool {
			return strings.HasPrefix(cmd, s.Home) && strings.Contains(cmd, "\x00worker\x00")
		}) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// sleepers are the processes that a test's steps have started, by their mark.
func sleepers(mark string) []int {
	return processes(func(cmd string) bool { return strings.Contains(cmd, mark) && !strings.Contains(cmd, "sloth") })
}

func processes(is func(cmd string) bool) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cmd, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if is(string(cmd)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// hangsUp lets programs that the test starts see the end of their terminal, also
// where it runs under nohup.
func hangsUp(t *testing.T) {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(heard) })
}

// How a controller is asked to end, and what is left then.
func TestFault51AskedToEnd(t *testing.T) {
	const flight = "flight\n"
	hangsUp(t)
	for _, tc := range []struct {
		name    string
		signals []syscall.Signal
		release bool   // the step is let go on after the first signal
		stays   string // what the step does against being ended
		want    string // what the hosts have once the controller has ended
		left    bool   // what goes on is named
		alive   bool   // and does go on
		says    string
	}{
		{"once", []syscall.Signal{syscall.SIGINT}, true, "", flight, false, false, "stopping after the current steps"},
		{"twice", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}, false, "", "", false, false, "ending the current steps"},
		{"thrice", []syscall.Signal{syscall.SIGINT, syscall.SIGINT, syscall.SIGINT}, false, "trap '' TERM;", "", true, false, "leaving"},
		{"TERM", []syscall.Signal{syscall.SIGTERM}, false, "", "", false, false, "ending the current steps"},
		{"terminal closed", []syscall.Signal{syscall.SIGHUP}, false, "", "", true, true, "leaving"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			mark := fmt.Sprintf("86%06d%d", os.Getpid()%1000000, len(tc.name))
			script := fmt.Sprintf(`
workflow.define("w"):config({ hosts = "all" }):tasks({
  task("flight"):command(function() return exec.run("%s touch $HOME/begun; if ! test -e $HOME/go; then sleep %s & while kill -0 $! && ! test -e $HOME/go; do sleep 0.02; done; kill -9 $!; fi; echo flight >> $HOME/lines").success end):build(),
  task("after"):command(function() return exec.run("echo after >> $HOME/lines").success end):build(),
})`, tc.stays, mark)
			c := newController(t, 2, script)
			release := func() {
				for _, s := range c.servers {
					if err := os.WriteFile(filepath.Join(s.Home, "go"), nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			cmd, out := c.start(c.apply()...)
			for i := range c.servers {
				c.exists(i, "begun")
			}
			for i, s := range tc.signals {
				if i > 0 { // signals that come at the same instant are one
					time.Sleep(150 * time.Millisecond) //nolint:forbidigo // as fast as people are
				}
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			if tc.release {
				release()
			}
			if code := c.ended(cmd, 20*time.Second); code != exitInterrupted {
				t.Errorf("exit code %d\n%s", code, out)
			}
			if !strings.Contains(out.String(), tc.says) {
				t.Errorf("%q is not in:\n%s", tc.says, out)
			}
			for i := range c.servers {
				if got := c.lines(i); got != tc.want {
					t.Errorf("web-%d has %q, want %q", i+1, got, tc.want)
				}
			}
			if tc.left {
				for _, w := range []string{"what had begun goes on on web-1, web-2", "sloth runs resume"} {
					if !strings.Contains(out.String(), w) {
						t.Errorf("%q is not in:\n%s", w, out)
					}
				}
				if _, show := c.sloth("runs", "show", "last"); !strings.Contains(show, "may still go on on web-1: flight, after") {
					t.Errorf("runs show:\n%s", show)
				}
			}
			if tc.alive && len(sleepers(mark)) == 0 {
				t.Error("the steps were ended")
			}
			if !tc.alive {
				c.await("no process is left", func() bool { return len(sleepers(mark)) == 0 })
			}
			release()
			if code, out := c.sloth("runs", "resume", "last"); code != 0 {
				t.Errorf("resumed: exit code %d\n%s", code, out)
			}
			for i := range c.servers {
				if got := c.lines(i); got != "flight\nafter\n" {
					t.Errorf("web-%d has %q in the end", i+1, got)
				}
			}
		})
	}
}

// A controller that may not open a file for each host says so before it begins.
func TestFault52FewDescriptors(t *testing.T) {
	script := `workflow.define("w"):config({ hosts = "all" }):tasks({ task("t"):command(function() return exec.run("echo x >> $HOME/lines").success end):build() })`
	c := newController(t, 4, script)
	few := func(n int) (int, string) {
		cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, n), c.program)
		cmd.Args = append(cmd.Args, c.apply()...)
		cmd.Dir, cmd.Env = c.dir, c.env
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	code, out := few(30)
	if code != exitUsage || !strings.Contains(out, "4 hosts need up to 56 open files, and this process may have 30") || !strings.Contains(out, "ulimit -n") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if c.lines(0)+c.lines(3) != "" {
		t.Error("something was begun")
	}
	// As many as it asks for do.
	if code, out := few(56); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	for i := range c.servers {
		if c.lines(i) != "x\n" {
			t.Errorf("web-%d has %q", i+1, c.lines(i))
		}
	}
}

// The controller killed at each write of its record, and resumed: every line once.
func TestFault06TheControllerKilledAtEveryWrite(t *testing.T) {
	script, want := appendLines(6)
	c := newController(t, 2, script)
	if code, out := c.sloth("ping", "-i", "hosts.yaml", "-F", "ssh.conf", "all"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	step := 4
	if s := os.Getenv("SLOTH_EVERY_BYTE"); s != "" {
		var err error
		if step, err = strconv.Atoi(s); err != nil || step < 1 {
			t.Fatalf("SLOTH_EVERY_BYTE=%s is no distance", s)
		}
	}
	kills := 0
	for at := 1; at < 24; at += step {
		for _, s := range c.servers {
			if err := os.RemoveAll(filepath.Join(s.Home, "lines")); err != nil {
				t.Fatal(err)
			}
		}
		c.endWorkers() // one whose controller died behind its end waits for a while
		runs := filepath.Join(c.dir, "state/sloth/runs")
		if err := os.RemoveAll(runs); err != nil {
			t.Fatal(err)
		}
		cmd, out := c.start(c.apply()...)
		ctx, stop := context.WithCancel(t.Context())
		watched := make(chan bool, 1)
		go func() {
			last, n := int64(0), at
			for ctx.Err() == nil {
				files, _ := filepath.Glob(filepath.Join(runs, "[0-9]*/record"))
				if len(files) == 0 {
					continue
				}
				if st, err := os.Stat(files[0]); err == nil && st.Size() != last {
					if last, n = st.Size(), n-1; n <= 0 {
						_ = cmd.Process.Kill()
						watched <- true
						return
					}
				}
			}
			watched <- false
		}()
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		late.Stop()
		stop()
		if !<-watched {
			if err != nil {
				t.Fatalf("write %d: %v\n%s", at, err, out)
			}
			continue
		}
		kills++
		if err != nil {
			code, said := c.sloth("runs", "resume", "last")
			if code != 0 && !strings.Contains(said, "ended well") {
				t.Fatalf("write %d: exit code %d\n%s", at, code, said)
			}
		}
		for i := range c.servers {
			if got := c.lines(i); got != want {
				t.Fatalf("write %d: web-%d has %q", at, i+1, got)
			}
		}
	}
	if kills == 0 {
		t.Error("nobody was killed")
	}
}
