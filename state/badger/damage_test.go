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

// TestReadDamaged is not a test of its own: it reads a store that another test
// damaged, in a process that may die of it.
func TestReadDamaged(t *testing.T) {
	dir := os.Getenv(envDamaged)
	if dir == "" {
		t.Skip("only run by other tests, in a process of its own")
	}
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
		fmt.Printf("close: %v\n", err)
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
		for i := range 40 {
			key := fmt.Sprintf("key-%d-%d", round, i)
			put(t, s, key, string(valueOf(key)))
		}
		if round < 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		// As kill -9 leaves it.
		kept := dir + ".copy"
		if err := os.CopyFS(kept, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return kept
	}
	return ""
}

// TestDamage damages each file in several ways. Whatever was done, the store
// is refused with its path or gives what was written; it never brings the
// process down, and never forgets what is in a table.
func TestDamage(t *testing.T) {
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
	for _, n := range names {
		for how, damage := range damages {
			t.Run(n.Name()+"/"+how, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "store")
				if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, n.Name())
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case damage == nil:
					err = os.Remove(path)
				case len(b) > 0:
					err = os.WriteFile(path, damage(b), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				c := exec.CommandContext(t.Context(), exe, "-test.run=^TestReadDamaged$", "-test.v")
				c.Env = append(os.Environ(), envDamaged+"="+dir, "GORACE=atexit_sleep_ms=0") // the race detector sleeps for a second otherwise
				out, err := c.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				_, said, _ := strings.Cut(string(out), "=== RUN   TestReadDamaged\n")
				var read int
				_, err = fmt.Sscanf(said, "read: %d", &read)
				switch refused := strings.HasPrefix(said, "refused: state "+dir+" is damaged: "); {
				case refused:
				case err != nil:
					t.Errorf("%s", said)
				case read != 120 && filepath.Ext(n.Name()) != ".mem":
					// A log that ends early looks as kill -9 leaves it.
					t.Errorf("%d of 120 values are left", read)
				case read < 80:
					t.Errorf("%d of 120 values are left, 80 of them were in tables", read)
				}
			})
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
	if want := fmt.Sprintf("To start with an empty state, move it away: mv %s %s.damaged. Or put a backup in its place.", dir, dir); damaged.Hint() != want {
		t.Errorf("%s", damaged.Hint())
	}
	if _, err := os.Stat(filepath.Join(dir, "000001.sst")); err != nil {
		t.Errorf("the content was not left alone: %v", err)
	}
}

func TestNewerStore(t *testing.T) {
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
