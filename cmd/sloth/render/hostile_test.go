package render

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
)

// hostile is a run in which every text is s.
func hostile(s string) []event.Event {
	w := event.Where{Task: s, Host: s}
	f := event.Failure{Class: s, Message: s, File: s, Line: 1, Hint: s}
	return []event.Event{
		event.RunStarted{RunID: s, Workflow: s, Tasks: []string{s, "b"}, Hosts: []string{s, "h"}},
		event.Progress{Host: s, What: s, Done: 5, Total: 3}, event.TaskStarted{Where: w},
		event.Output{Where: w, Stream: s, Data: []byte(s)}, event.Log{Where: w, Level: s, Message: s, Fields: map[string]any{s: s}},
		event.Called{Where: w, Function: s, File: s, Changed: true, Message: s, Diff: modules.Diff{Changes: []modules.Change{
			{What: s, Attr: s, Before: s, After: s + "x"}, {What: s, Attr: "content", Before: s, After: s + "\n" + s, Text: true}}}},
		event.Called{Where: w, Function: s, Message: s},
		event.TaskRetry{Where: w, Failure: f, Delay: time.Second},
		event.TaskDone{Where: w, Status: event.Success, Changed: true, Message: s, Outputs: map[string]any{s: []any{s, map[any]any{int64(1): s}}}},
		event.TaskDone{Where: event.Where{Task: "b", Host: s}, Status: event.Failed, Message: s, Failure: &f, Attempts: 1},
		event.TaskDone{Where: w, Status: event.Status(s), Message: s},
		event.HostLost{Host: "h" + s, Failure: f}, event.RunDone{Status: event.Failed, Message: s},
	}
}

func FuzzRenderers(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[2J\x1b]52;c;ZQ==\a", "\u009b31m\u202e", "\xff\xfe\x00", "a\nb\r\nc\rd", "]]>&<\"'", "\U000e0001", "\ufffe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, kind := range Kinds() {
			for _, o := range []Options{{}, {Interactive: true, Verbosity: 3, Diff: true, Width: 20, Height: 5}} {
				o.still = true
				var out, errOut bytes.Buffer
				r, err := New(kind, &out, &errOut, o)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range hostile(s) {
					r.Handle(e)
					if d, ok := r.(*text); ok {
						d.write()
					}
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				valid(t, kind, out.Bytes())
				if !o.Interactive {
					harmlessFor(t, out.String()+errOut.String(), false)
				} else {
					// Beside what drawing needs.
					harmlessFor(t, withoutDrawing(out.String())+errOut.String(), false)
				}
			}
		}
	})
}

func withoutDrawing(s string) string {
	for n := 20; n > 0; n-- {
		s = strings.ReplaceAll(s, "\x1b["+string(rune('0'+n%10))+"A\r\x1b[J", "")
	}
	return s
}

func valid(t *testing.T, kind string, out []byte) {
	t.Helper()
	switch kind {
	case "json":
		var doc jsonRun
		if err := json.Unmarshal(out, &doc); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	case "ndjson":
		for _, l := range bytes.Split(bytes.TrimSpace(out), []byte("\n")) {
			if _, _, err := event.Unmarshal(l); err != nil {
				t.Fatalf("%v\n%s", err, l)
			}
		}
	case "junit":
		for dec := xml.NewDecoder(bytes.NewReader(out)); ; {
			_, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
}
