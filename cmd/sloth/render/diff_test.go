package render

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

func TestDiffLines(t *testing.T) {
	text := func(what, before, after string) modules.Change {
		return modules.Change{What: what, Attr: "content", Before: before, After: after, Text: true}
	}
	for name, c := range map[string]struct {
		d    modules.Diff
		want string
	}{
		"nothing": {modules.Diff{}, ""},
		"attributes of one thing": {modules.Diff{Changes: []modules.Change{
			{What: "user a", Attr: "shell", Before: "/bin/sh", After: "/bin/zsh"}, {What: "user a", Attr: "home", After: "/srv"}, {What: "user b", Before: "x", After: "y"},
		}}, "user a|  shell: /bin/sh → /bin/zsh|  home: \"\" → /srv|user b|  value: x → y"},
		"a folder created": {modules.Diff{Changes: []modules.Change{
			{What: "/srv", Attr: "state", Before: modules.Absent, After: "directory"}, {What: "/srv", Attr: "mode", After: "0755"}, {What: "/srv", Attr: "owner", Before: "root", After: "a"},
		}}, "/srv|  state: absent → directory|  mode: 0755|  owner: root → a"},
		"a file deleted": {modules.Diff{Changes: []modules.Change{modules.Delete("/x", "file"), text("/x", "a\n", "")}}, "--- /x|+++ /dev/null|@@ -1 +0,0 @@|-a"},
		"no line end":    {modules.Diff{Changes: []modules.Change{text("/x", "a", "b")}}, `--- /x|+++ /x|@@ -1 +1 @@|-a|\ No newline at end of file|+b|\ No newline at end of file`},
		"hostile":        {modules.Diff{Changes: []modules.Change{text("/\x1b[2J\nx", "a\n", "\x1b]52;c;eA==\x07\n")}}, `--- /\x1b[2J\nx|+++ /\x1b[2J\nx|@@ -1 +1 @@|-a|+\x1b]52;c;eA==\x07`},
		"not text":       {modules.Diff{Changes: []modules.Change{text("/x", "\xff\xfe", "ab")}}, "/x|  content: 2 bytes → 2 bytes, not text"},
		"too long":       {modules.Diff{Changes: []modules.Change{text("/x", strings.Repeat("a", maxDiffInput), "b")}}, "/x|  content: 524288 bytes → 1 bytes, too long to compare here"},
	} {
		if got := strings.Join(diffLines(c.d), "|"); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// TestTextsWithNothingInCommon is the worst that a host can send.
func TestTextsWithNothingInCommon(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	var sides [2]strings.Builder
	for i := range sides {
		for sides[i].Len() < maxDiffInput/2-20 {
			fmt.Fprintf(&sides[i], "%d\n", rng.Int63())
		}
	}
	start := time.Now()
	got := diffLines(modules.Diff{Changes: []modules.Change{{What: "/x", Before: sides[0].String(), After: sides[1].String(), Text: true}}})
	if len(got) != maxDiffLines+1 || !strings.HasPrefix(got[maxDiffLines], "… ") {
		t.Errorf("%d lines", len(got))
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	t.Log(time.Since(start))
}
