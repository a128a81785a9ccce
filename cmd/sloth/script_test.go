package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

var update = flag.Bool("update", false, "rewrite what the scripts compare with")

// built is the folder of what was built for this run of the tests.
var built string

// suite removes what its tests built.
type suite struct{ *testing.M }

func (s suite) Run() int {
	code := s.M.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"sloth": main})
}

// shimProgram builds the worker from this source tree: what is embedded may be
// of another. Where nothing can be built SLOTH_SHIM names one.
var shimProgram = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("SLOTH_SHIM"); given != "" {
		return filepath.Abs(given)
	}
	dir, err := os.MkdirTemp("", "sloth-script-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "sloth-shim")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, "../sloth-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the shim: %w\n%s", err, out)
	}
	return path, nil
})

// TestScript runs the whole program on hosts that need no SSH.
func TestScript(t *testing.T) { runScripts(t, "testdata/script") }

// TestSSH runs the whole program against real SSH servers.
func TestSSH(t *testing.T) {
	sshdtest.Start(t, sshdtest.Options{}) // skips where there is no sshd
	runScripts(t, "testdata/ssh")
}

// TestSpec runs the programs of the specification as they are.
func TestSpec(t *testing.T) {
	if os.Getenv("SLOTH_SPEC") == "" {
		sshdtest.MustSkip(t, "SLOTH_SPEC names no folder with the specification's examples")
	}
	runScripts(t, "testdata/spec")
}

func runScripts(t *testing.T, dir string) {
	shim, err := shimProgram()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			for k, v := range map[string]string{
				"HOME": home, "XDG_STATE_HOME": filepath.Join(e.WorkDir, "state"), "SLOTH_SHIM": shim,
				"SLOTH_SPEC": os.Getenv("SLOTH_SPEC"), "SLOTH_INVENTORY": "", "NO_COLOR": "1", "SSH_AUTH_SOCK": "",
			} {
				e.Setenv(k, v)
			}
			return os.MkdirAll(home, 0o700)
		},
		Condition: func(cond string) (bool, error) {
			// Where nothing may be skipped, what is not there fails later.
			must := os.Getenv("SLOTH_MUST_RUN") == "1"
			if tool, ok := strings.CutPrefix(cond, "has:"); ok {
				_, err := exec.LookPath(tool)
				return err == nil || must, nil
			}
			if path, ok := strings.CutPrefix(cond, "free:"); ok {
				return free(path) || must, nil
			}
			return false, fmt.Errorf("there is no condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "json": jsonKeys, "matches": matches, "sub": sub, "scratch": scratch, "servers": servers, "halt": halt,
		},
	})
}

// code N COMMAND… runs a command that must exit with N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command [args…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// json PATH[=VALUE]… demands that stdout is exactly one JSON document in which
// each dotted path exists and, where one is given, has the value.
func jsonKeys(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stdout")
	dec := json.NewDecoder(strings.NewReader(text))
	var doc any
	if err := dec.Decode(&doc); err != nil {
		ts.Fatalf("stdout is no JSON: %v\n%s", err, text)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		ts.Fatalf("stdout is more than one JSON document:\n%s", text)
	}
	for _, a := range args {
		path, want, compare := strings.Cut(a, "=")
		got, ok := lookup(doc, strings.Split(path, "."))
		if ok == neg {
			ts.Fatalf("%s: found %v, in\n%s", path, ok, text)
		}
		if compare {
			b, err := json.Marshal(got)
			ts.Check(err)
			if s := strings.Trim(string(b), `"`); s != want {
				ts.Fatalf("%s is %s, want %s", path, s, want)
			}
		}
	}
}

func lookup(v any, path []string) (any, bool) {
	for _, p := range path {
		switch x := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = x[p]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(p)
			if err != nil || i >= len(x) {
				return nil, false
			}
			v = x[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// matches N FILE TEXT demands that FILE has exactly N lines with TEXT.
func matches(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: matches N file text")
	}
	n := 0
	text := ts.ReadFile(args[1])
	for line := range strings.Lines(text) {
		if strings.Contains(line, args[2]) {
			n++
		}
	}
	if strconv.Itoa(n) != args[0] {
		ts.Fatalf("%d lines have %q, want %s:\n%s", n, args[2], args[0], text)
	}
}

// sub OLD NEW FILE replaces text in a file that has it.
func sub(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: sub old new file")
	}
	text := ts.ReadFile(args[2])
	if !strings.Contains(text, args[0]) {
		ts.Fatalf("%s has no %q", args[2], args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.ReplaceAll(text, args[0], args[1])), 0o600))
}

// servers NAME… starts SSH servers and writes what sloth needs to reach them:
// hosts.yaml with all in the group web, known_hosts, and ssh.conf, which keeps
// the developer's own keys and hosts out.
func servers(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	started := map[string]*sshdtest.Server{}
	fleets.Store(ts.Getenv("WORK"), started)
	var hosts, known bytes.Buffer
	fmt.Fprintf(&hosts, "web:\n  hosts:\n")
	for _, name := range args {
		s, err := sshdtest.Launch(ctx, sshdtest.Options{Name: name})
		ts.Check(err)
		ts.Defer(func() { s.Close() })
		started[name] = s
		fmt.Fprintf(&hosts, "    %s: {ansible_host: %s, ansible_port: %d, ansible_user: %s}\n", name, s.Host, s.Port, s.User)
		ts.Setenv("HOME_"+envName.Replace(name), s.Home)
		line, err := os.ReadFile(s.KnownHosts)
		ts.Check(err)
		known.Write(line)
		// Every server lets the same key in; the copy outlives each of them.
		key, err := os.ReadFile(s.KeyFile)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs("key"), key, 0o600))
	}
	conf := fmt.Sprintf("IdentityFile %s\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile %s\nGlobalKnownHostsFile /dev/null\n", ts.MkAbs("key"), ts.MkAbs("known_hosts"))
	for name, text := range map[string][]byte{"hosts.yaml": hosts.Bytes(), "known_hosts": known.Bytes(), "ssh.conf": []byte(conf)} {
		ts.Check(os.WriteFile(ts.MkAbs(name), text, 0o600))
	}
}

// envName makes a variable's name of a host's.
var envName = strings.NewReplacer("-", "_")

func free(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// scratch PATH claims a name outside of the work folder, and removes what is
// there when the script ends.
func scratch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: scratch path")
	}
	if !free(args[0]) {
		ts.Fatalf("%s is there already; it may be somebody's", args[0])
	}
	ts.Defer(func() { os.RemoveAll(args[0]) })
}

// fleets are the servers of each script, by its folder.
var fleets sync.Map

// halt NAME ends a server.
func halt(ts *testscript.TestScript, _ bool, args []string) {
	m, _ := fleets.Load(ts.Getenv("WORK"))
	s := m.(map[string]*sshdtest.Server)[args[0]]
	if s == nil {
		ts.Fatalf("there is no server %s", args[0])
	}
	ts.Check(s.Close())
}
