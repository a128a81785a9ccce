package render

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/runner/event"
)

func TestFolding(t *testing.T) {
	var results []HostOutput
	for i := range 12 {
		r := HostOutput{Host: fmt.Sprintf("web-%02d", i+1), Stdout: []byte("active\n")}
		switch i {
		case 3:
			r.Stdout, r.Stderr, r.ExitCode = []byte("inactive\n"), []byte("unit \x1b[31mfailed\n"), 3
		case 5:
			r.Stdout, r.Failure = nil, &event.Failure{Class: "auth", Message: "no key was accepted", Hint: "Try -u."}
		case 7:
			r.Stdout, r.Truncated = []byte("activ\xff"), true
		}
		results = append(results, r)
	}
	for name, o := range map[string]Options{"exec.basic": {Fold: fold}, "exec.color": {Fold: fold, Color: true}} {
		var out bytes.Buffer
		if err := WriteFolded(&out, results, o); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.String())
		harmlessFor(t, out.String(), o.Color)
	}
	var out bytes.Buffer
	if err := WriteFolded(&out, results[:1], Options{}); err != nil || out.String() != "active\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestManyDifferentOutputs(t *testing.T) {
	var results []HostOutput
	for i := range 10000 {
		results = append(results, HostOutput{Host: fmt.Sprint(i), Stdout: []byte(fmt.Sprintf("uptime of %d", i/2))})
	}
	if got := foldOutputs(results); len(got) != 5000 || len(got[0].Hosts) != 2 {
		t.Errorf("%d groups", len(got))
	}
}

func TestStream(t *testing.T) {
	var out bytes.Buffer
	s := NewStream(&out, []string{"a", "web-01"}, Options{})
	s.Add("a", "stdout", []byte("one\ntw"))
	s.Add("web-01", "stderr", []byte("er\x1bror\n"))
	s.Add("a", "stdout", []byte("o"))
	s.Add("a", "stderr", []byte("half"))
	s.Done("a")
	s.Done("a")
	want := "a      | one\nweb-01 | er\\x1bror\na      | half\na      | two\n"
	if out.String() != want || s.Err() != nil {
		t.Errorf("%q, want %q", out.String(), want)
	}
	out.Reset()
	s.Add("a", "stdout", []byte(strings.Repeat("x", 3*maxLine)))
	if out.Len() == 0 {
		t.Error("a line without end is kept for ever")
	}
}
