package modulestest

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// tree is a folder as it was seen: path -> what is there.
type tree map[string]node

type node struct {
	kind    string // file, folder, link, other
	mode    fs.FileMode
	content string // or a link's target
	uid     uint32
	gid     uint32
	stamp   string // inode and times: nobody may even touch it
}

// look reads a whole folder.
func look(t *testing.T, root string) tree {
	t.Helper()
	out := tree{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		n := node{mode: st.Mode(), kind: "other"}
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			n.uid, n.gid = sys.Uid, sys.Gid
			n.stamp = fmt.Sprint(sys.Ino, sys.Size, st.ModTime().UnixNano(), changeTime(sys))
		}
		switch {
		case d.IsDir():
			n.kind = "folder"
		case st.Mode()&fs.ModeSymlink != 0:
			n.kind = "link"
			n.content, err = os.Readlink(path)
		case st.Mode().IsRegular():
			n.kind = "file"
			var data []byte
			data, err = os.ReadFile(path)
			n.content = string(data)
		}
		rel, _ := filepath.Rel(root, path)
		out[backupName.ReplaceAllString(rel, ".TIME~")] = n
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// same compares everything that can be seen, down to inodes and change times.
func (a tree) same(b tree) (difference string) {
	return a.compare(b, func(x, y node) bool { return x == y })
}

// alike compares what counts: kind, content, mode and owner.
func (a tree) alike(b tree) (difference string) {
	return a.compare(b, func(x, y node) bool { x.stamp, y.stamp = "", ""; return x == y })
}

func (a tree) compare(b tree, equal func(x, y node) bool) string {
	var out []string
	for p, x := range a {
		y, ok := b[p]
		switch {
		case !ok:
			out = append(out, p+" is gone")
		case !equal(x, y):
			out = append(out, fmt.Sprintf("%s was %s, is %s", p, x, y))
		}
	}
	for p := range b {
		if _, ok := a[p]; !ok {
			out = append(out, p+" is new")
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (n node) String() string {
	text := n.content
	if len(text) > 200 {
		text = fmt.Sprintf("%d bytes, %x", len(text), sha256.Sum256([]byte(text)))
	}
	return fmt.Sprintf("%s %s %d:%d %q (%s)", n.kind, n.mode, n.uid, n.gid, text, n.stamp)
}

// text is a tree without what changes from run to run.
func (a tree) text() string {
	var out []string
	for p, n := range a {
		n.stamp = ""
		out = append(out, p+" "+n.String())
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
