package main

import (
	"slices"
	"strings"
	"testing"
)

func TestTheAuditLogHasNoValues(t *testing.T) {
	for in, want := range map[string]string{
		"run -f x.sloth --param pw=a --param=pw=b":         "run -f x.sloth --param pw=… --param=pw=…",
		"apply -e pw=a -epw=b --extra-vars @vars.yaml x":   "apply -e pw=… -epw=… --extra-vars @vars.yaml x",
		`apply -e {"pw":"a=b"} x`:                          "apply -e … x",
		"exec all -m user.set name=ann password=x -a pw=b": "exec all -m user.set name=… password=… -a pw=…",
		"exec all LANG=C date":                             "exec all LANG=C date",
	} {
		if got := strings.Join(withoutValues(strings.Fields(in)), " "); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	args := []string{"run", "--param", "a=b"}
	if withoutValues(args); !slices.Equal(args, []string{"run", "--param", "a=b"}) {
		t.Error("the arguments themselves were changed")
	}
}

func TestGitOf(t *testing.T) {
	if g := gitOf(t.TempDir()); g != nil {
		t.Errorf("%+v", g)
	}
}
