package worker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/shim/shimtest"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// A shim that is put on a host takes the place of those that nobody has used for
// long, and of nothing else; a start notes that a shim is used.
func TestOldShimsGo(t *testing.T) {
	t.Parallel()
	_, hash, err := shimtest.Binaries(t).For("linux", "amd64")
	if err != nil {
		t.Skip(err)
	}
	s := sshdtest.Start(t, sshdtest.Options{})
	cache := filepath.Join(s.Home, ".cache/sloth")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	aged := func(name string, age time.Duration) string {
		path := filepath.Join(cache, name)
		if err := os.WriteFile(path, nil, 0o700); err != nil { //nolint:gosec // as shims are
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		return path
	}
	named := func(letter string) string { return "shim-" + strings.Repeat(letter, 64) }
	old := aged(named("a"), 31*day)
	stay := []string{aged(named("b"), 29*day), aged(named("c"), 90*day), aged("notes", 90*day), aged("shim-mine", 90*day)}
	running := exec.Command("sleep", "60")
	running.Args[0] = stay[1]
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = running.Process.Kill(); _ = running.Wait() }) // it was killed

	d := ssh.NewDialer(ssh.Config{ConfigFile: "none"})
	pool := connection.NewPool(d.Dial, connection.PoolOptions{})
	t.Cleanup(func() { pool.Close(); d.Close() })
	session := func() {
		t.Helper()
		c, err := pool.Get(before(t), s.Target())
		if err != nil {
			t.Fatal(err)
		}
		w, err := shim.Open(before(t), c, shim.Options{Host: s.Name, RunID: "tidy", Binaries: shimtest.Binaries(t)})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := w.Welcome(before(t)); err != nil {
			t.Fatal(err)
		}
	}
	session() // puts it there
	await(t, "the old shim is gone", func() bool { return !exists(old) })
	for _, path := range stay {
		if !exists(path) {
			t.Errorf("%s is gone", path)
		}
	}

	mine := filepath.Join(cache, "shim-"+hash)
	for _, tc := range []struct {
		age     time.Duration
		touched bool
	}{{20 * time.Hour, false}, {3 * day, true}} {
		at := time.Now().Add(-tc.age)
		if err := os.Chtimes(mine, at, at); err != nil {
			t.Fatal(err)
		}
		old = aged(named("a"), 31*day)
		session()
		st, err := os.Stat(mine)
		if err != nil {
			t.Fatal(err)
		}
		if touched := time.Since(st.ModTime()) < time.Hour; touched != tc.touched {
			t.Errorf("after %s without a start it was touched: %t", tc.age, touched)
		}
		if !exists(old) {
			t.Error("an old shim went though none was put there")
		}
	}
}
