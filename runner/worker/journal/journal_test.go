package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sloth-runner/sloth/runner/worker/journal"
)

var key = bytes.Repeat([]byte{7}, 32)

// written makes a journal of three steps, the last without an end.
func written(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	j, err := journal.Create(dir, key, journal.Record{Kind: journal.Run, RunID: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []journal.Record{
		{Kind: journal.Begin, Step: "a", Job: "j", Boot: "b1"}, {Kind: journal.End, Step: "a", Job: "j", Result: []byte("done")},
		{Kind: journal.Begin, Step: "b", Job: "j", Boot: "b1"}, {Kind: journal.End, Step: "b", Job: "j", Result: []byte("bad")},
		{Kind: journal.Begin, Step: "c", Job: "j", Boot: "b1"},
	} {
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(j.Sync(), j.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReadsWhatWasWritten(t *testing.T) {
	dir := written(t)
	j, records, err := journal.Open(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	got := journal.Outcomes(records)
	if len(got) != 3 || !got[0].Ended || string(got[1].Result) != "bad" || got[2].Ended || got[2].Boot != "b1" {
		t.Fatalf("%+v", got)
	}
	if err := j.Append(journal.Record{Kind: journal.End, Step: "c", Job: "j"}); err != nil {
		t.Fatal(err)
	}
	j.Close()
	if _, records, err = journal.Open(dir, key); err != nil || !journal.Outcomes(records)[2].Ended {
		t.Fatalf("%v %+v", err, records)
	}
	if _, err := journal.Create(dir, key, journal.Record{Kind: journal.Run}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second journal in one folder: %v", err)
	}
}

// A journal cut at any byte gives what was whole before, or is refused; it never
// gives anything else.
func TestFault10CutAtEveryByte(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(written(t), journal.Name))
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for n := range len(whole) {
		_, records, err := reopened(t, whole[:n])
		if err != nil {
			if last > 0 {
				t.Fatalf("cut at %d: %v", n, err)
			}
			continue
		}
		if len(records) < last {
			t.Fatalf("cut at %d gives %d records, a shorter one gave %d", n, len(records), last)
		}
		last = len(records)
	}
	if last != 5 {
		t.Errorf("the longest cut gave %d records of 6", last)
	}
}

func reopened(t testing.TB, content []byte) (string, []journal.Record, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, journal.Name), content, 0o600); err != nil {
		t.Fatal(err)
	}
	j, records, err := journal.Open(dir, key)
	if err == nil {
		j.Close()
	}
	return dir, records, err
}

// No changed byte goes unnoticed, but in the last record: there it looks like
// one that was never written to its end, or is refused.
func TestFault10ChangedAtEveryByte(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(written(t), journal.Name))
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 0x41
		_, records, err := reopened(t, changed)
		if err == nil && len(records) == 6 {
			t.Fatalf("byte %d was changed and nobody noticed", i)
		}
	}
}

func TestWrongKey(t *testing.T) {
	dir := written(t)
	if _, _, err := journal.Open(dir, bytes.Repeat([]byte{8}, 32)); !errors.Is(err, journal.ErrForeign) {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, journal.Name), bytes.Repeat([]byte("old\n"), 30), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := journal.Open(dir, key); !errors.Is(err, journal.ErrFormat) {
		t.Errorf("%v", err)
	}
}

// FuzzOpen gives only what somebody sealed, whatever a file holds. Each process of
// a fuzzing run seals a journal of its own, so records are judged by what they say.
func FuzzOpen(f *testing.F) {
	dir := written(f)
	whole, err := os.ReadFile(filepath.Join(dir, journal.Name))
	if err != nil {
		f.Fatal(err)
	}
	said := func(r journal.Record) string { return fmt.Sprint(r.Kind, r.RunID, r.Job, r.Step, string(r.Result)) }
	_, sealed, err := reopened(f, whole)
	if err != nil || len(sealed) != 6 {
		f.Fatal(len(sealed), err)
	}
	f.Add(whole)
	f.Add(whole[:40])
	f.Fuzz(func(t *testing.T, content []byte) {
		_, records, err := reopened(t, content)
		if err == nil && len(records) > len(sealed) {
			t.Fatalf("%d records, of which %d were sealed", len(records), len(sealed))
		}
		for i, r := range records {
			if said(r) != said(sealed[i]) {
				t.Errorf("record %d is one that nobody sealed: %+v", i, r)
			}
		}
	})
}
