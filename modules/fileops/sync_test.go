package fileops

import (
	"context"
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
