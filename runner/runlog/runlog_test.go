package runlog_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/runlog"
)

func TestAStoryIsToldAsItWasWritten(t *testing.T) {
	root := filepath.Join(t.TempDir(), "runs")
	l, err := runlog.Create(root, runlog.Head{RunID: "r1", Argv: []string{"apply"}, Key: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	l.Event(event.RunStarted{RunID: "r1"})
	err = errors.Join(
		l.Send(runlog.Sent{Host: "web", Job: "j1", Steps: []runlog.Step{{ID: "a", Task: "ta"}}}),
		l.Done(runlog.Outcome{Host: "web", Task: "ta", Step: "a", Status: event.Success, Result: []byte("x")}),
		l.Over("j1"),
		l.Send(runlog.Sent{Host: "web", Job: "j2"}),
		l.Begin(runlog.Outcome{Host: "local", Step: "b"}),
	)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := runlog.Find(root, "r")
	if err != nil {
		t.Fatal(err)
	}
	s, err := runlog.Read(dir)
	if err != nil || string(s.Steps[0].Result) != "x" || s.Running != os.Getpid() || s.End != nil || !s.Sent[0].Over || s.Sent[1].Over || len(s.Steps) != 2 || !s.Steps[1].Began {
		t.Fatalf("%+v %v", s, err)
	}
	if _, _, err := runlog.Resume(dir, "me"); !errors.Is(err, runlog.ErrRunning) {
		t.Errorf("a run that goes on was resumed: %v", err)
	}
	if err := l.Close(nil); err != nil { // as if it had been killed
		t.Fatal(err)
	}
	l, s, err = runlog.Resume(dir, "me")
	if err != nil || len(s.Resumed) != 1 || string(s.Head.Key) != "k" {
		t.Fatalf("%+v %v", s, err)
	}
	if err := l.Close(&runlog.End{Status: event.Success}); err != nil {
		t.Fatal(err)
	}
	if s, err = runlog.Read(dir); err != nil || s.End == nil || s.Running != 0 {
		t.Errorf("%+v %v", s, err)
	}
	var got []event.Event
	if _, err := runlog.Events(dir, 0, func(e event.Event) { got = append(got, e) }); err != nil || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
	for _, f := range []string{"", "record", "events", "lock"} {
		st, err := os.Stat(filepath.Join(dir, f))
		if err != nil || st.Mode().Perm()&0o77 != 0 {
			t.Errorf("%s: %v %v", f, st.Mode(), err)
		}
	}
	if err := runlog.Prune(root, 0, time.Now()); err != nil {
		t.Fatal(err)
	}
	if names, _ := runlog.List(root); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}

// Cut at any byte a record tells a beginning of the story; changed, it is
// refused.
func TestFault10DamagedRecords(t *testing.T) {
	root := t.TempDir()
	l, err := runlog.Create(root, runlog.Head{RunID: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Send(runlog.Sent{Host: "web", Job: "j1"}), l.Over("j1"), l.Close(nil)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "r1", "record")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	try := func(b []byte) (*runlog.Story, error) {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return runlog.Read(filepath.Dir(file))
	}
	told := 0
	for n := range whole {
		if s, err := try(whole[:n]); err == nil {
			told++
			if len(s.Sent) > 1 {
				t.Fatalf("%+v", s)
			}
		} else if told > 0 {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if told == 0 {
		t.Error("no cut record could be read")
	}
	changed := append([]byte{}, whole...)
	changed[30] ^= 1
	if _, err := try(changed); !errors.Is(err, runlog.ErrDamaged) {
		t.Errorf("%v", err)
	}
	if _, err := try([]byte("sloth run 9\n")); !errors.Is(err, runlog.ErrVersion) {
		t.Errorf("%v", err)
	}
}
