package filelock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestOneHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if held, err := Held(path, Exclusive); held || err != nil {
		t.Fatalf("a file that is not there: %v, %v", held, err)
	}
	f, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path); !errors.Is(err, ErrHeld) {
		t.Errorf("the second: %v", err)
	}
	if held, err := Held(path, Shared); !held || err != nil {
		t.Errorf("a held file: %v, %v", held, err)
	}
	f.Close()
	if held, err := Held(path, Exclusive); held || err != nil {
		t.Errorf("a free file: %v, %v", held, err)
	}
}

func TestSharing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for range 2 {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := Try(f, Shared); err != nil {
			t.Fatal(err)
		}
	}
	for mode, want := range map[Mode]bool{Shared: false, Exclusive: true} {
		if held, err := Held(path, mode); held != want || err != nil {
			t.Errorf("mode %d: %v, %v", mode, held, err)
		}
	}
}

func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := Wait(t.Context(), second, Exclusive, 30*time.Millisecond); !errors.Is(err, ErrHeld) {
		t.Errorf("out of patience: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := Wait(ctx, second, Exclusive, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("at the end of the context: %v", err)
	}
	got := make(chan error, 1)
	go func() { got <- Wait(t.Context(), second, Exclusive, time.Minute) }()
	first.Close()
	if err := <-got; err != nil {
		t.Errorf("once it is free: %v", err)
	}
	if held, err := Held(path, Shared); !held || err != nil {
		t.Errorf("what was waited for is not held: %v, %v", held, err)
	}
}

// TestRemoved: the lock on a file that has lost its name keeps nobody out.
func TestRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	old, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if there, err := stillAt(path, old); there || err != nil {
		t.Errorf("a removed file: %v, %v", there, err)
	}
	f, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if there, err := stillAt(path, old); there || err != nil {
		t.Errorf("a file in the place of a removed one: %v, %v", there, err)
	}
	if _, err := Lock(path); !errors.Is(err, ErrHeld) {
		t.Errorf("the new file: %v", err)
	}
}

func TestLinksAreRefused(t *testing.T) {
	dir := t.TempDir()
	path, target := filepath.Join(dir, "lock"), filepath.Join(dir, "target")
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path); err == nil {
		t.Error("a link was followed")
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("its target was made")
	}
}

func TestHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if h := HolderOf(path); h != (Holder{}) {
		t.Errorf("nobody: %v", h)
	}
	f, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, what := range []string{"apply a rather long\nname.sloth", "exec", ""} {
		if err := Sign(f, what); err != nil {
			t.Fatal(err)
		}
		want := Holder{PID: os.Getpid(), What: what}
		if what != "" && what != "exec" {
			want.What = "apply a rather long name.sloth"
		}
		if h := HolderOf(path); h != want {
			t.Errorf("%+v, want %+v", h, want)
		}
	}
	for text, want := range map[string]string{
		"12\napply\n": "sloth pid 12 (apply)", "12\napp": "sloth pid 12", "12\n": "sloth pid 12",
		"12": "another process", "": "another process", "-3\nx\n": "another process", "x\ny\n": "another process",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if h := HolderOf(path).String(); h != want {
			t.Errorf("%q: %s, want %s", text, h, want)
		}
	}
}
