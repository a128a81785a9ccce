package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sloth-runner/sloth/state"
)

const (
	envDamaged = "SLOTH_BADGER_DAMAGED"
	envReopen  = "SLOTH_BADGER_REOPEN"
)

// TestReadDamaged is not a test of its own: it reads stores that another test
// damaged, in a process that may die of it.
func TestReadDamaged(t *testing.T) {
	dirs := os.Getenv(envDamaged)
	if dirs == "" {
		t.Skip("only run by other tests, in a process of its own")
	}
	for _, dir := range filepath.SplitList(dirs) {
		fmt.Println(dir)
		readDamaged(t, dir)
	}
}

func readDamaged(t *testing.T, dir string) {
	s := New(Options{Dir: dir})
	n := 0
	for e, err := range s.List(context.Background(), "") {
		if err != nil {
			fmt.Printf("refused: %v\n", err)
			return
		}
		if !bytes.Equal(e.Value, valueOf(e.Key)) {
			t.Errorf("%s holds something else than was written", e.Key)
		}
		n++
	}
	fmt.Printf("read: %d\n", n)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func valueOf(key string) []byte { return bytes.Repeat([]byte(key+" "), 200) }

// damagedStore is a store with everything in it: tables, a log that is not yet
// a table, and a large value.
func damagedStore(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	for round := range 3 {
		s := New(Options{Dir: dir})
		if _, err := s.enter(t.Context()); err != nil { // stays open on a slow machine too
			t.Fatal(err)
		}
		for i := range 40 {
			key := fmt.Sprintf("key-%d-%d", round, i)
			put(t, s, key, string(valueOf(key)))
		}
		if round < 2 {
			s.leave()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		// As kill -9 leaves it.
		kept := dir + ".copy"
		if err := errors.Join(os.CopyFS(kept, os.DirFS(dir)), os.Chmod(kept, 0o700)); err != nil {
			t.Fatal(err)
		}
		s.leave()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		// The empty ends of logs only take time to copy.
		for _, name := range []string{"*.mem", "*.vlog", "DISCARD"} {
			files, err := filepath.Glob(filepath.Join(kept, name))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				if err := os.Truncate(f, 256<<10); err != nil {
					t.Fatal(err)
				}
			}
		}
		return kept
	}
	return ""
}

// TestFault10Damage damages each file in several ways. Whatever was done, the store
// is refused with its path or gives what was written; it never brings the
// process down, and never forgets what is in a table.
func TestFault10Damage(t *testing.T) {
	whole := damagedStore(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(whole)
	if err != nil {
		t.Fatal(err)
	}
	damages := map[string]func(b []byte) []byte{
		"cut":    func(b []byte) []byte { return b[:len(b)/2] },
		"empty":  func([]byte) []byte { return nil },
		"flip":   func(b []byte) []byte { b[min(len(b)/3, 3000)] ^= 0x55; return b },
		"head":   func(b []byte) []byte { b[0] ^= 0xff; return b },
		"tail":   func(b []byte) []byte { b[len(b)-1] ^= 0xff; return b },
		"zeroed": func(b []byte) []byte { return make([]byte, len(b)) },
		"gone":   nil,
	}
	var dirs []string
	for _, n := range names {
		for how, damage := range damages {
			dir := filepath.Join(t.TempDir(), n.Name()+"-"+how)
			if err := errors.Join(os.CopyFS(dir, os.DirFS(whole)), os.Chmod(dir, 0o700)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, n.Name())
			b, err := os.ReadFile(path)
			switch {
			case err != nil:
			case damage == nil:
				err = os.Remove(path)
			case len(b) > 0:
				err = os.WriteFile(path, damage(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			dirs = append(dirs, dir)
		}
	}
	c := exec.CommandContext(t.Context(), exe, "-test.run=^TestReadDamaged$", "-test.v")
	c.Env = append(os.Environ(), envDamaged+"="+strings.Join(dirs, string(filepath.ListSeparator)))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rest := string(out)
	for _, dir := range dirs {
		var said string
		_, said, _ = strings.Cut(rest, dir+"\n")
		name := filepath.Base(dir)
		var read int
		_, err := fmt.Sscanf(said, "read: %d", &read)
		switch {
		case strings.HasPrefix(said, "refused: state "+dir+" is damaged: "):
		case err != nil:
			t.Errorf("%s: %.300s", name, said)
		case read < 80, read != 120 && !strings.Contains(name, ".mem-"):
			// Only a log may end early, as kill -9 leaves it.
			t.Errorf("%s: %d of 120 values are left", name, read)
		}
	}
}

func TestWhatTheErrorSays(t *testing.T) {
	dir := damagedStore(t)
	if err := os.Remove(filepath.Join(dir, "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	_, err := New(Options{Dir: dir}).Get(t.Context(), "key-0-0")
	var damaged *DamagedError
	if !errors.As(err, &damaged) || err.Error() != "state "+dir+" is damaged: its MANIFEST is missing" {
		t.Errorf("%v", err)
	}
	if want := "To keep what can still be read: sloth state doctor --repair. It moves the damaged folder aside; a backup is put back with sloth state restore."; damaged.Hint() != want {
		t.Errorf("%s", damaged.Hint())
	}
	if _, err := os.Stat(filepath.Join(dir, "000001.sst")); err != nil {
		t.Errorf("the content was not left alone: %v", err)
	}
}

func TestFault10NewerStore(t *testing.T) {
	s := newStore(t, Options{})
	put(t, s, "a", "1")
	if err := s.use(t.Context(), func(db *badger.DB) error { return writeNumber(db, keyIs, schema+1) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := New(s.opt).Get(t.Context(), "a")
	var newer *NewerError
	want := "state " + s.opt.Dir + " was written by a newer sloth: it has schema 2, this one knows up to 1"
	if !errors.As(err, &newer) || err.Error() != want || newer.Hint() == "" {
		t.Errorf("%v; want %s", err, want)
	}
}

// TestKilledWhileOpening kills a process that opens and closes all the time,
// which is when most files are made and removed.
func TestKilledWhileOpening(t *testing.T) {
	dir := os.Getenv(envReopen)
	if dir != "" {
		for i := 0; ; i++ {
			s := New(Options{Dir: dir})
			put(t, s, "n", fmt.Sprint(i))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "store")
	for round := range 8 {
		c := exec.CommandContext(t.Context(), exe, "-test.run=^TestKilledWhileOpening$")
		c.Env = append(os.Environ(), envReopen+"="+dir)
		var out bytes.Buffer
		c.Stdout = &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(30+rand.IntN(120))*time.Millisecond, func() { _ = c.Process.Kill() })
		err := c.Wait()
		timer.Stop()
		if c.ProcessState.Exited() {
			t.Fatalf("round %d: it ended by itself: %v\n%s", round, err, out.String())
		}
		s := New(Options{Dir: dir})
		if _, err := s.Put(t.Context(), "mine", []byte("x"), 0, state.Any); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := s.Close(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}
