package connection_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
)

// fakeConn only knows how to be closed and to break.
type fakeConn struct {
	done   chan struct{}
	once   sync.Once
	closed atomic.Int32
	err    error
}

func newFake() *fakeConn                  { return &fakeConn{done: make(chan struct{})} }
func (f *fakeConn) breakDown()            { f.once.Do(func() { close(f.done) }) }
func (f *fakeConn) Done() <-chan struct{} { return f.done }
func (f *fakeConn) Close() error          { f.closed.Add(1); f.breakDown(); return f.err }
func (f *fakeConn) Start(context.Context, connection.Command) (connection.Process, error) {
	return nil, errors.New("fakeConn starts nothing")
}

func (f *fakeConn) Upload(context.Context, string, fs.FileMode, int64, io.Reader) error {
	return errors.New("fakeConn uploads nothing")
}

func (f *fakeConn) Download(context.Context, string, io.Writer) error {
	return errors.New("fakeConn downloads nothing")
}

func get(t *testing.T, p *connection.Pool, target connection.Target) connection.Conn {
	t.Helper()
	c, err := p.Get(context.Background(), target)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPoolDialsOncePerTarget(t *testing.T) {
	var dials atomic.Int32
	release := make(chan struct{})
	p := connection.NewPool(func(_ context.Context, target connection.Target) (connection.Conn, error) {
		dials.Add(1)
		<-release
		return newFake(), nil
	}, connection.PoolOptions{})
	var wg sync.WaitGroup
	conns := make([]connection.Conn, 20)
	for i := range conns {
		wg.Go(func() {
			name := "web-01"
			if i%2 == 1 {
				name = "web-02"
			}
			conns[i], _ = p.Get(context.Background(), connection.Target{Name: name})
		})
	}
	close(release)
	wg.Wait()
	if n := dials.Load(); n != 2 {
		t.Errorf("%d dials for two hosts", n)
	}
	for i, c := range conns {
		if c == nil || c != conns[i%2] {
			t.Errorf("Get %d got another connection", i)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for _, c := range conns[:2] {
		if n := c.(*fakeConn).closed.Load(); n != 1 {
			t.Errorf("closed %d times", n)
		}
	}
}

func TestPoolTellsTargetsApart(t *testing.T) {
	p := connection.NewPool(func(context.Context, connection.Target) (connection.Conn, error) { return newFake(), nil }, connection.PoolOptions{})
	defer p.Close()
	base := connection.Target{Name: "a"}
	first := get(t, p, base)
	for what, change := range map[string]func(*connection.Target){
		"name": func(t *connection.Target) { t.Name = "b" }, "kind": func(t *connection.Target) { t.Kind = "local" },
		"address": func(t *connection.Target) { t.Address = "b" }, "port": func(t *connection.Target) { t.Port = 2222 },
		"user": func(t *connection.Target) { t.User = "b" }, "key": func(t *connection.Target) { t.PrivateKeyFile = "b" },
		"password": func(t *connection.Target) { t.Password = connection.NewSecret("b") }, "jump": func(t *connection.Target) { t.Jump = "b" },
		"options": func(t *connection.Target) { t.Options = map[string]string{"port": "1"} },
	} {
		other := base
		change(&other)
		if get(t, p, other) == first {
			t.Errorf("another %s gives the same connection", what)
		}
	}
	if get(t, p, connection.Target{Name: "a", Options: map[string]string{}}) != first {
		t.Error("the same target gives another connection")
	}
}

func TestPoolRedialsWhatBroke(t *testing.T) {
	var last *fakeConn
	p := connection.NewPool(func(context.Context, connection.Target) (connection.Conn, error) { last = newFake(); return last, nil }, connection.PoolOptions{})
	defer p.Close()
	first := get(t, p, connection.Target{Name: "a"})
	last.breakDown()
	second := get(t, p, connection.Target{Name: "a"})
	if first == second {
		t.Error("a broken connection was handed out")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if first.(*fakeConn).closed.Load() == 0 {
		t.Error("the broken connection was not closed")
	}
}

// lingering is a connection whose remains take their time.
type lingering struct {
	*fakeConn
	release chan struct{}
}

func (l *lingering) Close() error { <-l.release; return l.fakeConn.Close() }

func TestPoolRemainsHoldNobodyUp(t *testing.T) {
	release := make(chan struct{})
	var last *lingering
	p := connection.NewPool(func(context.Context, connection.Target) (connection.Conn, error) {
		last = &lingering{newFake(), release}
		return last, nil
	}, connection.PoolOptions{})
	first := get(t, p, connection.Target{Name: "a"})
	last.breakDown()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if second, err := p.Get(ctx, connection.Target{Name: "a"}); err != nil || second == first {
		t.Errorf("got the old one or %v", err)
	}
	close(release)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if first.(*lingering).closed.Load() == 0 {
		t.Error("Close did not wait for the broken one's")
	}
}

func TestPoolForgetsFailures(t *testing.T) {
	fail := errors.New("no")
	var dials int
	p := connection.NewPool(func(context.Context, connection.Target) (connection.Conn, error) {
		if dials++; dials == 1 {
			return nil, fail
		}
		return newFake(), nil
	}, connection.PoolOptions{})
	defer p.Close()
	if _, err := p.Get(context.Background(), connection.Target{Name: "a"}); !errors.Is(err, fail) {
		t.Errorf("got %v", err)
	}
	get(t, p, connection.Target{Name: "a"})
}

func TestPoolCancelTakesOnlyTheCallerAway(t *testing.T) {
	dialing := make(chan struct{})
	release := make(chan struct{})
	cancelled := make(chan struct{})
	p := connection.NewPool(func(ctx context.Context, target connection.Target) (connection.Conn, error) {
		dialing <- struct{}{}
		select {
		case <-release:
			return newFake(), nil
		case <-ctx.Done():
			close(cancelled)
			return nil, ctx.Err()
		}
	}, connection.PoolOptions{})
	defer p.Close()
	ctx, cancel := context.WithCancel(context.Background())
	target := connection.Target{Name: "a"}
	errs := make(chan error, 2)
	go func() { _, err := p.Get(ctx, target); errs <- err }()
	<-dialing
	go func() { _, err := p.Get(context.Background(), target); errs <- err }()
	// Either order is right: a second caller that joins late dials again.
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled caller got %v", err)
	}
	select {
	case <-dialing: // it had not joined yet
	case <-cancelled:
		<-dialing
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-errs; err != nil {
		t.Errorf("the other caller got %v", err)
	}
}

func TestPoolCloseEndsDials(t *testing.T) {
	dialing := make(chan struct{})
	p := connection.NewPool(func(ctx context.Context, _ connection.Target) (connection.Conn, error) {
		close(dialing)
		<-ctx.Done()
		return nil, ctx.Err()
	}, connection.PoolOptions{})
	errs := make(chan error, 1)
	go func() { _, err := p.Get(context.Background(), connection.Target{Name: "a"}); errs <- err }()
	<-dialing
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-errs; err == nil {
		t.Error("Get succeeded after Close")
	}
	if _, err := p.Get(context.Background(), connection.Target{Name: "a"}); err == nil {
		t.Error("Get works after Close")
	}
}

func TestPoolLimitsDials(t *testing.T) {
	var now, most atomic.Int32
	p := connection.NewPool(func(context.Context, connection.Target) (connection.Conn, error) {
		n := now.Add(1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		time.Sleep(time.Millisecond) // lets others come, if they may
		now.Add(-1)
		return newFake(), nil
	}, connection.PoolOptions{MaxDials: 3})
	defer p.Close()
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() { _, _ = p.Get(context.Background(), connection.Target{Name: "h", Port: i + 1}) })
	}
	wg.Wait()
	if m := most.Load(); m > 3 {
		t.Errorf("%d dials at once", m)
	}
}

func TestPoolCloseReportsErrors(t *testing.T) {
	broken := errors.New("close failed")
	p := connection.NewPool(func(context.Context, connection.Target) (connection.Conn, error) {
		f := newFake()
		f.err = broken
		return f, nil
	}, connection.PoolOptions{})
	get(t, p, connection.Target{Name: "a"})
	if err := p.Close(); !errors.Is(err, broken) {
		t.Errorf("Close = %v", err)
	}
}
