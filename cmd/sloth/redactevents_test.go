package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/state/secret/redact"
)

const hunter = `hunter2 "ü" & 'co'`

// loud is a run that has hunter in every field that can hold text.
func loud(cut int) []event.Event {
	js, _ := json.Marshal(hunter)
	text := strings.Join([]string{
		hunter, string(js), base64.StdEncoding.EncodeToString([]byte("x" + hunter)), base64.URLEncoding.EncodeToString([]byte(hunter)),
		url.QueryEscape(hunter), url.PathEscape(hunter), hex.EncodeToString([]byte(hunter)), "'" + strings.ReplaceAll(hunter, "'", `'\''`) + "'",
	}, "\n")
	w := event.Where{Task: "t", Host: "h", Step: "s"}
	f := event.Failure{Class: "task", Message: "it said " + text, Hint: "try " + text}
	out := []event.Event{event.RunStarted{RunID: "r", Workflow: "w", Tasks: []string{"t"}, Hosts: []string{"h"}}, event.TaskStarted{Where: w}}
	for _, stream := range []string{"stdout", "stderr", "strange"} {
		data := []byte(stream + " " + text + "\nlast " + hunter)
		for i := 0; i < len(data); i += cut {
			if stream == "strange" {
				out = append(out, event.Output{Where: w, Stream: stream, Data: data})
				break
			}
			out = append(out, event.Output{Where: w, Stream: stream, Data: data[i:min(i+cut, len(data))]})
		}
	}
	return append(out,
		event.Log{Where: w, Level: "info", Message: text, Fields: map[string]any{text: []any{text, map[any]any{1: text}}}},
		event.Called{Where: w, Function: "file_ops.copy", Changed: true, Message: text, Diff: modules.Diff{Changes: []modules.Change{
			{What: "/x " + text, Attr: "content", Before: "a " + text + "\n", After: "b " + text + "\n", Text: true},
		}}},
		event.TaskRetry{Where: w, Failure: f},
		event.TaskDone{Where: w, Status: event.Failed, Changed: true, Message: text, Outputs: map[string]any{"k": text, "b": []byte(text)}, Failure: &f},
		event.HostLost{Host: "h", Failure: f}, event.RunDone{Status: event.Failed, ExitCode: 2, Message: text},
	)
}

// TestFault44EveryRendererIsRedacted sends a run full of secrets through every
// renderer, with output cut at every place.
func TestFault44EveryRendererIsRedacted(t *testing.T) {
	r := redact.New(modules.Hidden)
	if err := r.Add("s", hunter); err != nil {
		t.Fatal(err)
	}
	for _, kind := range render.Kinds() {
		for _, cut := range []int{1, 2, 3, 7, 16, 1 << 20} {
			var stdout, stderr bytes.Buffer
			show, err := render.New(kind, &stdout, &stderr, render.Options{Verbosity: 3, Diff: true})
			if err != nil {
				t.Fatal(err)
			}
			red := newEventRedactor(r, show.Handle)
			for _, e := range loud(cut) {
				red.handle(e)
			}
			if err := show.Close(); err != nil {
				t.Fatal(err)
			}
			if len(red.open)+len(red.line) > 0 {
				t.Errorf("%s: %d streams are open", kind, len(red.open))
			}
			said := stdout.String() + stderr.String()
			if got := r.String(said); got != said || strings.Contains(said, "hunter") || !strings.Contains(said, modules.Hidden) {
				t.Errorf("%s, cut at %d:\n%s", kind, cut, said)
			}
		}
	}
}

func TestEventsAreNotChangedInPlace(t *testing.T) {
	r := redact.New(modules.Hidden)
	if err := r.Add("s", hunter); err != nil {
		t.Fatal(err)
	}
	events := loud(5)
	before := fmt.Sprintf("%+v", events)
	red := newEventRedactor(r, func(event.Event) {})
	for _, e := range events {
		red.handle(e)
	}
	if after := fmt.Sprintf("%+v", events); after != before {
		t.Error("the scheduler's own data was changed")
	}
}

func TestWithoutSecretsEventsPassAsTheyAre(t *testing.T) {
	var got []event.Event
	red := newEventRedactor(redact.New(modules.Hidden), func(e event.Event) { got = append(got, e) })
	e := event.Event(event.Output{Stream: "stdout", Data: []byte("x")})
	if n := testing.AllocsPerRun(100, func() { got = got[:0]; red.handle(e) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if len(got) != 1 {
		t.Errorf("%d events", len(got))
	}
}
