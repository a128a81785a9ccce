package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/badger"
	"github.com/sloth-runner/sloth/state/mem"
)

func fill(t *testing.T, l *Log, store state.Store, n int) []byte {
	t.Helper()
	for i := range n {
		p, err := l.Append(t.Context(), Entry{Who: "ann@laptop", Action: "run ended", Run: fmt.Sprintf("r%d", i), Outcome: "Success"})
		if err == nil {
			err = l.Seal(t.Context(), store, p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(l.Path())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestEntriesFollowEachOther(t *testing.T) {
	for name, store := range map[string]state.Store{"mem": mem.New(), "badger": badger.New(badger.Options{Dir: t.TempDir()})} {
		t.Run(name, func(t *testing.T) {
			defer store.Close()
			l := New(filepath.Join(t.TempDir(), "sub", "audit.log"))
			if r, err := l.Verify(t.Context(), store); err != nil || r.Entries != 0 {
				t.Fatalf("%+v %v", r, err)
			}
			fill(t, l, store, 5)
			r, err := l.Verify(t.Context(), store)
			if err != nil || r.Entries != 5 || r.Anchored != 5 {
				t.Errorf("%+v %v", r, err)
			}
			st, err := os.Stat(l.Path())
			if err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("%v %v", st.Mode(), err)
			}
			var runs []string
			if _, err := l.Read(t.Context(), func(e Entry) error { runs = append(runs, e.Run); return nil }); err != nil || strings.Join(runs, " ") != "r0 r1 r2 r3 r4" {
				t.Error(runs, err)
			}
		})
	}
}

// Whatever is done to the file is found: bytes changed, each line removed,
// doubled, swapped, and the file cut anywhere.
func TestChangesAreFound(t *testing.T) {
	store := mem.New()
	defer store.Close()
	l := New(filepath.Join(t.TempDir(), "audit.log"))
	whole := fill(t, l, store, 6)
	try := func(what string, text []byte) {
		t.Helper()
		if err := os.WriteFile(l.Path(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := l.Verify(t.Context(), store)
		var damage *DamageError
		if !errors.As(err, &damage) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for i := 0; i < len(whole); i += 3 {
		b := bytes.Clone(whole)
		b[i] ^= 1
		try(fmt.Sprintf("byte %d changed", i), b)
		try(fmt.Sprintf("cut at %d", i), whole[:i])
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	lines = lines[:len(lines)-1]
	join := func(parts ...[][]byte) []byte {
		var b []byte
		for _, p := range parts {
			b = append(b, bytes.Join(p, nil)...)
		}
		return b
	}
	for i := range lines {
		try(fmt.Sprintf("line %d removed", i+1), join(lines[:i], lines[i+1:]))
		try(fmt.Sprintf("line %d doubled", i+1), join(lines[:i+1], lines[i:]))
		if i > 0 {
			try(fmt.Sprintf("line %d swapped", i+1), join(lines[:i-1], [][]byte{lines[i], lines[i-1]}, lines[i+1:]))
		}
	}
	if err := os.WriteFile(l.Path(), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Verify(t.Context(), store); err != nil {
		t.Fatal(err)
	}

	// Entries added to a log that was cut do not hide it.
	if err := os.WriteFile(l.Path(), join(lines[:3]), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		p, err := l.Append(t.Context(), Entry{Action: "exec"})
		if err != nil {
			t.Fatal(err)
		}
		var damage *DamageError
		if err := l.Seal(t.Context(), store, p); !errors.As(err, &damage) || !strings.Contains(err.Error(), "entry 6, which was there at ") {
			t.Fatal(err)
		}
	}
	_, err := l.Verify(t.Context(), store)
	var damage *DamageError
	if !errors.As(err, &damage) {
		t.Error(err)
	}
	// Nor does another log in its place.
	if err := os.Remove(l.Path()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Verify(t.Context(), store); !errors.As(err, &damage) {
		t.Error(err)
	}
}

// An entry that a dying process did not write to its end is none, and those
// behind it are as good as others.
func TestTornEntries(t *testing.T) {
	store := mem.New()
	defer store.Close()
	l := New(filepath.Join(t.TempDir(), "audit.log"))
	whole := fill(t, l, store, 2)
	first := bytes.IndexByte(whole, '\n')
	for cut := 0; cut < first-1; cut += 7 {
		torn := append(bytes.Clone(whole), whole[:cut+1]...)
		if err := os.WriteFile(l.Path(), torn, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := l.Verify(t.Context(), store); err != nil || r.Entries != 2 {
			t.Fatalf("torn after %d bytes: %+v %v", cut+1, r, err)
		}
		if _, err := l.Append(t.Context(), Entry{Action: "exec"}); err != nil {
			t.Fatal(err)
		}
		if r, err := l.Verify(t.Context(), store); err != nil || r.Entries != 3 {
			t.Fatalf("torn after %d bytes: %+v %v", cut+1, r, err)
		}
		text, err := os.ReadFile(l.Path())
		if err != nil {
			t.Fatal(err)
		}
		text[len(whole)] ^= 1 // in the torn line
		if err := os.WriteFile(l.Path(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Verify(t.Context(), store); err == nil {
			t.Fatal("a changed line was not found")
		}
	}
}

func TestManyWriters(t *testing.T) {
	store := mem.New()
	defer store.Close()
	path := filepath.Join(t.TempDir(), "audit.log")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			l := New(path)
			for range 10 {
				p, err := l.Append(t.Context(), Entry{Action: "exec"})
				if err == nil {
					err = l.Seal(t.Context(), store, p)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if r, err := New(path).Verify(t.Context(), store); err != nil || r.Entries != 80 || r.Anchored != 80 {
		t.Errorf("%+v %v", r, err)
	}
}

func TestOpenToOthers(t *testing.T) {
	l := New(filepath.Join(t.TempDir(), "audit.log"))
	if err := os.WriteFile(l.Path(), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(l.Path(), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := l.Append(t.Context(), Entry{})
	if err == nil || err.Error() != fmt.Sprintf("write the audit log: %s is open to other users (mode 0644); close it: chmod 600 %s", l.Path(), l.Path()) {
		t.Error(err)
	}
	target := filepath.Join(t.TempDir(), "target")
	link := filepath.Join(t.TempDir(), "audit.log")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := New(link).Append(t.Context(), Entry{}); err == nil {
		t.Error("a link was followed")
	}
}
