package fileops

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

// desk counts what it is asked and sent.
type desk struct {
	*modulestest.Controller
	mu    sync.Mutex
	calls int
	bytes int
}

func newDesk() *desk { return &desk{Controller: &modulestest.Controller{}} }

func (c *desk) Lacks(ctx context.Context, to modules.Kept, files []modules.FileEntry) (modules.Lacking, error) {
	c.mu.Lock()
	c.calls++
	c.mu.Unlock()
	return c.Controller.Lacks(ctx, to, files)
}

func (c *desk) Keep(ctx context.Context, to modules.Kept, pieces []modules.Piece) error {
	c.mu.Lock()
	c.calls++
	for _, p := range pieces {
		c.bytes += len(p.Data)
	}
	c.mu.Unlock()
	return c.Controller.Keep(ctx, to, pieces)
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
	if len(f.sources) != 1001 || len(c.Kept) != 1001 || warned != 1 {
		t.Fatalf("%d sent, %d arrived, %d warnings", len(f.sources), len(c.Kept), warned)
	}
	if got := c.Kept["got/host"+dir+"/d/big"]; got != big {
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
	if f := run(); len(f.sources) != 1 || c.Kept["got/host"+dir+"/d/3/3"] != "edited" {
		t.Errorf("after an edit: %d sent", len(f.sources))
	}
}

func TestFetchErrors(t *testing.T) {
	m := machine.New()
	dir := t.TempDir()
	ctx := modules.WithCall(t.Context(), modules.Call{Machine: m, Services: newDesk()})
	for want, f := range map[string]*Fetch{
		`src = "/dev/null" is a character device; only files and folders are fetched`:                   {Src: "/dev/null", Dest: "got"},
		`src = "` + dir + `" is a folder; flat is for one file`:                                         {Src: dir, Dest: "got/", Flat: true},
		`src = "` + dir + `/gone" does not exist; say fail_on_missing = false if that is nothing to do`: {Src: dir + "/gone", Dest: "got", FailOnMissing: true},
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
