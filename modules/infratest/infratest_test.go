package infratest

import (
	"bufio"
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

// host is where assertions are made: a real machine, or a plan over it.
type host struct {
	overlay *machine.Overlay
	logged  []string
}

func (h *host) call(t *testing.T, name string, args map[string]any) error {
	t.Helper()
	m := machine.New()
	env := &bind.Env{Call: modules.Call{Machine: m, Host: "web-01", Log: func(_, message string, _ map[string]any) { h.logged = append(h.logged, message) }}}
	if h.overlay != nil {
		env.Check, env.Viewer, env.Overlay = true, h.overlay, h.overlay
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := bind.CallByName(bind.WithEnv(ctx, env), []modules.Module{Module()}, "infra_test."+name, args)
	return err
}

// holds and fails are the two outcomes; found must be in the message.
func holds(t *testing.T, name string, args map[string]any) {
	t.Helper()
	if err := new(host).call(t, name, args); err != nil {
		t.Errorf("%s %v: %v", name, args, err)
	}
}

func fails(t *testing.T, name string, args map[string]any, parts ...string) {
	t.Helper()
	err := new(host).call(t, name, args)
	for _, p := range append(parts, "infra_test."+name+": expected ", ", found ", " (on web-01)") {
		if err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("%s %v ended with %v, wanted %q in it", name, args, err, p)
		}
	}
}

func needProc(t *testing.T) {
	t.Helper()
	if _, err := machine.New().Stat("/proc/net/tcp"); err != nil {
		t.Skip("there is no /proc here")
	}
}

func TestPorts(t *testing.T) {
	needProc(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s: %v", address, err)
			continue
		}
		n := l.Addr().(*net.TCPAddr).Port
		holds(t, "port_is_listening", map[string]any{"port": int64(n)})
		holds(t, "port_is_tcp", map[string]any{"port": int64(n)})
		holds(t, "can_connect", map[string]any{"host": l.Addr().(*net.TCPAddr).IP.String(), "port": int64(n), "timeout_ms": int64(2000)})
		l.Close()
		fails(t, "port_is_tcp", map[string]any{"port": int64(n)}, "something to listen on port tcp "+strconv.Itoa(n))
		fails(t, "can_connect", map[string]any{"host": "127.0.0.1", "port": int64(n)}, "refused")
	}
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	n := u.LocalAddr().(*net.UDPAddr).Port
	holds(t, "port_is_udp", map[string]any{"port": int64(n)})
	holds(t, "port_is_listening", map[string]any{"port": int64(n)})
	// A client's socket has a port too, and nobody listens there.
	c, err := net.Dial("udp", u.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fails(t, "port_is_udp", map[string]any{"port": int64(c.LocalAddr().(*net.UDPAddr).Port)})
}

func TestTargetAndTimeoutByPosition(t *testing.T) {
	c := &connect{Host: "x", Port: 1, Timeout: "web-01"}
	if err := c.Validate(); err != nil || c.Target != "web-01" || c.timeout != 5*time.Second {
		t.Errorf("%+v, %v", c, err)
	}
	c = &connect{Host: "x", Port: 1, Timeout: "250", Target: "web-01"}
	if err := c.Validate(); err != nil || c.timeout != 250*time.Millisecond {
		t.Errorf("%+v, %v", c, err)
	}
	if err := (&connect{Port: 1, Timeout: "-1"}).Validate(); err == nil {
		t.Error("a negative timeout is taken")
	}
	holds(t, "file_exists", map[string]any{"path": "/", "target": "web-01"})
	err := new(host).call(t, "file_exists", map[string]any{"path": "/", "target": "web-02"})
	if err == nil || !strings.Contains(err.Error(), `infra_test.file_exists: "web-02" is another host, which only tasks of a .sloth file can look at`) {
		t.Error(err)
	}
}

// controller writes down what it is asked for.
type controller struct {
	modulestest.Controller
	asked []modules.Assertion
	err   error
}

func (c *controller) Assert(_ context.Context, a modules.Assertion) error {
	c.asked = append(c.asked, a)
	return c.err
}

// What is asked of another host is what was asked here, but for its name.
func TestElsewhere(t *testing.T) {
	for _, c := range []struct {
		name string
		args map[string]any
		want map[string]any
	}{
		{"is_directory", map[string]any{"path": "/etc"}, map[string]any{"path": "/etc"}},
		{"file_mode", map[string]any{"path": "/etc", "mode": int64(0o755)}, map[string]any{"path": "/etc", "mode": "0755"}},
		{"file_size", map[string]any{"path": "/x", "size": int64(7)}, map[string]any{"path": "/x", "size": int64(7)}},
		{"can_connect", map[string]any{"host": "db", "port": int64(5432)}, map[string]any{"host": "db", "port": int64(5432), "timeout_ms": "5000"}},
		{"ping", map[string]any{"host": "db"}, map[string]any{"host": "db", "count": int64(3)}},
		{"command_output_equals", map[string]any{"cmd": "id", "text": "x"}, map[string]any{"command": "id", "text": "x"}},
		{"service_is_enabled", map[string]any{"name": "ssh"}, map[string]any{"name": "ssh"}},
		{"process_count", map[string]any{"name": "nginx", "count": int64(2)}, map[string]any{"name": "nginx", "count": int64(2)}},
	} {
		ctl := &controller{}
		env := &bind.Env{Call: modules.Call{Machine: machine.New(), Host: "web-01", Services: ctl, NoLog: true}}
		c.args["target"] = "web-02"
		if _, err := bind.CallByName(bind.WithEnv(context.Background(), env), []modules.Module{Module()}, "infra_test."+c.name, c.args); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := modules.Assertion{Host: "web-02", Function: "infra_test." + c.name, Args: c.want, NoLog: true}
		if len(ctl.asked) != 1 || !reflect.DeepEqual(ctl.asked[0], want) {
			t.Errorf("asked was %+v, wanted %+v", ctl.asked, want)
		}
		// The other host understands it.
		env.Call.Services, env.Call.Host = &modulestest.Controller{}, "web-02"
		_, err := bind.CallByName(bind.WithEnv(context.Background(), env), []modules.Module{Module()}, want.Function, want.Args)
		if err != nil && !strings.Contains(err.Error(), "expected ") {
			t.Errorf("%s there: %v", c.name, err)
		}
	}
}

func TestPing(t *testing.T) {
	holds(t, "ping", map[string]any{"host": "127.0.0.1"})
	fails(t, "ping", map[string]any{"host": "no-such-host.invalid", "count": int64(1)}, "no-such-host.invalid")
}

func TestCommands(t *testing.T) {
	holds(t, "command_succeeds", map[string]any{"cmd": "exit 0"})
	holds(t, "command_fails", map[string]any{"cmd": "exit 3"})
	holds(t, "command_stdout_contains", map[string]any{"cmd": "echo hello; exit 1", "text": "ell"})
	holds(t, "command_stderr_is_empty", map[string]any{"cmd": "echo out"})
	holds(t, "command_output_equals", map[string]any{"cmd": "printf 'a\\nb\\n\\n'", "text": "a\nb"})
	fails(t, "command_succeeds", map[string]any{"cmd": "echo no >&2; exit 3"}, "`echo no >&2; exit 3` to succeed", "exit code 3: no")
	fails(t, "command_fails", map[string]any{"cmd": "true"}, "exit code 0")
	fails(t, "command_stdout_contains", map[string]any{"cmd": "echo x; exit 2", "text": "y"}, `"x" and exit code 2`)
	fails(t, "command_stderr_is_empty", map[string]any{"cmd": "echo oops >&2"}, `"oops"`)
	fails(t, "command_output_equals", map[string]any{"cmd": "true", "text": "y"}, "found nothing")
}

// daemon starts a process that is nobody's child, as daemons are.
func daemon(t *testing.T, argv string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "("+argv+" >/dev/null 2>&1 & echo $!)")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("kill", pid).Run() })
}

func TestProcesses(t *testing.T) {
	needProc(t)
	// Two copies of a program under names that nobody else uses.
	dir := t.TempDir()
	for _, name := range []string{"sloth-t-one", "sloth-t-longer-than-a-comm"} {
		if out, err := exec.Command("cp", "/bin/sleep", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	fails(t, "process_is_running", map[string]any{"name": "sloth-t-one"}, `a process "sloth-t-one", found none`)
	daemon(t, filepath.Join(dir, "sloth-t-one")+" 60")
	daemon(t, filepath.Join(dir, "sloth-t-one")+" 61")
	daemon(t, filepath.Join(dir, "sloth-t-longer-than-a-comm")+" 60")
	until(t, func() bool {
		return new(host).call(t, "process_count", map[string]any{"name": "sloth-t-one", "count": int64(2)}) == nil
	})
	holds(t, "process_is_running", map[string]any{"name": "sloth-t-longer-than-a-comm"})
	holds(t, "process_count", map[string]any{"name": "sloth-t-one 61", "count": int64(1)})
	holds(t, "process_count", map[string]any{"name": "sloth-t-longer", "count": int64(0)})
	fails(t, "process_count", map[string]any{"name": "sloth-t-one", "count": int64(3)}, "found 2 (pid ")

	// A child of this process does not count, nor does this process.
	child := exec.Command(filepath.Join(dir, "sloth-t-one"), "62")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	holds(t, "process_count", map[string]any{"name": "sloth-t-one", "count": int64(2)})
	holds(t, "process_count", map[string]any{"name": "infratest.test", "count": int64(0)})
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it did not come to that within 10 s")
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestProcStat(t *testing.T) {
	for line, want := range map[string]proc{
		"1 (init) S 0 1 1 0":       {comm: "init", state: 'S', parent: 0},
		"7 (a) (b c) Z 12 1 1 0":   {comm: "a) (b c", state: 'Z', parent: 12},
		"9 (tmux: server) R 1 9 9": {comm: "tmux: server", state: 'R', parent: 1},
	} {
		if got, ok := parseStat([]byte(line)); !ok || got.comm != want.comm || got.state != want.state || got.parent != want.parent {
			t.Errorf("%q is %+v, %t", line, got, ok)
		}
	}
	for name, p := range map[string]proc{
		"nginx":     {comm: "nginx", args: []string{"nginx: master process /usr/sbin/nginx"}},
		"sshd":      {comm: "sshd", args: []string{"sshd: /usr/sbin/sshd -D"}},
		"gunicorn":  {comm: "python3", args: []string{"/usr/bin/python3", "/usr/bin/gunicorn", "app"}},
		"kworker/0": {comm: "kworker/0", args: []string{"x kworker/0 y"}},
		"bash":      {comm: "bash", args: []string{"-bash"}},
	} {
		if !p.is(name) {
			t.Errorf("%+v is not %q", p, name)
		}
	}
	if (proc{comm: "vim", args: []string{"vim", "/etc/nginx"}}).is("nginx") {
		t.Error("an argument is taken for the program")
	}
}

func TestListener(t *testing.T) {
	for line, want := range map[string]int{
		"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1":    8080,
		"   0: 0100007F:1F90 0100007F:0016 01 00000000:00000000":                                 0, // a connection
		"  sl  local_address rem_address   st tx_queue rx_queue":                                 0,
		"   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0": 80,
		"   0: x:y z 0A": 0,
	} {
		if got, _ := listener(line, "tcp"); got != want {
			t.Errorf("%q listens on %d, wanted %d", line, got, want)
		}
	}
}

func FuzzProc(f *testing.F) {
	f.Add("1 (init) S 0 1", "nginx")
	f.Add("0: 0100007F:1F90 00000000:0000 0A", "a b")
	f.Fuzz(func(t *testing.T, text, name string) {
		if p, ok := parseStat([]byte(text)); ok {
			p.args = strings.Split(text, "\x00")
			p.is(name)
		}
		for _, proto := range []string{"tcp", "udp"} {
			if n, ok := listener(text, proto); ok && (n < 0 || n > 65535) {
				t.Errorf("port %d", n)
			}
		}
		isReply([]byte(text), len(name)%2 == 0, []byte(name))
	})
}

func TestSearchAcrossReads(t *testing.T) {
	text := strings.Repeat("x", 64<<10-3) + "needle" + strings.Repeat("y", 100)
	for _, want := range []string{"needle", "xn", "ey", ""} {
		if found, _, err := search(context.Background(), bufio.NewReaderSize(strings.NewReader(text), 16), []byte(want)); err != nil || !found {
			t.Errorf("%q was not found: %v", want, err)
		}
	}
	if found, read, _ := search(context.Background(), strings.NewReader(text), []byte("needles")); found || read != int64(len(text)) {
		t.Errorf("found %t in %d bytes", found, read)
	}
}

// After a planned change nothing fails, and before one all is as in a real run.
func TestPlan(t *testing.T) {
	h := &host{overlay: machine.NewOverlay(machine.New())}
	if err := h.call(t, "file_exists", map[string]any{"path": "/no/such/file"}); err == nil {
		t.Error("nothing is planned, and a missing file is no failure")
	}
	if err := h.call(t, "command_succeeds", map[string]any{"cmd": "false"}); err != nil {
		t.Errorf("a command was run in a plan: %v", err)
	}
	h.overlay.Note(modules.NotedChange, "fs.write")
	if err := h.call(t, "file_exists", map[string]any{"path": "/no/such/file"}); err != nil {
		t.Error(err)
	}
	want := []string{"not checked: false (commands are not run in a plan)", "not checked: /no/such/file (fs.write is planned before it)"}
	if strings.Join(h.logged, "\n") != strings.Join(want, "\n") {
		t.Errorf("it said %q", h.logged)
	}
}

// A Changer's planned change is what assertions hear of.
func TestPlannedChangeIsNoted(t *testing.T) {
	o := machine.NewOverlay(machine.New())
	env := &bind.Env{Call: modules.Call{Machine: machine.New()}, Check: true, Viewer: o, Overlay: o}
	mod := modules.Module{Name: "x", Funcs: []modules.Func{{Name: "y", New: func() any { return &changes{} }}}}
	if _, err := bind.CallByName(bind.WithEnv(context.Background(), env), []modules.Module{mod}, "x.y", nil); err != nil {
		t.Fatal(err)
	}
	if got := plannedBefore(o); got != "x.y" {
		t.Errorf("noted is %q", got)
	}
}

type changes struct{}

func (*changes) Check(context.Context, facts.Viewer) (modules.Diff, error) {
	return modules.Diff{Changes: []modules.Change{modules.Create("a", "file")}}, nil
}

func (*changes) Apply(context.Context, modules.Machine, modules.Diff) error { return nil }
