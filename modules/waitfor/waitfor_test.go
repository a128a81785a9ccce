package waitfor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/spec"
)

type m = map[string]any

var number = regexp.MustCompile(`at look \d+`)

func call(t *testing.T, c modules.Call, function string, args ...any) (m, error) {
	t.Helper()
	c.Machine = machine.New()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ctx = modules.WithCall(ctx, c)
	for _, f := range Module().Funcs {
		if f.Name != function {
			continue
		}
		filled, err := spec.Parse(f, args, "/")
		if err != nil {
			return nil, err
		}
		out, err := filled.(modules.Tool).Run(ctx, modules.CallOf(ctx))
		if err != nil {
			return nil, err
		}
		return out[0].(m), nil
	}
	t.Fatalf("there is no %s", function)
	return nil, nil
}

// listen is a server that says a text to everybody.
func listen(t *testing.T, says string) (port int, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(says))
			c.Close()
		}
	}()
	var once atomic.Bool
	stop = func() {
		if once.CompareAndSwap(false, true) {
			l.Close()
			<-done
		}
	}
	t.Cleanup(stop)
	return l.Addr().(*net.TCPAddr).Port, stop
}

func TestWhatIsReadyAtOnce(t *testing.T) {
	port, _ := listen(t, "220 mail ESMTP ready\r\n")
	file := filepath.Join(t.TempDir(), "app.log")
	if err := os.WriteFile(file, []byte("starting\nlistening on 8080\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	yes := modules.Callback(func(context.Context, ...any) ([]any, error) { return []any{"v"}, nil })
	nothing := modules.Callback(func(context.Context, ...any) ([]any, error) { return nil, nil })
	for _, c := range []struct {
		function string
		args     []any
		seen     string
	}{
		{"condition", []any{m{"port": int64(port)}}, "it is open"},
		{"port", []any{int64(port)}, "it is open"},
		{"port", []any{int64(port), "localhost", m{"search_regex": "^220 (\\w+)"}}, `it said "220 mail ESMTP ready"`},
		{"condition", []any{m{"path": file}}, "it exists"},
		{"file", []any{file, m{"search_regex": "^listening on (\\d+)$"}}, `it holds "listening on 8080"`},
		{"file", []any{file + ".pid", m{"state": "absent"}}, "it does not exist"},
		{"command", []any{"echo PONG", "PONG"}, "it succeeded"},
		{"condition", []any{m{"command": "echo PONG", "check": "PONG"}}, "it succeeded"},
		{"command", []any{"echo v1.2", m{"search_regex": `v(\d)`}}, "it succeeded"},
		{"check", []any{yes}, "it returned a value"},
		{"condition", []any{m{"until": nothing}}, "it returned"},
	} {
		out, err := call(t, modules.Call{}, c.function, c.args...)
		if err != nil || out["seen"] != c.seen || out["success"] != true || out["changed"] != false || out["attempts"] != int64(1) {
			t.Errorf("%s(%v): %v, %v", c.function, c.args, out, err)
		}
	}
	out, err := call(t, modules.Call{}, "file", file, m{"search_regex": "on (\\d+)"})
	if err != nil || out["match"] != "on 8080" || out["groups"].([]any)[0] != "8080" {
		t.Errorf("match and groups: %v, %v", out, err)
	}
	if out, err = call(t, modules.Call{}, "check", yes); err != nil || out["value"] != "v" {
		t.Errorf("value: %v, %v", out, err)
	}
}

func TestWhatBecomesReady(t *testing.T) {
	dir := t.TempDir()
	counter := filepath.Join(dir, "n")
	quick := m{"interval": 0.02}
	third := "echo x >> " + counter + "; test $(wc -l < " + counter + ") -ge 3"
	out, err := call(t, modules.Call{}, "command", third, quick)
	if err != nil || out["attempts"] != int64(3) {
		t.Errorf("a command: %v, %v", out, err)
	}
	looks := 0
	flaky := modules.Callback(func(context.Context, ...any) ([]any, error) {
		switch looks++; looks {
		case 1:
			return nil, errors.New("not there")
		case 2:
			return []any{nil}, nil
		case 3:
			return []any{false, "soon"}, nil
		case 4:
			return []any{m{"success": false, "error": "no"}}, nil
		}
		return []any{true}, nil
	})
	if out, err = call(t, modules.Call{}, "check", flaky, quick); err != nil || out["attempts"] != int64(5) {
		t.Errorf("a function: %v, %v", out, err)
	}
	port, stop := listen(t, "")
	closing := make(chan error, 1)
	go func() {
		_, err := call(t, modules.Call{}, "port", int64(port), m{"state": "stopped", "interval": 0.02})
		closing <- err
	}()
	stop()
	if err := <-closing; err != nil {
		t.Errorf("a port that closes: %v", err)
	}
}

func TestDeadlineSaysWhatWasSeen(t *testing.T) {
	port, stop := listen(t, "hello\n")
	file := filepath.Join(t.TempDir(), "app.log")
	if err := os.WriteFile(file, []byte("starting\nlast words\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	raises := modules.Callback(func(context.Context, ...any) ([]any, error) { return nil, errors.New("site.sloth:3: no") })
	hangs := modules.Callback(func(ctx context.Context, _ ...any) ([]any, error) { <-ctx.Done(); return nil, ctx.Err() })
	for _, c := range []struct {
		function, want string
		args           []any
	}{
		{"port", `port ` + address + ` to close; last seen, at look N: it is open`, []any{int64(port), m{"state": "stopped"}}},
		{"port", `port ` + address + ` to say "^220"; last seen, at look N: it said "hello"`, []any{int64(port), m{"search_regex": "^220"}}},
		{"file", file + ` to go away; last seen, at look N: it exists`, []any{file, m{"state": "absent"}}},
		{"file", file + ` to hold "ready"; last seen, at look N: its last line is "last words"`, []any{file, m{"search_regex": "ready"}}},
		{"file", file + `.x; last seen, at look N: it does not exist`, []any{file + ".x"}},
		{"command", `"echo no >&2; exit 3" to succeed; last seen, at look N: exit code 3: no`, []any{"echo no >&2; exit 3"}},
		{"command", `"echo PING" to print "PONG"; last seen, at look N: it succeeded and printed "PING"`, []any{"echo PING", "PONG"}},
		{"command", `"echo so far; sleep 9" to succeed; last seen, at look N: it still runs and printed "so far"`, []any{"echo so far; sleep 9"}},
		{"check", `the function; last seen, at look N: site.sloth:3: no`, []any{raises}},
		{"check", `the function; last seen, at look N: it still runs`, []any{hangs}},
	} {
		args := append([]any{}, c.args...)
		options := m{"timeout": 0.2, "interval": 0.05}
		if o, ok := args[len(args)-1].(m); ok {
			for k, v := range o {
				options[k] = v
			}
			args = args[:len(args)-1]
		}
		_, err := call(t, modules.Call{}, c.function, append(args, options)...)
		if err == nil || number.ReplaceAllString(err.Error(), "at look N") != "waited 200ms for "+c.want {
			t.Errorf("%s:\n got %v\nwant waited 200ms for %s", c.function, err, c.want)
		}
	}
	stop()
	_, err := call(t, modules.Call{}, "condition", m{"port": int64(port), "timeout": 0.1, "interval": 0.02, "msg": "the mail server does not start"})
	if err == nil || !strings.HasPrefix(err.Error(), "the mail server does not start: waited 100ms for port "+address+"; last seen, at look ") || !strings.HasSuffix(err.Error(), "connection refused") {
		t.Errorf("with msg: %v", err)
	}
	_, err = call(t, modules.Call{NoLog: true}, "command", "echo s3cret; exit 1", m{"timeout": 0.1, "interval": 0.02})
	if err == nil || strings.Contains(err.Error(), `printed`) || !strings.HasSuffix(err.Error(), "not shown, because of no_log") {
		t.Errorf("with no_log: %v", err)
	}
}

func TestPlanDoesNotWait(t *testing.T) {
	var lines []string
	c := modules.Call{Plan: true, Log: func(_, line string, _ map[string]any) { lines = append(lines, line) }}
	out, err := call(t, c, "command", "touch /nonexistent/x")
	if err != nil || out["planned"] != true || out["changed"] != false || len(lines) != 1 || lines[0] != `not waited for: "touch /nonexistent/x" to succeed` {
		t.Errorf("got %v, %v, %q", out, err, lines)
	}
}

func TestProgressIsSaid(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	said, lines := time.Now().Add(20*time.Millisecond-progress), 0
	if err := pause(ctx, 100*time.Millisecond, &said, func() { lines++ }); err != nil || lines != 1 {
		t.Errorf("%d lines, %v", lines, err)
	}
}

func TestTheTasksOwnEnd(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	gone := errors.New("the run was cancelled")
	fn := modules.Callback(func(context.Context, ...any) ([]any, error) { cancel(gone); return []any{false}, nil })
	filled := &onCheck{Fn: fn, patience: patience{Timeout: time.Minute, Interval: time.Second}}
	if _, err := filled.Run(ctx, modules.CallOf(ctx)); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
}

func TestArguments(t *testing.T) {
	fn := modules.Callback(func(context.Context, ...any) ([]any, error) { return nil, nil })
	for _, c := range []struct {
		function string
		args     m
		want     string
	}{
		{"condition", m{}, "it says nothing to wait for: give port, path, command or check"},
		{"condition", m{"port": int64(80), "path": "/x"}, "give one of port, path, command and check, and call it once for each"},
		{"condition", m{"check": "ready"}, "check = a text is what a command prints: say which command"},
		{"condition", m{"check": int64(3)}, "check must be a function, or with command the text that it prints"},
		{"condition", m{"check": "x", "port": int64(80)}, "check = a text is what a command prints, and there is none"},
		{"condition", m{"host": "db", "path": "/x"}, "host belongs to port"},
		{"condition", m{"command": "true", "state": "stopped"}, "state belongs to port and path"},
		{"condition", m{"check": fn, "search_regex": "x"}, "search_regex belongs to port, path and command"},
		{"condition", m{"prot": int64(80)}, `unknown argument "prot"; did you mean "port"?`},
		{"condition", m{"port": int64(80), "state": "open"}, `state = "open": it must be one of started, present, stopped, absent, drained`},
		{"port", m{"port": int64(70000)}, "port 70000 is not between 1 and 65535"},
		{"port", m{"port": int64(80), "search_regex": "("}, "search_regex: error parsing regexp: missing closing ): `(`"},
		{"port", m{"port": int64(80), "search_regex": "x", "state": "stopped"}, "search_regex belongs to a port that is started"},
		{"port", m{"port": int64(80), "timeout": int64(0)}, "timeout: it must be above 0"},
		{"port", m{"port": int64(80), "timeout": int64(5), "delay": int64(5)}, "delay = 5s leaves no time to look: timeout is 5s"},
		{"condition", m{"path": "/x", "state": "drained"}, "drained is a state of ports"},
		{"file", m{"path": "/x", "state": "absent", "search_regex": "x"}, "search_regex belongs to a file that is present"},
		{"command", m{"command": " "}, "command is empty"},
		{"check", m{}, "fn is missing: the function; an error counts as not yet"},
	} {
		if _, err := call(t, modules.Call{}, c.function, c.args); err == nil || err.Error() != c.want {
			t.Errorf("%s(%v):\n got %v\nwant %s", c.function, c.args, err, c.want)
		}
	}
}

func TestDrained(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:1F90 00000000:0000 0A 0:0
   1: 0100007F:1F90 0100007F:9C40 01 0:0
   2: 0200007F:1F90 0100007F:9C41 08 0:0
   3: 0100007F:1F90 0100007F:9C42 06 0:0
   4: 0100007F:1F91 0100007F:9C43 01 0:0
   5: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:9C44 01 0:0
`
	if n := connections(strings.NewReader(table), 8080, nil); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
	if n := connections(strings.NewReader(table), 8080, []netip.Addr{netip.MustParseAddr("127.0.0.1")}); n != 2 {
		t.Errorf("%d connections to 127.0.0.1, want 2", n)
	}
	out, err := call(t, modules.Call{}, "port", int64(1), m{"state": "drained"})
	if err != nil || out["seen"] != "0 connections" {
		t.Errorf("a port that nobody uses: %v, %v", out, err)
	}
}
