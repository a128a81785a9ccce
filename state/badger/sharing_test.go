package badger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/disk/filelock"
)

func newStore(t *testing.T, o Options) *Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "store")
	}
	s := New(o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t *testing.T, s *Store, key, value string) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, []byte(value), 0, state.Any); err != nil {
		t.Fatal(err)
	}
}

func (s *Store) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.db != nil
}

func await(t *testing.T, what string, limit time.Duration, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %s", what, limit)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(start)
}

func TestNothingIsOpenedBeforeTheFirstUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "no", "such", "folder")
	s := New(Options{Dir: dir})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestItIsClosedSoonAfterTheLastUse(t *testing.T) {
	s := newStore(t, Options{})
	put(t, s, "a", "1")
	if !s.isOpen() {
		t.Fatal("closed at once")
	}
	took := await(t, "closing", 5*time.Second, func() bool { return !s.isOpen() })
	if took < idleFor-tick || took > idleFor+2*time.Second {
		t.Errorf("closed after %s, want %s", took, idleFor)
	}
	put(t, s, "b", "2") // and opens again
	for _, k := range []string{"a", "b"} {
		if _, err := s.Get(t.Context(), k); err != nil {
			t.Error(err)
		}
	}
}

// TestOpeningIsQuick measures what every command pays that uses state.
func TestOpeningIsQuick(t *testing.T) {
	s := newStore(t, Options{})
	for i := range 500 {
		put(t, s, fmt.Sprintf("key%d", i), strings.Repeat("value", 50))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	best := time.Hour
	for range 10 {
		again := New(Options{Dir: s.opt.Dir})
		start := time.Now()
		if _, err := again.Get(t.Context(), "key7"); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(start))
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("opened and read in %s", best)
	if limit := 30 * time.Millisecond * raceFactor; best > limit {
		t.Errorf("opening and reading took %s, want less than %s", best, limit)
	}
}

// A helper process that keeps the store, told what to do by its environment.
const (
	envHold = "SLOTH_BADGER_HOLD"
	envWait = "SLOTH_BADGER_WAIT"
)

// TestHelperProcess is not a test of its own.
func TestHelperProcess(t *testing.T) {
	dir := os.Getenv(envHold)
	if dir == "" {
		t.Skip("only run by other tests, in a process of its own")
	}
	s := New(Options{Dir: dir, What: "apply site.sloth", WaitLock: time.Minute})
	if os.Getenv(envWait) != "" {
		// A holder that is not well: it never gives the store up.
		if _, err := s.enter(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("holding")
	for i := 0; ; i++ {
		if _, err := s.Put(context.Background(), fmt.Sprintf("other%d", i%10), []byte("x"), 0, state.Any); err != nil {
			t.Fatal(err)
		}
	}
}

// hold starts a process that uses the store without a pause.
func hold(t *testing.T, dir string, stubborn bool) (pid int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe, "-test.run=^TestHelperProcess$", "-test.v")
	c.Env = append(os.Environ(), envHold+"="+dir)
	if stubborn {
		c.Env = append(c.Env, envWait+"=1")
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasSuffix(lines.Text(), "holding") {
			return c.Process.Pid
		}
	}
	t.Fatal("the helper process did not begin")
	return 0
}

func TestFault08SomebodyElseKeepsIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	pid := hold(t, dir, true)
	for _, c := range []struct {
		wait    time.Duration
		atLeast time.Duration
		notice  bool
	}{{-1, 0, false}, {700 * time.Millisecond, 700 * time.Millisecond, true}} {
		var said []string
		s := newStore(t, Options{Dir: dir, WaitLock: c.wait, Notice: func(m string) { said = append(said, m) }})
		start := time.Now()
		_, err := s.Get(t.Context(), "a")
		took := time.Since(start)
		var in *InUseError
		if !errors.Is(err, state.ErrInUse) || !errors.As(err, &in) || in.Holder != (filelock.Holder{PID: pid, What: "apply site.sloth"}) || in.Hint() == "" {
			t.Fatalf("%v; want it to be in use by %d", err, pid)
		}
		want := fmt.Sprintf("state %s is in use by sloth pid %d (apply site.sloth), waited ", dir, pid)
		if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v; want %s…", err, want)
		}
		if took < c.atLeast || took > c.atLeast+time.Second {
			t.Errorf("limit %s: it took %s", c.wait, took)
		}
		if c.notice != (len(said) == 1) {
			t.Errorf("limit %s: said %q", c.wait, said)
		}
		if c.notice && said[0] != fmt.Sprintf("state is in use by sloth pid %d (apply site.sloth), waiting", pid) {
			t.Errorf("said %q", said)
		}
	}
	s := newStore(t, Options{Dir: dir, WaitLock: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestABusyProcessMakesRoom: somebody who never pauses gives the store up
// within a second, and gets it back.
func TestABusyProcessMakesRoom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	hold(t, dir, false)
	s := newStore(t, Options{Dir: dir})
	for range 2 {
		start := time.Now()
		put(t, s, "a", "1") // with the default limit
		if took := time.Since(start); took > keepWanted+time.Second {
			t.Errorf("waited %s", took)
		}
		if err := func() error {
			// Now the other one waits, and gets it at the latest when we pause.
			c, err := s.enter(t.Context())
			if c != nil {
				defer s.leave()
			}
			return err
		}(); err != nil {
			t.Fatal(err)
		}
		await(t, "making room", 3*time.Second, func() bool { return !s.isOpen() })
	}
}

func TestAKilledHolderIsForgotten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	pid := hold(t, dir, true)
	s := newStore(t, Options{Dir: dir, WaitLock: 10 * time.Second})
	var wg sync.WaitGroup
	wg.Go(func() {
		p, err := os.FindProcess(pid)
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			t.Error(err)
		}
	})
	put(t, s, "a", "1")
	wg.Wait()
}

func TestARemovedLockFileKeepsNobodyOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	one := newStore(t, Options{Dir: dir})
	put(t, one, "a", "1")
	f, err := filelock.Open(one.lockPath())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// A claim that waited on a file that is removed must begin anew.
	if err := os.Remove(one.lockPath()); err != nil {
		t.Fatal(err)
	}
	c, err := one.tryClaim()
	if err != nil || c == nil {
		t.Fatalf("%v, %v", c, err)
	}
	if err := c.release(); err != nil {
		t.Fatal(err)
	}
}

// TestManyOpenings: each use by a short command leaves a table behind; they
// must not pile up.
func TestManyOpenings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	n := 60
	if testing.Short() {
		n = 30
	}
	start := time.Now()
	for i := range n {
		s := New(Options{Dir: dir})
		put(t, s, fmt.Sprintf("k%d", i%20), fmt.Sprint(i))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s for each opening with a write", time.Since(start)/time.Duration(n))
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) > 30 {
		t.Errorf("%d files after %d openings", len(files), n)
	}
	s := newStore(t, Options{Dir: dir})
	for i := n - 20; i < n; i++ {
		if e, err := s.Get(t.Context(), fmt.Sprintf("k%d", i%20)); err != nil || string(e.Value) != fmt.Sprint(i) {
			t.Errorf("k%d: %s, %v", i%20, e.Value, err)
		}
	}
}

// TestAWatchDoesNotKeepOpening: a store that nobody writes to stays closed.
func TestAWatchDoesNotKeepOpening(t *testing.T) {
	s := newStore(t, Options{})
	put(t, s, "a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	synced, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for e := range s.Watch(ctx, "") {
			if e.Synced {
				close(synced)
			}
		}
	}()
	<-synced
	await(t, "closing", 5*time.Second, func() bool { return !s.isOpen() })
	for end := time.Now().Add(4 * lookEvery); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if s.isOpen() {
			t.Fatal("it was opened again, and nobody wrote")
		}
	}
	cancel()
	<-ended
}
