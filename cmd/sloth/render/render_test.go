package render

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/runner/event"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fold is what an inventory would do, for names that end in a number.
func fold(hosts []string) string {
	first, last := hosts[0], hosts[len(hosts)-1]
	i := strings.LastIndexByte(first, '-') + 1
	return fmt.Sprintf("%s[%s-%s]", first[:i], first[i:], last[strings.LastIndexByte(last, '-')+1:])
}

// replay shows a recorded run. The clock is that of the record.
func replay(t *testing.T, name, kind string, o Options, each func(Renderer)) (out, errOut string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	now := time.Date(2025, 1, 10, 15, 30, 43, 0, time.UTC)
	o.still, o.Fold, o.Now = true, fold, func() time.Time { return now }
	o.Stack = Stack{ID: "3ec19a86", Name: "production"}
	var stdout, stderr bytes.Buffer
	r, err := New(kind, &stdout, &stderr, o)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		rec, e, err := event.Unmarshal(lines.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		now = rec.Time
		r.Handle(e)
		if each != nil {
			each(r)
		}
	}
	if err := errors.Join(lines.Err(), r.Close()); err != nil {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	// Escape sequences are written so that a reader sees them.
	got = strings.ReplaceAll(got, "\x1b", "␛")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestReplays(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		o          Options
	}{
		{"local", "basic", Options{}},
		{"local", "enhanced", Options{Color: true}},
		{"local", "json", Options{}},
		{"pipeline", "basic", Options{}},
		{"pipeline", "basic", Options{Verbosity: 2}},
		{"pipeline", "modern", Options{Color: true}},
		{"site", "basic", Options{}},
		{"site", "basic", Options{Verbosity: 1}},
		{"site", "enhanced", Options{Color: true, Diff: true}},
		{"site", "json", Options{}},
		{"site", "junit", Options{}},
		{"again", "basic", Options{}},
		{"again", "rich", Options{}},
		{"plan", "basic", Options{Diff: true}},
		{"trouble", "basic", Options{}},
		{"trouble", "basic", Options{Verbosity: 2}},
		{"trouble", "enhanced", Options{Color: true}},
		{"trouble", "json", Options{}},
		{"trouble", "ndjson", Options{}},
		{"trouble", "junit", Options{}},
		{"fleet", "basic", Options{}},
	} {
		name := c.name + "." + c.kind
		if c.o.Verbosity > 0 {
			name += "." + strings.Repeat("v", c.o.Verbosity)
		}
		t.Run(name, func(t *testing.T) {
			out, errOut := replay(t, c.name, c.kind, c.o, nil)
			golden(t, name, out)
			harmlessFor(t, out+errOut, c.o.Color)
			switch c.kind {
			case "json":
				oneDocument(t, out)
				golden(t, name+".stderr", errOut)
			case "junit":
				if err := xml.Unmarshal([]byte(out), new(junitRun)); err != nil {
					t.Error(err)
				}
			case "ndjson":
				for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
					if _, _, err := event.Unmarshal([]byte(l)); err != nil {
						t.Errorf("%v\n%s", err, l)
					}
				}
			default:
				if errOut != "" {
					t.Errorf("on standard error: %s", errOut)
				}
			}
		})
	}
}

// harmlessFor finds what a terminal would obey, beside our own colours.
func harmlessFor(t *testing.T, s string, color bool) {
	t.Helper()
	if color {
		for _, code := range []string{"0", "1", "2", "31", "32", "33", "35", "36"} {
			s = strings.ReplaceAll(s, "\x1b["+code+"m", "")
		}
	}
	if got := Sanitize(s); got != s {
		t.Errorf("a terminal would obey this:\n%s", got)
	}
}

// oneDocument checks the shape that scripts rely on: every key is there.
func oneDocument(t *testing.T, out string) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(out))
	var doc map[string]any
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if dec.More() {
		t.Error("there is more than one document")
	}
	has(t, "", doc, "status", "duration", "stack", "tasks", "outputs", "run_id", "workflow", "changed", "hosts")
	has(t, "stack", doc["stack"], "id", "name")
	for name, task := range doc["tasks"].(map[string]any) {
		has(t, name, task, "status", "duration", "changed", "error", "hosts")
		for host, h := range task.(map[string]any)["hosts"].(map[string]any) {
			has(t, name+" on "+host, h, "status", "changed", "duration", "attempts", "diff", "outputs", "error")
			if e := h.(map[string]any)["error"]; e != nil {
				has(t, "error", e, "class", "message", "file", "line", "hint")
			}
		}
	}
	for host, h := range doc["hosts"].(map[string]any) {
		has(t, host, h, "ok", "changed", "failed", "skipped", "unreachable")
	}
}

func has(t *testing.T, where string, v any, keys ...string) {
	t.Helper()
	m, ok := v.(map[string]any)
	for _, k := range keys {
		if _, there := m[k]; !ok || !there {
			t.Errorf("%s: no %q in %v", where, k, v)
		}
	}
}

// TestExampleOfTheSpecification compares with what people were promised.
func TestExampleOfTheSpecification(t *testing.T) {
	dir := os.Getenv("SLOTH_SPEC")
	if dir == "" {
		t.Skip("SLOTH_SPEC does not name the specification's folder")
	}
	want, err := os.ReadFile(filepath.Join(dir, "examples", "parallel-deployment.expected.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"basic", "enhanced", "rich", "modern"} {
		out, _ := replay(t, "local", kind, Options{}, nil)
		if !strings.HasPrefix(out, strings.TrimRight(string(want), "\n")+"\n") {
			t.Errorf("%s:\n%s\nwant:\n%s", kind, out, want)
		}
	}
}

func TestUnknownKind(t *testing.T) {
	_, err := New("html", os.Stdout, os.Stderr, Options{})
	if err == nil || err.Error() != `output "html": there is basic, enhanced, rich, modern, json, ndjson, junit` {
		t.Errorf("%v", err)
	}
}

func TestARunThatNeverBegan(t *testing.T) {
	var out, errOut bytes.Buffer
	r, err := New("json", &out, &errOut, Options{still: true})
	if err != nil {
		t.Fatal(err)
	}
	r.Handle(event.RunDone{Status: event.Failed, ExitCode: 1, Message: "site.sloth:3: syntax error"})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	oneDocument(t, out.String())
	if !strings.Contains(out.String(), `"status": "failed"`) || !strings.Contains(errOut.String(), "site.sloth:3: syntax error") {
		t.Errorf("%s\n%s", out.String(), errOut.String())
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestErrorsOfWritesAreTold(t *testing.T) {
	for _, kind := range Kinds() {
		r, err := New(kind, broken{}, broken{}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		r.Handle(event.RunStarted{Workflow: "w", Tasks: []string{"a", "b"}, Hosts: []string{"h", "i"}})
		r.Handle(event.RunDone{Status: event.Success})
		if err := r.Close(); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
