package archive

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/mem"
)

func filled(t *testing.T) *mem.Store {
	t.Helper()
	s := mem.New()
	for i := range 50 {
		put(t, s, fmt.Sprintf("value/s/k\xff%d", i), fmt.Sprint(i, "\x00"), 0)
	}
	put(t, s, "value/s/soon", "x", time.Hour)
	put(t, s, "value/s/empty", "", 0)
	put(t, s, "value/s/big", strings.Repeat("x", state.MaxValue), 0)
	put(t, s, "lock/s/l", "held", time.Hour)
	return s
}

func put(t *testing.T, s state.Store, key, value string, ttl time.Duration) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, []byte(value), ttl, state.Any); err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, from, to state.Store) {
	t.Helper()
	var want, got []state.Entry
	for i, s := range []state.Store{from, to} {
		for e, err := range s.List(t.Context(), "value/") {
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				want = append(want, e)
			} else {
				got = append(got, e)
			}
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if g.Key != w.Key || !bytes.Equal(g.Value, w.Value) || w.Expires.IsZero() != g.Expires.IsZero() || g.Expires.Sub(w.Expires).Abs() > time.Second {
			t.Errorf("%.80q is not %.80q", fmt.Sprint(g), fmt.Sprint(w))
		}
	}
}

func TestBackupAndRestore(t *testing.T) {
	from := filled(t)
	var b bytes.Buffer
	n, err := Write(t.Context(), &b, from, "here")
	if err != nil || n != 53 {
		t.Fatal(n, err)
	}
	info, err := Verify(bytes.NewReader(b.Bytes()))
	if err != nil || info.Entries != 53 || info.From != "here" || time.Since(info.Made) > time.Minute {
		t.Fatalf("%+v, %v", info, err)
	}
	to := mem.New()
	for range 2 { // twice does no harm
		if n, err := Restore(t.Context(), to, bytes.NewReader(b.Bytes()), false); err != nil || n != 53 {
			t.Fatal(n, err)
		}
		same(t, from, to)
	}
	if _, err := to.Get(t.Context(), "lock/s/l"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("a lock was restored: %v", err)
	}
	put(t, to, "value/s/empty", "not any more", 0)
	put(t, to, "value/s/other", "x", 0)
	var differs *DiffersError
	if _, err := Restore(t.Context(), to, bytes.NewReader(b.Bytes()), false); !errors.As(err, &differs) || differs.Key != "value/s/empty" {
		t.Errorf("%v", err)
	}
	if _, err := Restore(t.Context(), to, bytes.NewReader(b.Bytes()), true); err != nil {
		t.Fatal(err)
	}
	same(t, from, to)
}

func TestCopy(t *testing.T) {
	from, to := filled(t), mem.New()
	for range 2 {
		if n, err := Copy(t.Context(), from, to); err != nil || n != 53 {
			t.Fatal(n, err)
		}
		same(t, from, to)
	}
}

// TestDamage damages a backup at every line and in other ways: it is refused
// as a whole.
func TestDamage(t *testing.T) {
	s := mem.New()
	for i := range 5 {
		put(t, s, fmt.Sprint("value/", i), "x", 0)
	}
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, s, ""); err != nil {
		t.Fatal(err)
	}
	whole := b.String()
	lines := strings.SplitAfter(strings.TrimSuffix(whole, "\n"), "\n")
	for i := range lines {
		for how, text := range map[string]string{
			"cut before": strings.Join(lines[:i], ""),
			"gone":       strings.Join(lines[:i], "") + strings.Join(lines[i+1:], ""),
			"twice":      strings.Join(lines[:i+1], "") + "\n" + strings.Join(lines[i:], ""),
			"half":       strings.Join(lines[:i], "") + lines[i][:len(lines[i])/2],
			"changed":    strings.Join(lines[:i], "") + strings.NewReplacer(`"entries":5`, `"entries":6`, "=", "A", `state":1`, `state":0`).Replace(lines[i]) + strings.Join(lines[i+1:], ""),
		} {
			if _, err := Verify(strings.NewReader(text)); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForm) {
				t.Errorf("line %d %s: %v", i, how, err)
			}
		}
	}
	for text, want := range map[string]error{"": ErrForm, "hello\n": ErrForm, "{}\n": ErrForm, "[]\n": ErrForm, whole + "more\n": ErrDamaged} {
		if _, err := Verify(strings.NewReader(text)); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	_, err := Verify(strings.NewReader(`{"sloth_state":2}` + "\n"))
	if err == nil || err.Error() != "it was written by a newer sloth: it has form 2, this one knows up to 1" {
		t.Errorf("%v", err)
	}
}
