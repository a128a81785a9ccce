package statetest

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// A child process runs the same test, told by these what to do.
const (
	envMode = "SLOTH_STATETEST_CHILD"
	envDir  = "SLOTH_STATETEST_DIR"

	modeIncrement = "increment"
	modeWrite     = "write"
)

var kills = flag.Int("kills", 6, "how often Killed kills a writing process")

const increments = 100 // by each child

func (k Kind) child(t *testing.T, mode, dir string) {
	s := k.Open(t, dir)
	defer s.Close()
	switch mode {
	case modeIncrement:
		for range increments {
			if err := increment(t.Context(), s, "n"); err != nil {
				t.Fatal(err)
			}
		}
	case modeWrite:
		// Until killed. What is printed is acknowledged.
		start := 0
		if e, err := s.Get(t.Context(), "last"); err == nil {
			start, _ = strconv.Atoi(string(e.Value))
		}
		for i := start + 1; ; i++ {
			if err := write(t, s, i); err != nil {
				t.Fatal(err)
			}
			fmt.Printf("acknowledged %d\n", i)
		}
	default:
		t.Fatalf("%s=%s: no such mode", envMode, mode)
	}
}

// write writes number i under its own key, then that it is the last.
func write(t *testing.T, s state.Store, i int) error {
	if _, err := s.Put(t.Context(), fmt.Sprintf("k%06d", i), []byte(content(i)), 0, state.Any); err != nil {
		return err
	}
	_, err := s.Put(t.Context(), "last", []byte(strconv.Itoa(i)), 0, state.Any)
	return err
}

// content varies in length, so that writes end anywhere in a page.
func content(i int) string { return strings.Repeat(strconv.Itoa(i)+" ", 1+i*37%997) }

func command(t *testing.T, mode, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	top, _, _ := strings.Cut(t.Name(), "/")
	c := exec.CommandContext(t.Context(), exe, "-test.run=^"+top+"$", "-test.count=1")
	c.Env = append(os.Environ(), envMode+"="+mode, envDir+"="+dir, "GORACE=atexit_sleep_ms=0")
	return c
}

func (k Kind) reopen(t *testing.T) {
	dir := t.TempDir()
	s := k.Open(t, dir)
	r := put(t, s, "a", "1", 0, 0)
	gone := put(t, s, "b", "deleted", 0, 0)
	if err := s.Delete(t.Context(), "b", gone); err != nil {
		t.Fatal(err)
	}
	put(t, s, "c", "", time.Hour, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = k.Open(t, dir)
	defer s.Close()
	if e := want(t, s, "a", "1"); e.Revision != r {
		t.Errorf("revision %d became %d", r, e.Revision)
	}
	wantAbsent(t, s, "b")
	if again := put(t, s, "b", "back", 0, 0); again <= gone {
		t.Errorf("revision %d after %d", again, gone)
	}
	if e := want(t, s, "c", ""); time.Until(e.Expires) < 59*time.Minute {
		t.Errorf("expires %s", e.Expires)
	}
}

// processes lets several processes increment one number.
func (k Kind) processes(t *testing.T) {
	dir := t.TempDir()
	const children = 3
	var wg sync.WaitGroup
	for range children {
		c := command(t, modeIncrement, dir)
		wg.Go(func() {
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	s := k.Open(t, dir)
	defer s.Close()
	want(t, s, "n", strconv.Itoa(children*increments))
}

// killed kills a writing process at random moments. The store must open, and
// hold all that was acknowledged.
func (k Kind) killed(t *testing.T) {
	dir := t.TempDir()
	rounds := *kills
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		acked := k.writeAndDie(t, dir)
		s := k.Open(t, dir)
		last := 0
		e, err := s.Get(t.Context(), "last")
		if err == nil {
			last, err = strconv.Atoi(string(e.Value))
		}
		if acked > 0 && (err != nil || last < acked) {
			t.Fatalf("round %d: %d was acknowledged, the store remembers %d: %v", round, acked, last, err)
		}
		for i := 1; i <= max(last, acked); i++ {
			want(t, s, fmt.Sprintf("k%06d", i), content(i))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// writeAndDie returns the last number that was acknowledged.
func (k Kind) writeAndDie(t *testing.T, dir string) int {
	t.Helper()
	c := command(t, modeWrite, dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errOut strings.Builder
	c.Stderr = &errOut
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	acked, stray := 0, ""
	var kill *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d", &acked); err != nil {
			stray += lines.Text() + "\n"
		}
		if kill == nil {
			kill = time.AfterFunc(time.Duration(rand.IntN(200))*time.Millisecond, func() { _ = c.Process.Kill() })
			defer kill.Stop()
		}
	}
	if err := c.Wait(); err == nil || kill == nil || c.ProcessState.Exited() {
		t.Fatalf("the writer ended by itself: %v\n%s%s", err, stray, errOut.String())
	}
	return acked
}
