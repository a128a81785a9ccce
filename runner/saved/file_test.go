package saved

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

var secret = bytes.Repeat([]byte{7}, 32)

func example() *Plan {
	key := KeyOf(secret, "01")
	return &Plan{
		Version: "1", Made: time.Unix(1, 0).UTC(), Salt: "01", Dir: "/srv", File: "site.sloth",
		Flags:  []Flag{{Name: "limit", Values: []string{"web"}}},
		Inputs: []Input{key.Input(KindSecret, "", "db", "hunter2"), key.Input(KindSource, "", "site.sloth", "x")},
		Hosts: []Host{{Name: "web-01", Steps: []Step{{ID: key.step("a-1"), Task: "a", Status: event.Success, Calls: []step.Expected{
			{Function: "file_ops.copy", File: "site.sloth", Line: 3, Args: "a", Seen: "s", Changed: true, Lines: []string{"/x state: absent -> file"}}}}}}},
	}
}

func TestAPlanSurvivesItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.plan")
	if err := Write(path, example(), secret); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path, secret)
	if err != nil || !reflect.DeepEqual(got, example()) {
		t.Fatalf("%+v, %v", got, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 1 {
		t.Errorf("more than the plan is left: %v", names)
	}
	if text, _ := os.ReadFile(path); bytes.Contains(text, []byte("hunter2")) {
		t.Error("the secret is in the file")
	}
	if !Is(path) || Is(filepath.Dir(path)) || Is(path+"x") {
		t.Error("a plan is not known by its beginning")
	}
}

func TestWhatWasNotWrittenSoIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	if err := Write(path, example(), secret); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		if cut < len(magic) {
			continue
		}
		_, err := Parse("p", whole[:cut], secret)
		if !errors.Is(err, ErrCut) && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrChanged) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	for at := range whole {
		bad := bytes.Clone(whole)
		bad[at] ^= 1
		if _, err := Parse("p", bad, secret); err == nil {
			t.Fatalf("a changed byte at %d is not seen", at)
		}
	}
	for name, c := range map[string]struct {
		text string
		key  []byte
		want error
	}{
		"longer":      {string(whole) + " ", secret, ErrChanged},
		"another key": {string(whole), bytes.Repeat([]byte{8}, 32), ErrKey},
		"version":     {strings.Replace(string(whole), "plan 1", "plan 2", 1), secret, ErrFormat},
		"head":        {"sloth plan 1\nhello\n", secret, ErrChanged},
		"negative":    {"sloth plan 1\nkey 00000000 bytes -5 seal x\n", secret, ErrKey},
	} {
		if _, err := Parse("p", []byte(c.text), c.key); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Parse("p", []byte("return 1"), secret); err == nil {
		t.Error("a script is taken for a plan")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("sloth plan 1\nkey 00000000 bytes 2 seal x\n{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := Parse("p", data, secret); err == nil {
			t.Errorf("%q was taken for a plan: %+v", data, p)
		}
	})
}

func TestDigestsAreOfOneKeyAndPlan(t *testing.T) {
	a, b, c := KeyOf(secret, "01"), KeyOf(secret, "02"), KeyOf(bytes.Repeat([]byte{8}, 32), "01")
	one := a.Input(KindSecret, "", "db", "x").Hash
	for name, other := range map[string]string{
		"salt": b.Input(KindSecret, "", "db", "x").Hash, "key": c.Input(KindSecret, "", "db", "x").Hash,
		"name": a.Input(KindSecret, "", "db2", "x").Hash, "kind": a.Input(KindValue, "", "db", "x").Hash,
		"content": a.Input(KindSecret, "", "db", "y").Hash, "cut elsewhere": a.Input(KindSecret, "d", "b", "x").Hash,
	} {
		if other == one {
			t.Errorf("another %s gives the same digest", name)
		}
	}
	if a.Input(KindSecret, "", "db", "x").Hash != one {
		t.Error("the same gives another digest")
	}
	if bytes.Equal(a.Host("web-01"), a.Host("web-02")) {
		t.Error("two hosts have one key")
	}
}
