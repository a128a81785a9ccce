package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
)

// keeper is what host h1 can ask for, with these words in its functions.
func keeper(t *testing.T, host string, words ...string) (*services, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := openFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.close() })
	names := map[string]bool{}
	for _, w := range words {
		names[w] = true
	}
	r := &Runner{root: root, sent: map[string]*sentTo{host: {chunks: map[string]bool{}, names: names}}}
	return &services{r: r, host: host}, dir
}

func entry(name, text string) modules.FileEntry {
	sum := sha256.Sum256([]byte(text))
	return modules.FileEntry{Path: name, Size: int64(len(text)), Hash: hex.EncodeToString(sum[:])}
}

func whole(name, text string) []modules.Piece {
	return []modules.Piece{{File: entry(name, text), Data: []byte(text), Done: true}}
}

func TestKeptFilesAreWholeAndPrivate(t *testing.T) {
	s, dir := keeper(t, "h1", "got")
	ctx := t.Context()
	to := modules.Kept{Dest: "got"}
	text := strings.Repeat("0123456789", 1000)
	e := entry("etc/deep/f", text)
	if l, err := s.Lacks(ctx, to, []modules.FileEntry{e}); err != nil || len(l.Files) != 1 || l.Folder != "got/h1" {
		t.Fatal(l, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "got")); err == nil {
		t.Error("asking made a folder")
	}
	// Parts in any order; until the end there is no file.
	for _, at := range []int64{5000, 0} {
		if err := s.Keep(ctx, to, []modules.Piece{{File: e, Offset: at, Data: []byte(text[at : at+5000])}}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "got/h1/etc/deep/f")
	if _, err := os.Lstat(path); err == nil {
		t.Error("half a file is there")
	}
	if err := s.Keep(ctx, to, []modules.Piece{{File: e, Offset: e.Size, Done: true}}); err != nil {
		t.Fatal(err)
	}
	if l, err := s.Lacks(ctx, to, []modules.FileEntry{e, entry("x", "")}); err != nil || len(l.Files) != 1 || l.Files[0] != 1 {
		t.Error(l, err)
	}
	st, err := os.Stat(path)
	up, errUp := os.Stat(filepath.Dir(path))
	if err != nil || errUp != nil || st.Mode().Perm() != 0o600 || up.Mode().Perm() != 0o700 {
		t.Error(st, up, err, errUp)
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 1 {
		t.Error(list, err)
	}
}

// TestFault39AHostileHostStaysInItsFolder: whatever it answers.
func TestFault39AHostileHostStaysInItsFolder(t *testing.T) {
	s, dir := keeper(t, "h1", "got", "flat/", "/var/log/syslog", "one/file", ".", "site.sloth", "..")
	if err := os.WriteFile(filepath.Join(dir, "site.sloth"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "got/h1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "got/h1/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "site.sloth"), filepath.Join(dir, "got/h1/file")); err != nil {
		t.Fatal(err)
	}
	huge := entry("x", "x")
	huge.Size = 1 << 50
	negative := entry("x", "x")
	negative.Size = -1
	for name, c := range map[string]struct {
		to   modules.Kept
		p    modules.Piece
		want string
	}{
		"up":               {modules.Kept{Dest: "got"}, whole("../h2/x", "x")[0], `"../h2/x" is no name below got/h1`},
		"up inside":        {modules.Kept{Dest: "got"}, whole("a/../../x", "x")[0], "is no name below"},
		"absolute":         {modules.Kept{Dest: "got"}, whole("/etc/passwd", "x")[0], "is no name below"},
		"the folder":       {modules.Kept{Dest: "got"}, whole(".", "x")[0], "is no name below"},
		"zero byte":        {modules.Kept{Dest: "got"}, whole("a\x00b", "x")[0], "is no name below"},
		"through a link":   {modules.Kept{Dest: "got"}, whole("link/x", "x")[0], "path escapes from parent"},
		"another dest":     {modules.Kept{Dest: "lib"}, whole("x", "x")[0], `dest = "lib" stands in no function sent to h1`},
		"dest outside":     {modules.Kept{Dest: ".."}, whole("x", "x")[0], "is not below the script's folder"},
		"the script's own": {modules.Kept{Dest: "."}, whole("x", "x")[0], "dest is the script's own folder"},
		"flat, the script": {modules.Kept{Dest: "site.sloth", Flat: true}, whole("site.sloth", "x")[0], "dest is in the script's own folder"},
		"flat, other name": {modules.Kept{Dest: "flat/", Flat: true, Src: "/var/log/syslog"}, whole("evil.lua", "x")[0], `"evil.lua" is not syslog`},
		"flat, other src":  {modules.Kept{Dest: "flat/", Flat: true, Src: "/tmp/evil.lua"}, whole("evil.lua", "x")[0], `src = "/tmp/evil.lua" stands in no function sent to h1`},
		"flat, other file": {modules.Kept{Dest: "one/file", Flat: true}, whole("evil.lua", "x")[0], `"evil.lua" is not file`},
		"another hash":     {modules.Kept{Dest: "got"}, modules.Piece{File: entry("x", "x"), Data: []byte("y"), Done: true}, "it changed while it was being sent"},
		"beyond its size":  {modules.Kept{Dest: "got"}, modules.Piece{File: entry("x", "x"), Offset: 1 << 40, Data: []byte("x")}, "is not within its 1 bytes"},
		"before its start": {modules.Kept{Dest: "got"}, modules.Piece{File: entry("x", "x"), Offset: -1, Data: []byte("x")}, "is not within its 1 bytes"},
		"huge":             {modules.Kept{Dest: "got"}, modules.Piece{File: huge, Data: []byte("x")}, "at most 8 GB are taken"},
		"negative":         {modules.Kept{Dest: "got"}, modules.Piece{File: negative, Done: true}, "at most 8 GB are taken"},
	} {
		err := s.Keep(t.Context(), c.to, []modules.Piece{c.p})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A link where a file should be is replaced, not written through.
	if err := s.Keep(t.Context(), modules.Kept{Dest: "got"}, whole("file", "theirs")); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "site.sloth")); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	if list, err := os.ReadDir(filepath.Join(dir, "got")); err != nil || len(list) != 1 {
		t.Error(list, err)
	}
	if list, err := os.ReadDir(filepath.Join(dir, "got/h1")); err != nil || len(list) != 2 {
		t.Error(list, err)
	}
}

func TestFault39AHostHasAShareOfTheDisk(t *testing.T) {
	var k keeping
	if err := k.spend("h1", maxKeptBytes, 1); err != nil {
		t.Error(err)
	}
	if err := k.spend("h2", 1, 1); err != nil {
		t.Error(err)
	}
	if err := k.spend("h1", 1, 0); err == nil || !strings.Contains(err.Error(), "h1 has sent more than 100000 files or 32 GB in this run") {
		t.Error(err)
	}
}

func TestHostsWithOddNamesKeepToOneFolder(t *testing.T) {
	s, dir := keeper(t, "../evil/host", "got")
	if err := s.Keep(context.Background(), modules.Kept{Dest: "got"}, whole("f", "x")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "got/..%2Fevil%2Fhost/f")); err != nil {
		t.Error(err)
	}
	s, _ = keeper(t, "..", "got")
	if err := s.Keep(context.Background(), modules.Kept{Dest: "got"}, whole("f", "x")); err == nil {
		t.Error("a host named .. has a folder")
	}
}
