package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// controller runs the program as people do, in processes that can be killed.
type controller struct {
	t       *testing.T
	dir     string
	program string
	env     []string
	servers []*sshdtest.Server
}

func newController(t *testing.T, hosts int, script string) *controller {
	t.Helper()
	shim, err := shimProgram()
	if err != nil {
		t.Fatal(err)
	}
	c := &controller{t: t, dir: t.TempDir(), servers: sshdtest.StartAll(t, hosts, sshdtest.Options{})}
	if c.program, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	// testscript's TestMain is the program under its name.
	link := filepath.Join(c.dir, "sloth")
	if err := os.Symlink(c.program, link); err != nil {
		t.Fatal(err)
	}
	c.program = link
	c.env = append(os.Environ(), "HOME="+c.dir, "XDG_STATE_HOME="+filepath.Join(c.dir, "state"), "SLOTH_SHIM="+shim, "NO_COLOR=1", "SSH_AUTH_SOCK=", "SLOTH_INVENTORY=")
	var inv, known bytes.Buffer
	inv.WriteString("web:\n  hosts:\n")
	for i, s := range c.servers {
		fmt.Fprintf(&inv, "    web-%d: {ansible_host: %s, ansible_port: %d, ansible_user: %s}\n", i+1, s.Host, s.Port, s.User)
		line, err := os.ReadFile(s.KnownHosts)
		if err != nil {
			t.Fatal(err)
		}
		known.Write(line)
	}
	var key []byte
	if hosts > 0 {
		if key, err = os.ReadFile(c.servers[0].KeyFile); err != nil {
			t.Fatal(err)
		}
	}
	conf := fmt.Sprintf("IdentityFile %s\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile %s\nGlobalKnownHostsFile /dev/null\n", filepath.Join(c.dir, "key"), filepath.Join(c.dir, "known_hosts"))
	for name, text := range map[string]string{"hosts.yaml": inv.String(), "known_hosts": known.String(), "key": string(key), "ssh.conf": conf, "site.sloth": script} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// start begins a command; its output is in out once it has ended.
func (c *controller) start(args ...string) (cmd *exec.Cmd, out *bytes.Buffer) {
	c.t.Helper()
	cmd, out = exec.Command(c.program, args...), &bytes.Buffer{}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.dir, c.env, out, out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	return cmd, out
}

// sloth runs a command to its end and gives its exit code.
func (c *controller) sloth(args ...string) (int, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.program, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func (c *controller) lines(i int) string {
	b, err := os.ReadFile(filepath.Join(c.servers[i].Home, "lines"))
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	return string(b)
}

func appendLines(n int) (script, want string) {
	var b strings.Builder
	b.WriteString("local tasks = {}\n")
	for i := range n {
		fmt.Fprintf(&b, "tasks[%d] = task(\"t%d\"):command(function() return exec.run(\"sleep 0.01; echo %d >> $HOME/lines\").success end):build()\n", i+1, i, i)
		want += fmt.Sprintln(i)
	}
	b.WriteString("workflow.define(\"lines\"):config({ hosts = \"all\" }):tasks(tasks)\n")
	return b.String(), want
}

// A controller that is killed at any instant is followed by another, and by
// others after that: every step runs once.
func TestFault06AKilledControllerIsResumed(t *testing.T) {
	sshdtest.Start(t, sshdtest.Options{}) // skips where there is no sshd
	script, want := appendLines(20)
	c := newController(t, 3, script)
	if code, out := c.sloth("ping", "-i", "hosts.yaml", "-F", "ssh.conf", "all"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	rounds := 4
	if s := os.Getenv("SLOTH_STORMS"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	for round := range rounds {
		for _, s := range c.servers {
			if err := os.RemoveAll(filepath.Join(s.Home, "lines")); err != nil {
				t.Fatal(err)
			}
		}
		_, before := c.sloth("runs", "list", "-n", "1")
		rng := rand.New(rand.NewPCG(uint64(round), 1)) //nolint:gosec // the same at every run
		args := []string{"apply", "-i", "hosts.yaml", "-F", "ssh.conf", "site.sloth"}
		ended := false
		var said *bytes.Buffer
		for try := 0; try < 15 && !ended; try++ {
			cmd, out := c.start(args...)
			said = out
			after := time.Duration(30+rng.IntN(300+200*try)) * time.Millisecond
			if try >= 12 {
				after = time.Minute // a busy machine gets nowhere otherwise
			}
			kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			kill.Stop()
			var exit *exec.ExitError
			switch {
			case err == nil:
				ended = true
			case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled():
				_, list := c.sloth("runs", "list", "-n", "1")
				switch {
				case list == before: // it was killed before its beginning
				case strings.Contains(list, "interrupted"):
					args = []string{"runs", "resume", "last"}
				default: // behind its end
					ended = true
				}
			default:
				t.Fatalf("round %d: %v\n%s", round, err, out)
			}
		}
		if !ended {
			_, list := c.sloth("runs", "list")
			t.Fatalf("round %d never came to an end: %v\n%s\n%s", round, args, said, list)
		}
		for i := range c.servers {
			if got := c.lines(i); got != want {
				t.Fatalf("round %d: web-%d has %q", round, i+1, got)
			}
		}
	}
	if code, out := c.sloth("runs", "resume", "last"); code != 1 || !strings.Contains(out, "ended well") {
		t.Errorf("a run that ended was resumed: %d\n%s", code, out)
	}
}

// A step of the controller itself that was under way is unknown afterwards, and
// runs again only when that is asked for.
func TestAStepOfTheControllerMayBeUnknown(t *testing.T) {
	script := `
workflow.define("here"):tasks({
  task("done"):command(function() return exec.run("echo done >> lines").success end):build(),
  task("flight"):command(function() return exec.run("echo flight >> lines; test -e go || sleep 60").success end):build(),
})`
	c := newController(t, 0, script)
	cmd, _ := c.start("run", "-f", "site.sloth")
	text := func() string { b, _ := os.ReadFile(filepath.Join(c.dir, "lines")); return string(b) }
	for end := time.Now().Add(20 * time.Second); text() != "done\nflight\n"; time.Sleep(5 * time.Millisecond) { //nolint:forbidigo // polls
		if time.Now().After(end) {
			t.Fatalf("lines: %q", text())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	code, out := c.sloth("runs", "resume", "last")
	if code != 7 || !strings.Contains(out, "the controller ended while this step ran on it") || text() != "done\nflight\n" {
		t.Fatalf("exit code %d, %q\n%s", code, text(), out)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out = c.sloth("runs", "resume", "last", "--rerun-unknown"); code != 0 || text() != "done\nflight\nflight\n" {
		t.Fatalf("exit code %d, %q\n%s", code, text(), out)
	}
	if _, out = c.sloth("runs", "show", "last"); !strings.Contains(out, "resumed") || !strings.Contains(out, "success") {
		t.Errorf("runs show:\n%s", out)
	}
}
