package fileops

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

// desk takes files of a host h1 and puts them together.
type desk struct {
	*modulestest.Controller
	mu    sync.Mutex
	calls int
	bytes int
	parts map[string][]byte
	done  map[string]string // by where they are
}

func (c *desk) folder(to modules.Kept) string {
	if to.Flat {
		return filepath.Dir(to.Dest + "x")
	}
	return to.Dest + "/h1"
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func (c *desk) Lacks(_ context.Context, to modules.Kept, files []modules.FileEntry) (modules.Lacking, error) {
	c.calls++
	out := modules.Lacking{Folder: c.folder(to)}
	for i, e := range files {
		if have, ok := c.done[out.Folder+"/"+e.Path]; !ok || hashOf([]byte(have)) != e.Hash {
			out.Files = append(out.Files, i)
		}
	}
	return out, nil
}

func (c *desk) Keep(_ context.Context, to modules.Kept, pieces []modules.Piece) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	for _, p := range pieces {
		name := c.folder(to) + "/" + p.File.Path
		if c.parts[name] == nil {
			c.parts[name] = make([]byte, p.File.Size)
		}
		c.bytes += len(p.Data)
		copy(c.parts[name][p.Offset:], p.Data)
		if p.Done {
			if hashOf(c.parts[name]) != p.File.Hash {
				return fmt.Errorf("%s is another file", name)
			}
			c.done[name] = string(c.parts[name])
			delete(c.parts, name)
		}
	}
	return nil
}

func newDesk() *desk {
	return &desk{parts: map[string][]byte{}, done: map[string]string{}}
}

func TestFetchSendsWhatIsLacking(t *testing.T) {
	dir := t.TempDir()
	big := strings.Repeat("0123456789abcdef", 200_000)
	for i := range 1000 {
		write(t, filepath.Join(dir, fmt.Sprintf("d/%d/%d", i%7, i)), fmt.Sprint("file ", i))
	}
	write(t, filepath.Join(dir, "d/big"), big)
	write(t, filepath.Join(dir, "d/x.log"), "no")
	if err := os.Symlink("/etc/shadow", filepath.Join(dir, "d/link")); err != nil {
		t.Fatal(err)
	}
	c := newDesk()
	m := machine.New()
	warned := 0
	ctx := modules.WithCall(t.Context(), modules.Call{Machine: m, Services: c, Log: func(string, string, map[string]any) { warned++ }})
	run := func() *Fetch {
		f := &Fetch{Src: filepath.Join(dir, "d"), Dest: "got", Exclude: []string{"*.log"}, FailOnMissing: true}
		do(t, ctx, m, f)
		return f
	}
	f := run()
	if len(f.sources) != 1001 || len(c.done) != 1001 || warned != 1 {
		t.Fatalf("%d sent, %d arrived, %d warnings", len(f.sources), len(c.done), warned)
	}
	if got := c.done["got/h1"+dir+"/d/big"]; got != big {
		t.Errorf("the large file has %d bytes", len(got))
	}
	// One question, the small files in batches, the large one in parts and its end.
	if c.calls > 1+3+8 {
		t.Errorf("%d calls", c.calls)
	}
	c.calls, c.bytes = 0, 0
	if f := run(); len(f.sources) != 0 || c.calls != 1 || c.bytes != 0 {
		t.Errorf("again: %d sent, %d calls, %d bytes", len(f.sources), c.calls, c.bytes)
	}
	write(t, filepath.Join(dir, "d/3/3"), "edited")
	if f := run(); len(f.sources) != 1 || c.done["got/h1"+dir+"/d/3/3"] != "edited" {
		t.Errorf("after an edit: %d sent", len(f.sources))
	}
}

// TestFetchArguments: each makes a difference.
func TestFetchArguments(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "f")
	write(t, filepath.Join(dir, "d/a"), "a")
	write(t, filepath.Join(dir, "d/b"), "b")
	m := machine.New()
	outcome := func(f Fetch) string {
		c := newDesk()
		ctx := modules.WithCall(t.Context(), modules.Call{Machine: m, Services: c})
		d, err := f.Check(ctx, m)
		if err == nil {
			err = f.Apply(ctx, m, d)
		}
		return fmt.Sprint(c.done, f.Result(), d, err)
	}
	bases := []Fetch{
		{Src: filepath.Join(dir, "f"), Dest: "got/"},
		{Src: filepath.Join(dir, "d"), Dest: "got/"},
		{Src: filepath.Join(dir, "gone"), Dest: "got/"},
	}
	mattered := map[string]bool{}
	for _, base := range bases {
		for name, change := range map[string]func(*Fetch){
			"Src":           func(f *Fetch) { f.Src = filepath.Join(dir, "d/a") },
			"Dest":          func(f *Fetch) { f.Dest = "elsewhere/" },
			"Flat":          func(f *Fetch) { f.Flat = true },
			"Exclude":       func(f *Fetch) { f.Exclude = []string{"a"} },
			"FailOnMissing": func(f *Fetch) { f.FailOnMissing = true },
		} {
			other := base
			change(&other)
			if outcome(base) != outcome(other) {
				mattered[name] = true
			}
		}
	}
	for i := range reflect.TypeFor[Fetch]().NumField() {
		if field := reflect.TypeFor[Fetch]().Field(i); field.IsExported() && !mattered[field.Name] {
			t.Errorf("%s makes no difference", field.Name)
		}
	}
}

func TestFetchErrors(t *testing.T) {
	m := machine.New()
	dir := t.TempDir()
	ctx := modules.WithCall(t.Context(), modules.Call{Machine: m, Services: newDesk()})
	for want, f := range map[string]*Fetch{
		`src = "/dev/null" is a character device; only files and folders are fetched`: {Src: "/dev/null", Dest: "got"},
		`src = "` + dir + `" is a folder; flat is for one file`:                       {Src: dir, Dest: "got/", Flat: true},
		"stat " + dir + "/gone: no such file or directory":                            {Src: dir + "/gone", Dest: "got", FailOnMissing: true},
	} {
		if _, err := f.Check(ctx, m); err == nil || err.Error() != want {
			t.Errorf("%v\nwanted %s", err, want)
		}
	}
	f := &Fetch{Src: "/etc/hostname", Dest: "got"}
	if _, err := f.Check(t.Context(), m); err == nil || err.Error() != `dest = "got": there is no controller here to send files to` {
		t.Error(err)
	}
}
