package fileops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

func site(files int) *modulestest.Controller {
	c := &modulestest.Controller{Files: map[string]string{}}
	for i := range files {
		c.Files[fmt.Sprintf("site/%02d/%02d/%d.txt", i%10, i%7, i)] = fmt.Sprintf("file %d\n", i)
	}
	return c
}

// TestSyncSendsOnlyWhatDiffers counts what is asked of the controller.
func TestSyncSendsOnlyWhatDiffers(t *testing.T) {
	c := &counting{Controller: site(300)}
	m := machine.New()
	ctx := modules.WithCall(context.Background(), modules.Call{Machine: m, Services: c})
	dest := filepath.Join(t.TempDir(), "www")
	sync := func() (changes, files int) {
		t.Helper()
		c.files.Store(0)
		s := &Sync{Src: "site", Dest: dest}
		d, err := s.Check(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if n := c.files.Load(); n != 0 {
			t.Errorf("the check read %d files", n)
		}
		if err := s.Apply(ctx, m, d); err != nil {
			t.Fatal(err)
		}
		return len(d.Changes), int(c.files.Load())
	}
	if _, files := sync(); files != 300 {
		t.Errorf("the first run read %d files", files)
	}
	if changes, files := sync(); changes != 0 || files != 0 {
		t.Errorf("the second run: %d changes, %d files read", changes, files)
	}
	if err := os.WriteFile(filepath.Join(dest, "00/00/0.txt"), []byte("FILE 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if changes, files := sync(); changes != 1 || files != 1 {
		t.Errorf("after an edit: %d changes, %d files read", changes, files)
	}
}

// TestSyncOfAThousandFilesIsTwoRoundTrips: the manifest, and one stream. Cut in
// the middle, the next run asks for the rest only.
func TestSyncOfAThousandFilesIsTwoRoundTrips(t *testing.T) {
	c := &batching{Controller: site(1000), cut: 400}
	c.Links = map[string]string{"site/current": "00"}
	m := machine.New()
	ctx := modules.WithCall(context.Background(), modules.Call{Machine: m, Services: c})
	dest := filepath.Join(t.TempDir(), "www")
	run := func() (sent int, err error) {
		s := &Sync{Src: "site", Dest: dest, Delete: true, Exclude: []string{"*.bak"}, Mode: "0600"}
		d, err := s.Check(ctx, m)
		if err == nil {
			err = s.Apply(ctx, m, d)
		}
		return s.sent, err
	}
	if _, err := run(); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	c.cut = 0
	if sent, err := run(); err != nil || sent != 600 || c.files != 1000 {
		t.Errorf("after the break %d files were sent, %d in all: %v", sent, c.files, err)
	}
	if c.lists != 2 || c.streams != 2 {
		t.Errorf("two runs: %d manifests, %d streams", c.lists, c.streams)
	}
	write(t, filepath.Join(dest, "surplus"), "x")
	write(t, filepath.Join(dest, "mine.bak"), "x")
	if sent, err := run(); err != nil || sent != 0 || c.streams != 2 || c.lists != 3 {
		t.Errorf("the same again: %d sent, %d streams, %v", sent, c.streams, err)
	}
	if _, err := os.Lstat(filepath.Join(dest, "surplus")); err == nil {
		t.Error("what is surplus stayed")
	}
	if _, err := os.Lstat(filepath.Join(dest, "mine.bak")); err != nil {
		t.Error("what is excluded went")
	}
	for i := range 1000 {
		path := filepath.Join(dest, fmt.Sprintf("%02d/%02d/%d.txt", i%10, i%7, i))
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Fatal(path, st, err)
		}
	}
}

// TestSyncOfAFileThatChangesMeanwhile does not write what nobody checked.
func TestSyncOfAFileThatChangesMeanwhile(t *testing.T) {
	c := &batching{Controller: site(3)}
	m := machine.New()
	ctx := modules.WithCall(context.Background(), modules.Call{Machine: m, Services: c})
	s := &Sync{Src: "site", Dest: filepath.Join(t.TempDir(), "www")}
	d, err := s.Check(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	c.Controller.Files["site/01/01/1.txt"] = "another"
	if err := s.Apply(ctx, m, d); err == nil || err.Error() != `src = "site": 01/01/1.txt changed since it was listed; run it again` {
		t.Error(err)
	}
}

// TestSyncDoesNotTrustTheManifest: a name that leads out of dest is refused.
func TestSyncDoesNotTrustTheManifest(t *testing.T) {
	m := machine.New()
	for _, name := range []string{"../outside", "/etc/outside", "a/../../outside"} {
		ctx := modules.WithCall(context.Background(), modules.Call{Machine: m, Services: lying{name: name}})
		s := &Sync{Src: "site", Dest: filepath.Join(t.TempDir(), "www")}
		if _, err := s.Check(ctx, m); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// TestSyncStopsAtAShortFile: the content is checked against
// the manifest's size.
func TestSyncStopsAtAShortFile(t *testing.T) {
	m := machine.New()
	c := &short{Controller: site(40)}
	ctx := modules.WithCall(context.Background(), modules.Call{Machine: m, Services: c})
	dest := filepath.Join(t.TempDir(), "www")
	s := &Sync{Src: "site", Dest: dest}
	d, err := s.Check(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(ctx, m, d); err == nil {
		t.Error("short files were taken")
	}
	err = filepath.WalkDir(dest, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			t.Errorf("%s is there", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func BenchmarkSync1000(b *testing.B) {
	c := site(1000)
	m := machine.New()
	ctx := modules.WithCall(context.Background(), modules.Call{Machine: m, Services: c})
	for _, kind := range []string{"new", "same"} {
		b.Run(kind, func(b *testing.B) {
			dest := filepath.Join(b.TempDir(), "www")
			for i := 0; b.Loop(); i++ {
				to := dest
				if kind == "new" {
					to = fmt.Sprint(dest, i)
				}
				s := &Sync{Src: "site", Dest: to}
				d, err := s.Check(ctx, m)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Apply(ctx, m, d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
