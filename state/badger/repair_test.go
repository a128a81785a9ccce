package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// read returns what a store holds after it was checked value by value.
func read(t *testing.T, s *Store) (keys []string) {
	t.Helper()
	for e, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Value) != string(valueOf(e.Key)) {
			t.Errorf("%s holds something else than was written", e.Key)
		}
		keys = append(keys, e.Key)
	}
	return keys
}

// TestRepair damages a store in several ways. What is in the other files is
// kept; what was damaged is put aside as it was.
func TestRepair(t *testing.T) {
	whole := damagedStore(t)
	tables, err := filepath.Glob(filepath.Join(whole, "*.sst"))
	if err != nil || len(tables) < 2 {
		t.Fatal(tables, err)
	}
	table := filepath.Base(tables[0])
	for _, c := range []struct {
		name, file string
		damage     func(b []byte) []byte
		keep       int // of 120
		unread     string
	}{
		{"nothing", "", nil, 120, ""},
		{"no manifest", "MANIFEST", nil, 120, "MANIFEST"},
		{"a table", table, func(b []byte) []byte { b[len(b)/3] ^= 1; return b }, 80, table + " (the checksum of its content is wrong)"},
		{"a cut table", table, func(b []byte) []byte { return b[:len(b)/2] }, 80, table + " ("},
		{"a manifest of zeros", "MANIFEST", func(b []byte) []byte { return make([]byte, len(b)) }, 120, "MANIFEST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			if err := errors.Join(os.CopyFS(dir, os.DirFS(whole)), os.Chmod(dir, 0o700)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, c.file)
			switch {
			case c.file == "":
			case c.damage == nil:
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			default:
				b, err := os.ReadFile(path)
				if err == nil {
					err = os.WriteFile(path, c.damage(b), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			r, err := Repair(t.Context(), Options{Dir: dir})
			if err != nil || r.Kept != c.keep || (c.unread == "") != (len(r.Unread) == 0) || c.unread != "" && !strings.HasPrefix(r.Unread[0], c.unread) {
				t.Fatalf("%+v, %v", r, err)
			}
			s := newStore(t, Options{Dir: dir})
			if keys := read(t, s); len(keys) != c.keep {
				t.Errorf("%d keys", len(keys))
			}
			r2, err := s.Put(t.Context(), "new", []byte("x"), 0, 0)
			if err != nil || r2 < 40 {
				t.Errorf("revision %d, %v", r2, err)
			}
			left, err := os.ReadDir(filepath.Dir(dir))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, n := range left {
				names = append(names, n.Name())
			}
			if want := []string{"store", filepath.Base(r.Aside), "store.lock"}; !slices.Equal(names, want) {
				t.Errorf("%q is left, want %q", names, want)
			}
		})
	}
}

// TestRepairKeepsLivesAndDeletions: what was deleted stays so, what expires
// still does.
func TestRepairKeepsLivesAndDeletions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	for round := range 3 { // each leaves a table
		s := New(Options{Dir: dir})
		put(t, s, "kept", fmt.Sprint(round))
		put(t, s, fmt.Sprint("gone", round), "x")
		if _, err := s.Put(t.Context(), "expires", nil, time.Hour, state.Any); err != nil {
			t.Fatal(err)
		}
		if round > 0 {
			if err := s.Delete(t.Context(), fmt.Sprint("gone", round-1), state.Any); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := Repair(t.Context(), Options{Dir: dir}); err != nil || r.Kept != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	s := newStore(t, Options{Dir: dir})
	if e, err := s.Get(t.Context(), "kept"); err != nil || string(e.Value) != "2" {
		t.Errorf("%q, %v", e.Value, err)
	}
	if e, err := s.Get(t.Context(), "expires"); err != nil || time.Until(e.Expires) < 59*time.Minute {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := s.Get(t.Context(), "gone1"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
