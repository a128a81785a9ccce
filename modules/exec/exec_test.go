package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/spec"
)

// files is a controller that serves one folder.
type files struct {
	modules.Services
	dir string
}

func (f files) File(_ context.Context, src string) (modules.File, error) {
	file, err := os.Open(filepath.Join(f.dir, src))
	if err != nil {
		return modules.File{}, err
	}
	return modules.File{ReadCloser: file}, nil
}

func surround(t *testing.T) modules.Call {
	return modules.Call{
		Machine: machine.New(), Workdir: t.TempDir(), Services: files{dir: t.TempDir()},
		Output: func(string, []byte) {}, Log: func(string, string, map[string]any) {},
	}
}

func filled(t *testing.T, function string, c modules.Call, args ...any) modules.Tool {
	t.Helper()
	for _, f := range Module().Funcs {
		if f.Name == function {
			tool, err := spec.Parse(f, args, c.Workdir)
			if err != nil {
				t.Fatal(err)
			}
			return tool.(modules.Tool)
		}
	}
	t.Fatalf("there is no %s", function)
	return nil
}

func call(t *testing.T, function string, c modules.Call, args ...any) map[string]any {
	t.Helper()
	out, err := filled(t, function, c, args...).Run(context.Background(), c)
	if err != nil {
		t.Fatalf("%s raised: %v", function, err)
	}
	return out[0].(map[string]any)
}

func TestRun(t *testing.T) {
	t.Setenv("INHERITED", "yes")
	c := surround(t)
	c.Env = []string{"TASK=task", "BOTH=task"}
	if err := os.WriteFile(filepath.Join(c.Workdir, "there"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	for _, tt := range []struct {
		name string
		args []any
		want map[string]any // keys that must be so
	}{
		{"plain", []any{"echo out; echo err >&2"}, map[string]any{"stdout": "out\n", "stderr": "err\n", "exit_code": 0, "success": true, "changed": true, "error": nil}},
		{"named", []any{map[string]any{"cmd": "echo a"}}, map[string]any{"stdout": "a\n"}},
		{"failing", []any{"echo one >&2; echo 'no such thing' >&2; exit 3"}, map[string]any{"exit_code": 3, "success": false, "changed": true, "error": "exit code 3: no such thing"}},
		{"silent failure", []any{"exit 4"}, map[string]any{"exit_code": 4, "error": "exit code 4"}},
		{"not found", []any{"nosuchprogram-xyz"}, map[string]any{"exit_code": 127, "success": false}},
		{"killed", []any{"kill -SEGV $$"}, map[string]any{"exit_code": 139, "error": "killed by SIGSEGV"}},
		{"argv", []any{map[string]any{"argv": []any{"printf", "%s|", "a b", "$HOME"}}}, map[string]any{"stdout": "a b|$HOME|"}},
		{"argv not found", []any{map[string]any{"argv": []any{"nosuchprogram-xyz"}}}, map[string]any{"exit_code": 127, "success": false, "changed": false}},
		{"environment", []any{"echo $INHERITED $TASK $BOTH $OWN", map[string]any{"env": map[string]any{"OWN": "own", "BOTH": "own"}}}, map[string]any{"stdout": "yes task own own\n"}},
		{"bad environment", []any{"true", map[string]any{"env": map[string]any{"A=B": "x"}}}, map[string]any{"success": false, "error": `env: "A=B" cannot be a variable`}},
		{"task's workdir", []any{"pwd"}, map[string]any{"stdout": c.Workdir + "\n"}},
		{"own workdir", []any{"pwd", map[string]any{"workdir": other}}, map[string]any{"stdout": other + "\n"}},
		{"missing workdir", []any{"pwd", map[string]any{"workdir": "gone"}}, map[string]any{"success": false, "exit_code": 127, "error": "workdir " + c.Workdir + "/gone: no such file or directory"}},
		{"file as workdir", []any{"pwd", map[string]any{"workdir": "there"}}, map[string]any{"success": false, "error": "workdir " + c.Workdir + "/there: it is no folder"}},
		{"stdin", []any{"cat", map[string]any{"stdin": "a\x00b"}}, map[string]any{"stdout": "a\x00b"}},
		{"secret stdin", []any{"cat", map[string]any{"stdin": modules.NewSecret("s3cret")}}, map[string]any{"stdout": "s3cret"}},
		{"no stdin", []any{"cat"}, map[string]any{"stdout": "", "success": true}},
		{"shell", []any{"echo $0", map[string]any{"shell": "/bin/bash"}}, map[string]any{"stdout": "/bin/bash\n"}},
		{"no such shell", []any{"true", map[string]any{"shell": "/no/shell"}}, map[string]any{"success": false, "exit_code": 127}},
		{"creates", []any{"echo ran", map[string]any{"creates": "there"}}, map[string]any{"stdout": "", "changed": false, "success": true, "skipped": c.Workdir + "/there exists"}},
		{"creates later", []any{"echo ran", map[string]any{"creates": "later"}}, map[string]any{"stdout": "ran\n", "changed": true, "skipped": nil}},
		{"removes", []any{"echo ran", map[string]any{"removes": "later"}}, map[string]any{"stdout": "", "changed": false, "skipped": c.Workdir + "/later does not exist"}},
		{"unless", []any{"echo ran", map[string]any{"unless": "test -e there"}}, map[string]any{"stdout": "", "changed": false, "skipped": "unless succeeded: test -e there"}},
		{"unless not", []any{"echo ran", map[string]any{"unless": "test -e later"}}, map[string]any{"stdout": "ran\n", "changed": true}},
		{"only_if", []any{"echo ran", map[string]any{"only_if": "test -e later"}}, map[string]any{"stdout": "", "changed": false, "skipped": "only_if failed: test -e later"}},
		{"only_if so", []any{"echo ran", map[string]any{"only_if": "test -e there"}}, map[string]any{"stdout": "ran\n", "changed": true}},
		{"check_safe", []any{"echo x", map[string]any{"check_safe": true}}, map[string]any{"stdout": "x\n", "changed": false}},
		{"unknown user", []any{"true", map[string]any{"user": "nosuchuser"}}, map[string]any{"success": false, "error": "run /bin/sh as nosuchuser: there is no such user"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := call(t, "run", c, tt.args...)
			for k, want := range tt.want {
				if !reflect.DeepEqual(got[k], want) {
					t.Errorf("%s is %#v, want %#v (%v)", k, got[k], want, got["error"])
				}
			}
			if d, ok := got["duration"].(float64); !ok || d < 0 {
				t.Errorf("duration is %v", got["duration"])
			}
		})
	}
}

func TestFault37BinaryOutputIsExact(t *testing.T) {
	c := surround(t)
	want := make([]byte, 0, 1<<16)
	for i := range 1 << 16 {
		want = append(want, byte(i), byte(i>>8))
	}
	if err := os.WriteFile(filepath.Join(c.Workdir, "data"), want, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := call(t, "run", c, "cat data"); got["stdout"] != string(want) {
		t.Error("bytes were changed")
	}
}

func TestFault36FloodIsCapped(t *testing.T) {
	c := surround(t)
	var seen int64
	var mu sync.Mutex
	c.Output = func(_ string, data []byte) {
		mu.Lock()
		defer mu.Unlock()
		seen += int64(len(data))
	}
	const flood = 64 << 20
	got := call(t, "run", c, fmt.Sprintf("head -c %d /dev/zero; printf end", flood))
	text := got["stdout"].(string)
	if len(text) > 20<<20 || got["truncated"] != true || !strings.Contains(text, "bytes left out") || !strings.HasSuffix(text, "end") {
		t.Errorf("%d bytes kept, truncated %v", len(text), got["truncated"])
	}
	mu.Lock()
	defer mu.Unlock()
	if seen != flood+3 {
		t.Errorf("%d bytes were streamed", seen)
	}
}

func TestOutputStreamsWhileRunning(t *testing.T) {
	c := surround(t)
	fifo := filepath.Join(c.Workdir, "go")
	// The command waits for an answer to its first line, so this ends only if
	// the line arrives before the command does.
	var once sync.Once
	answered := make(chan error, 1)
	c.Output = func(stream string, data []byte) {
		if stream == "stdout" && bytes.Contains(data, []byte("first")) {
			once.Do(func() { answered <- os.WriteFile(fifo, []byte("x"), 0o600) })
		}
	}
	got := call(t, "run", c, "mkfifo go; echo first; cat go", map[string]any{"timeout": "20s"})
	if got["stdout"] != "first\nx" {
		t.Errorf("got %q: %v", got["stdout"], got["error"])
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// gone waits until no process with the pid in file runs.
func gone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(text)) {
		for end := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("process %s lives on", pid)
			}
		}
	}
}

func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestFault55TimeoutKillsTheGroup(t *testing.T) {
	c := surround(t)
	start := time.Now()
	got := call(t, "run", c, "trap '' TERM; echo before; sleep 1000 & echo $! $$ >pids; wait; sleep 1000", map[string]any{"timeout": 0.3})
	if got["success"] != false || got["timed_out"] != true || got["stdout"] != "before\n" ||
		got["error"] != "timed out after 300ms; it was killed with everything it started" {
		t.Errorf("got %v", got)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
	gone(t, filepath.Join(c.Workdir, "pids"))
}

func TestEndOfTheTaskRaises(t *testing.T) {
	c := surround(t)
	why := errors.New("the task timed out")
	ctx, cancel := context.WithCancelCause(context.Background())
	c.Output = func(string, []byte) { cancel(why) }
	_, err := filled(t, "run", c, "echo $$ >pids; echo x; sleep 1000").Run(ctx, c)
	if !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	gone(t, filepath.Join(c.Workdir, "pids"))
}

func TestFault54DaemonKeepingStdoutDoesNotHoldUs(t *testing.T) {
	c := surround(t)
	start := time.Now()
	got := call(t, "run", c, "setsid sleep 1000 & echo $! >pid; echo started")
	if got["stdout"] != "started\n" || got["success"] != true {
		t.Errorf("got %v", got)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %s", d)
	}
	text, err := os.ReadFile(filepath.Join(c.Workdir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !alive(strconv.Itoa(pid)) {
		t.Error("the daemon did not survive")
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
}

func TestAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("SLOTH_MUST_RUN") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	c := surround(t)
	c.Workdir = "/"
	got := call(t, "run", c, "id -un; echo $HOME; id -Gn", map[string]any{"user": "nobody"})
	if got["stdout"] != "nobody\n/nonexistent\nnogroup\n" {
		t.Errorf("got %q, %v", got["stdout"], got["error"])
	}
	dir := t.TempDir()
	c.Services = files{dir: dir}
	if err := os.WriteFile(filepath.Join(dir, "s.sh"), []byte("#!/bin/sh\nid -un; stat -c %U:%a \"$0\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got = call(t, "script", c, "s.sh", map[string]any{"user": "nobody"})
	if got["stdout"] != "nobody\nnobody:700\n" {
		t.Errorf("got %q, %v", got["stdout"], got["error"])
	}
}

// oomMachine is a host whose kernel kills the command for want of memory.
type oomMachine struct {
	modules.Machine
	kills *int
}

func (m oomMachine) Open(name string) (io.ReadCloser, error) {
	switch name {
	case "/proc/self/cgroup":
		return io.NopCloser(strings.NewReader("0::/user.slice/x\n")), nil
	case "/sys/fs/cgroup/user.slice/x/memory.events":
		*m.kills++
		return io.NopCloser(strings.NewReader(fmt.Sprintf("low 0\noom %d\noom_kill %d\n", *m.kills, *m.kills))), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func TestFault53OOMKillIsReported(t *testing.T) {
	c := surround(t)
	c.Machine = oomMachine{Machine: c.Machine, kills: new(int)}
	if got := call(t, "run", c, "kill -KILL $$"); got["error"] != "killed by the kernel because memory ran out (OOM)" || got["exit_code"] != 137 {
		t.Errorf("got %v", got)
	}
	if got := call(t, "run", c, "exit 3"); got["error"] != "exit code 3" {
		t.Errorf("got %v", got)
	}
	if got := call(t, "run", surround(t), "kill -KILL $$"); got["error"] != "killed by SIGKILL" {
		t.Errorf("got %v", got)
	}
}

func TestScript(t *testing.T) {
	c := surround(t)
	dir := t.TempDir()
	c.Services = files{dir: dir}
	for name, text := range map[string]string{
		"scripts/a.sh": "#!/bin/sh\necho \"$0\" \"$@\"; pwd; cat\n",
		"plain":        "echo plain $1\n",
		"flags.sh":     "#!/bin/sh -e\nfalse\necho not reached\n",
		"missing":      "#!/no/such/interpreter\n",
		"fails.sh":     "echo bad >&2; exit 9\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", t.TempDir())
	got := call(t, "script", c, "scripts/a.sh", map[string]any{"args": []any{"x y", "z"}, "stdin": "in"})
	lines := strings.Split(got["stdout"].(string), "\n")
	if len(lines) != 3 || !strings.HasSuffix(lines[0], "/a.sh x y z") || lines[1] != c.Workdir || lines[2] != "in" || got["changed"] != true {
		t.Errorf("got %q, %v", got["stdout"], got["error"])
	}
	for _, tt := range []struct {
		name string
		args map[string]any
		key  string
		want any
	}{
		{"plain", map[string]any{"args": []any{"1"}}, "stdout", "plain 1\n"},
		{"flags.sh", nil, "exit_code", 1},
		{"missing", nil, "exit_code", 127},
		{"fails.sh", nil, "error", "exit code 9: bad"},
		{"plain", map[string]any{"creates": dir}, "skipped", dir + " exists"},
		{"nothere", nil, "success", false},
		{"plain", map[string]any{"shell": "/bin/sh -x"}, "stderr", "+ echo plain\n"},
	} {
		if got := call(t, "script", c, tt.name, tt.args); !reflect.DeepEqual(got[tt.key], tt.want) {
			t.Errorf("%s: %s is %#v, want %#v (%v)", tt.name, tt.key, got[tt.key], tt.want, got["error"])
		}
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestPlan(t *testing.T) {
	c := surround(t)
	ctx := modules.WithCall(context.Background(), c)
	for _, tt := range []struct {
		args map[string]any
		safe bool
		skip string
	}{
		{map[string]any{"cmd": "x"}, false, ""},
		{map[string]any{"cmd": "x", "check_safe": true}, true, ""},
		{map[string]any{"cmd": "x", "creates": "/"}, false, "/ exists"},
		{map[string]any{"cmd": "x", "only_if": "exit 1\nmore"}, false, "only_if failed: exit 1 …"},
	} {
		tool := filled(t, "run", c, tt.args)
		reason, skip, err := tool.(modules.Skipper).Skip(ctx, c.Machine)
		if tool.PlanSafe() != tt.safe || reason != tt.skip || skip != (tt.skip != "") || err != nil {
			t.Errorf("%v: %v %q %v %v", tt.args, tool.PlanSafe(), reason, skip, err)
		}
	}
	if got := fmt.Sprint(filled(t, "run", c, "echo a\necho b\n")); got != "echo a …" {
		t.Errorf("it calls itself %q", got)
	}
}

func TestWrongArguments(t *testing.T) {
	for _, tt := range []struct {
		args []any
		want string
	}{
		{nil, "cmd is missing: say which command to run"},
		{[]any{map[string]any{"cmd": "a", "argv": []any{"b"}}}, "give cmd or argv, not both"},
		{[]any{map[string]any{"cmd": "a", "timout": 3}}, `unknown argument "timout"; did you mean "timeout"?`},
	} {
		if _, err := spec.Parse(Module().Funcs[0], tt.args, ""); err == nil || err.Error() != tt.want {
			t.Errorf("%v: got %v, want %s", tt.args, err, tt.want)
		}
	}
}
