package facts

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestCustomFacts(t *testing.T) {
	h := tree(t, map[string]string{
		"etc/ansible/facts.d/site.fact":   `{"role": "web", "weight": 3, "ratio": 0.5}`,
		"etc/ansible/facts.d/both.fact":   `{"from": "ansible"}`,
		"etc/ansible/facts.d/old.fact":    "# comment\n[General]\nOwner = ops team\nport: 80\n",
		"etc/ansible/facts.d/notes.txt":   "not a fact",
		"etc/sloth/facts.d/both.fact":     `{"from": "sloth"}`,
		"etc/sloth/facts.d/run.fact":      "#!/bin/sh\necho '{\"pwd\": \"'$PWD'\"}'\n",
		"etc/sloth/facts.d/list.json":     `[1, {"deep": 2}]`,
		"etc/sloth/facts.d/fails.fact":    "#!/bin/sh\necho no luck >&2\nexit 3\n",
		"etc/sloth/facts.d/nonsense.fact": "just words\n",
		"etc/sloth/facts.d/huge.fact":     "#!/bin/sh\nhead -c 1000000 /dev/zero\n",
		"etc/sloth/facts.d/danger.fact":   "#!/bin/sh\necho '{}'\n",
	})
	dir := h.path("/etc/sloth/facts.d")
	if err := os.Chmod(filepath.Join(dir, "danger.fact"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.fact"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := h.custom(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	local := f["local"].(map[string]any)
	want := map[string]any{
		"site":     map[string]any{"role": "web", "weight": 3, "ratio": 0.5},
		"both":     map[string]any{"from": "sloth"},
		"old":      map[string]any{"General": map[string]any{"owner": "ops team", "port": "80"}},
		"run":      map[string]any{"pwd": "/"},
		"list":     []any{1, map[string]any{"deep": 2}},
		"fails":    "error: " + dir + "/fails.fact: exit status 3: no luck",
		"nonsense": "error: line 1 is neither JSON nor in a [section]",
		"huge":     "error: " + dir + "/huge.fact gives more than 262144 bytes",
		"danger":   "error: " + dir + "/danger.fact is not run: everybody may write to it",
		"pipe":     "error: read " + dir + "/pipe.fact: it is no regular file",
	}
	for name := range want {
		if !reflect.DeepEqual(local[name], want[name]) {
			t.Errorf("%s is %#v, want %#v", name, local[name], want[name])
		}
	}
	if len(local) != len(want) {
		t.Errorf("there are %v", sortedKeys(local))
	}
}

func TestStuckFactIsKilledWithItsChildren(t *testing.T) {
	h := tree(t, map[string]string{
		"etc/sloth/facts.d/a.fact":     `{"ok": true}`,
		"etc/sloth/facts.d/stuck.fact": "#!/bin/sh\nsleep 1000 & echo $! > \"$(dirname \"$0\")/pid\"; wait\n",
	})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	f, err := h.custom(ctx)
	if err == nil {
		t.Error("a missed deadline is no error")
	}
	local := f["local"].(map[string]any)
	if !reflect.DeepEqual(local["a"], map[string]any{"ok": true}) || !strings.Contains(local["stuck"].(string), "did not end within") {
		t.Errorf("got %v", local)
	}
	text, err := os.ReadFile(h.path("/etc/sloth/facts.d/pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d lives on", pid)
		}
	}
}

// alive reports whether pid runs; one that ended but was not waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
