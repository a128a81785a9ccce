package event

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

func TestEveryEventSurvivesTheWireAndTheRecord(t *testing.T) {
	w := Where{Task: "a", Host: "h", Step: "s", Attempt: 2}
	for _, e := range []Event{
		RunStarted{RunID: "r", Tasks: []string{"a"}, Hosts: []string{"h"}}, TaskStarted{w},
		Output{w, "stdout", []byte{0, 0xff, '\n'}}, Output{w, "stderr", []byte("grün\n")}, Log{Where: w, Level: "info", Message: "m", Fields: map[string]any{"k": "v"}},
		Called{Where: w, Function: "file_ops.copy", Line: 3, Changed: true, Diff: modules.Diff{Changes: []modules.Change{{What: "/x", After: "y"}}}},
		TaskRetry{w, Failure{Class: "task", Message: "m"}, time.Second},
		TaskDone{Where: w, Outputs: map[string]any{"raw": "\xff", "n": int64(3), "l": []any{1.5, "\xfe"}}},
		TaskDone{Where: w, Status: Failed, Outputs: map[string]any{"k": "v"}, Failure: &Failure{Message: "m", Line: 4}},
		HostLost{"h", Failure{Class: "tcp"}}, Progress{"h", "upload", 1, 2}, RunDone{Status: Success, Duration: time.Second},
	} {
		kind, body, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(kind, body)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("wire: %#v became %#v, %v", e, got, err)
		}
		line, err := Marshal(7, time.Unix(1, 0).UTC(), e)
		if err != nil {
			t.Fatal(err)
		}
		rec, got, err := Unmarshal(line)
		if err != nil || rec.Seq != 7 || !reflect.DeepEqual(got, e) {
			t.Errorf("record: %#v became %#v, %v", e, got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for kind := range kinds {
		f.Add(kind, []byte{0x80})
	}
	f.Fuzz(func(_ *testing.T, kind string, body []byte) { _, _ = Decode(kind, body) })
}

func TestDataThatJSONHasNoFormFor(t *testing.T) {
	line, err := Marshal(1, time.Unix(1, 0).UTC(), TaskDone{Outputs: map[string]any{
		"mixed": map[any]any{int64(1): "one", "k": math.NaN()}, "inf": math.Inf(-1)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"mixed":{"1":"one","k":"NaN"}`, `"inf":"-Infinity"`} {
		if !strings.Contains(string(line), want) {
			t.Errorf("%s\nhas no %s", line, want)
		}
	}
}

func TestAWorkersLiesAreRefused(t *testing.T) {
	deep := append([]byte{0x81, 0xa1, 'o'}, bytes.Repeat([]byte{0x91}, 1<<20)...)
	huge := []byte{0x81, 0xa1, 'o', 0xdf, 0xff, 0xff, 0xff, 0xff}
	for name, body := range map[string][]byte{"deep": deep, "huge": huge, "long": make([]byte, MaxBody+1)} {
		if _, err := Decode("task_done", body); err == nil {
			t.Errorf("%s: believed", name)
		}
	}
	if _, err := Decode("task_undone", []byte{0x80}); err == nil {
		t.Error("an unknown kind: believed")
	}
}
