package event

import (
	"reflect"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

func TestEveryEventSurvivesTheWireAndTheRecord(t *testing.T) {
	w := Where{Task: "a", Host: "h", Step: "s", Attempt: 2}
	for _, e := range []Event{
		RunStarted{RunID: "r", Tasks: []string{"a"}, Hosts: []string{"h"}}, TaskStarted{w},
		Output{w, "stdout", []byte{0, 0xff, '\n'}}, Log{Where: w, Level: "info", Message: "m", Fields: map[string]any{"k": "v"}},
		Called{Where: w, Function: "file_ops.copy", Line: 3, Changed: true, Diff: modules.Diff{Changes: []modules.Change{{What: "/x", After: "y"}}}},
		TaskRetry{w, Failure{Class: "task", Message: "m"}, time.Second},
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
