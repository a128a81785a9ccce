package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/etcd/etcdtest"
	"github.com/sloth-runner/sloth/state/values"
)

func (l *load) store(t *testing.T) *Store {
	s := New(Options{Place: place(t, l.cluster.Hosts, "load"), Timeout: 20 * time.Second})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// load is what goes on while nodes are killed.
type load struct {
	cluster *etcdtest.Cluster
	stop    atomic.Bool
	wg      sync.WaitGroup

	mu    sync.Mutex
	acked map[string]string
	// counted are increments that were acknowledged, unclear those whose
	// outcome nobody knows.
	counted, unclear atomic.Int64
	inside, most     atomic.Int32
	locked           atomic.Int64
}

func (l *load) run(t *testing.T) {
	for w := range 3 {
		writer, counter, locker := l.store(t), l.store(t), l.store(t)
		l.wg.Go(func() { l.write(t, writer, w) })
		l.wg.Go(func() { l.count(t, counter) })
		l.wg.Go(func() { l.lock(t, values.New(locker, "")) })
	}
}

func (l *load) write(t *testing.T, s state.Store, w int) {
	for i := 0; !l.stop.Load(); i++ {
		key, value := fmt.Sprintf("w%d/%05d", w, i), fmt.Sprint(i*w)
		switch _, err := s.Put(t.Context(), key, []byte(value), 0, 0); {
		case err == nil:
			l.mu.Lock()
			l.acked[key] = value
			l.mu.Unlock()
		case !errors.Is(err, state.ErrUnknown):
			t.Errorf("put %s: %v", key, err)
			return
		}
	}
}

func (l *load) count(t *testing.T, s state.Store) {
	for !l.stop.Load() {
		e, err := s.Get(t.Context(), "counter")
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			t.Errorf("get: %v", err)
			return
		}
		n, _ := strconv.Atoi(string(e.Value))
		switch _, err := s.Put(t.Context(), "counter", []byte(strconv.Itoa(n+1)), 0, e.Revision); {
		case err == nil:
			l.counted.Add(1)
		case errors.Is(err, state.ErrUnknown):
			l.unclear.Add(1)
		case !errors.Is(err, state.ErrConflict):
			t.Errorf("count: %v", err)
			return
		}
	}
}

func (l *load) lock(t *testing.T, v *values.Values) {
	for !l.stop.Load() {
		if _, err := v.Do(t.Context(), "lock", []any{"l", 20}); err != nil {
			t.Errorf("lock: %v", err)
			return
		}
		l.most.Store(max(l.most.Load(), l.inside.Add(1)))
		l.locked.Add(1)
		l.inside.Add(-1)
		if _, err := v.Do(t.Context(), "unlock", []any{"l"}); err != nil {
			t.Errorf("unlock: %v", err)
			return
		}
	}
}

// progressWithin is above what it takes until a silent leader is replaced and
// its connections are given up.
const progressWithin = 30 * time.Second

// progress waits until the load got on after what was done to the cluster.
func (l *load) progress(t *testing.T, what string) {
	t.Helper()
	start, counted, locked := time.Now(), l.counted.Load(), l.locked.Load()
	for l.counted.Load() < counted+30 || l.locked.Load() < locked+5 {
		if time.Since(start) > progressWithin {
			t.Fatalf("after %s: %d increments and %d locks in %s", what, l.counted.Load()-counted, l.locked.Load()-locked, progressWithin)
		}
		if t.Failed() {
			t.FailNow()
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("after %s: on again within %s", what, time.Since(start).Round(time.Millisecond))
}

// TestNodesDie kills a node, freezes the leader and kills the next one, in a
// cluster of three under load: nothing that was acknowledged is lost, no lock has two holders.
func TestNodesDie(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Options{Nodes: 3})
	l := &load{cluster: c, acked: map[string]string{}}
	l.run(t)
	end := sync.OnceFunc(func() { l.stop.Store(true); l.wg.Wait() })
	defer end()
	l.progress(t, "the start")
	follower := (c.Leader(t) + 1) % 3
	c.Kill(follower)
	l.progress(t, "a node's death")
	c.Restart(t, follower)
	l.progress(t, "its return")
	frozen := c.Leader(t)
	c.Freeze(t, frozen)
	l.progress(t, "the leader's silence")
	c.Thaw(t, frozen)
	l.progress(t, "its waking up")
	c.Kill(c.Leader(t))
	l.progress(t, "the leader's death")
	end()

	s := l.store(t)
	for key, value := range l.acked {
		if e, err := s.Get(t.Context(), key); err != nil || string(e.Value) != value {
			t.Errorf("%s was acknowledged and is %q, %v", key, e.Value, err)
		}
	}
	e, err := s.Get(t.Context(), "counter")
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.ParseInt(string(e.Value), 10, 64)
	if counted, unclear := l.counted.Load(), l.unclear.Load(); n < counted || n > counted+unclear {
		t.Errorf("the counter is %d after %d increments and %d nobody knows of", n, counted, unclear)
	}
	if l.most.Load() != 1 {
		t.Errorf("%d held the lock at once", l.most.Load())
	}
	t.Logf("%d writes, %d increments, %d unknown, %d locks", len(l.acked), l.counted.Load(), l.unclear.Load(), l.locked.Load())
}

// TestNoQuorum: with two of three nodes gone nothing is answered, and the
// error says so; with one back all goes on.
func TestNoQuorum(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Options{Nodes: 3})
	s := New(Options{Place: place(t, c.Hosts, "q"), Timeout: 1500 * time.Millisecond})
	defer s.Close()
	r, err := s.Put(t.Context(), "a", []byte("1"), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.Kill(0)
	c.Kill(1)
	_, err = s.Put(t.Context(), "a", []byte("2"), 0, r)
	var none *NoAnswerError
	if !errors.As(err, &none) || !errors.Is(err, state.ErrUnknown) {
		t.Fatalf("%v", err)
	}
	if _, err = s.Get(t.Context(), "a"); !errors.As(err, &none) {
		t.Fatalf("%v", err)
	}
	want := fmt.Sprintf("state etcd://%s,%s,%s/q has no quorum: 1 of 3 hosts answer and know no leader, waited %s",
		c.Hosts[0], c.Hosts[1], c.Hosts[2], none.Waited.Round(100*time.Millisecond))
	if err.Error() != want || none.Hint() == "" {
		t.Errorf("%v\nwant %s", err, want)
	}
	c.Kill(2)
	if _, err := s.Get(t.Context(), "a"); !errors.As(err, &none) || none.Answer != 0 {
		t.Errorf("%v", err)
	}
	for i := range 3 {
		c.Restart(t, i)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		e, err := s.Get(t.Context(), "a")
		if err == nil && (string(e.Value) == "1" || string(e.Value) == "2") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%q, %v", e.Value, err)
		}
	}
}

func TestACallerMayLeave(t *testing.T) {
	s := New(Options{Place: place(t, []string{"127.0.0.1:1"}, "")})
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := s.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if time.Since(start) > 2*time.Second {
		t.Errorf("left after %s", time.Since(start))
	}
}
