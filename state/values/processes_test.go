package values

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/badger"
	"github.com/sloth-runner/sloth/state/etcd"
	"github.com/sloth-runner/sloth/state/etcd/etcdtest"
)

var full = flag.Bool("full", false, "let TestProcesses count to 10,000 in etcd too, which takes a minute")

// A child is this test again, told by these what to do.
const (
	envChild = "SLOTH_VALUES_TEST_CHILD" // "increment N" or "hold"
	envPlace = "SLOTH_VALUES_TEST_PLACE" // a folder, or etcd://…
)

func storeAt(t testing.TB, at string) state.Store {
	t.Helper()
	if !strings.HasPrefix(at, etcd.Scheme) {
		return badger.New(badger.Options{Dir: filepath.Join(at, "store"), WaitLock: time.Minute})
	}
	p, err := etcd.ParsePlace(at)
	if err != nil {
		t.Fatal(err)
	}
	return etcd.New(etcd.Options{Place: p})
}

func valuesAt(t testing.TB, at string) *Values {
	s := storeAt(t, at)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(s, "stack")
}

// child does what a parent asked for, and returns whether one did.
func child(t *testing.T) bool {
	what := os.Getenv(envChild)
	if what == "" {
		return false
	}
	v := valuesAt(t, os.Getenv(envPlace))
	n := 0
	switch what {
	case "hold":
		do(t, v, "lock", "l", 5, "the child", 2)
		fmt.Println("held")
		<-t.Context().Done() // until killed
	case "once":
		for i := int64(0); ; i++ {
			out, err := v.DoOnce(t.Context(), fmt.Sprint("run/", i), "increment", []any{"n"})
			if err != nil {
				t.Fatal(err)
			}
			if out[0] != i+1 {
				t.Fatalf("call %d was answered with %v", i, out)
			}
			fmt.Println("made", i)
		}
	default:
		if _, err := fmt.Sscanf(what, "increment %d", &n); err != nil {
			t.Fatal(err)
		}
		for range n {
			do(t, v, "increment", "n")
		}
	}
	return true
}

func command(t *testing.T, what, at string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	top, _, _ := strings.Cut(t.Name(), "/")
	c := exec.CommandContext(t.Context(), exe, "-test.run=^"+top+"$")
	c.Env = append(os.Environ(), envChild+"="+what, envPlace+"="+at, "GORACE=atexit_sleep_ms=0")
	return c
}

// places runs test on every kind of store that processes share.
func places(t *testing.T, test func(t *testing.T, at string)) {
	t.Run("badger", func(t *testing.T) { test(t, t.TempDir()) })
	t.Run("etcd", func(t *testing.T) { test(t, etcd.Scheme+etcdtest.Start(t, etcdtest.Options{}).Hosts[0]+"/test") })
}

// TestProcesses lets ten processes increment one counter 1,000 times each.
func TestProcesses(t *testing.T) {
	if child(t) {
		return
	}
	const children = 10
	places(t, func(t *testing.T, at string) {
		each := 1000
		switch {
		case raceEnabled || testing.Short():
			each = 50
		case strings.HasPrefix(at, etcd.Scheme) && !*full:
			each = 100
		}
		start := time.Now()
		var wg sync.WaitGroup
		for range children {
			c := command(t, fmt.Sprintf("increment %d", each), at)
			wg.Go(func() {
				if out, err := c.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
		wg.Wait()
		t.Logf("%.0f increments a second", float64(children*each)/time.Since(start).Seconds())
		check(t, valuesAt(t, at), int64(children*each), "get", "n")
	})
}

// TestAHolderDies kills the process that holds a lock: the next one gets it
// when its lease ends, not before and within a second.
func TestAHolderDies(t *testing.T) {
	if child(t) {
		return
	}
	const lease = 2 * time.Second
	places(t, func(t *testing.T, at string) {
		c := command(t, "hold", at)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 5)
		if _, err := out.Read(buf); err != nil || string(buf) != "held\n" {
			t.Fatalf("%q, %v", buf, err)
		}
		after := time.Now()
		_ = c.Process.Kill()
		_ = c.Wait() // it says that it was killed
		v := valuesAt(t, at)
		defer v.Close(context.Background())
		check(t, v, true, "lock", "l", 10)
		if early := before.Add(lease); time.Now().Before(early) {
			t.Errorf("got %s before the lease was over", time.Until(early))
		}
		if late := time.Since(after.Add(lease)); late > 1500*time.Millisecond {
			t.Errorf("got %s after the lease was over", late)
		}
	})
}

// TestCallsOfTheKilled kills a process that makes numbered calls and lets it
// begin again from the first one: each counts once and is answered as before,
// also the one that was made and not acknowledged.
func TestCallsOfTheKilled(t *testing.T) {
	if child(t) {
		return
	}
	rounds := 4
	if *full {
		rounds = 100
	}
	places(t, func(t *testing.T, at string) {
		last := int64(-1)
		for range rounds {
			c := command(t, "once", at)
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			made, stray := int64(-1), ""
			var kill *time.Timer
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if _, err := fmt.Sscanf(lines.Text(), "made %d", &made); err != nil {
					stray += lines.Text() + "\n"
				}
				if made > last && kill == nil {
					kill = time.AfterFunc(rand.N(100*time.Millisecond), func() { _ = c.Process.Kill() })
				}
			}
			err = c.Wait()
			if kill == nil || !kill.Stop() && c.ProcessState.Exited() {
				t.Fatalf("it ended by itself: %v\n%s", err, stray)
			}
			last = max(last, made)
			n, ok := do(t, valuesAt(t, at), "get", "n").(int64)
			if !ok || n < last+1 || n > last+2 {
				t.Fatalf("%d calls were acknowledged, the counter is %d", last+1, n)
			}
		}
	})
}
