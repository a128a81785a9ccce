package connection_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/faultproxy"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// overSSH is a pool of real connections over a proxy.
func overSSH(t *testing.T) (*connection.Pool, *faultproxy.Proxy, connection.Target) {
	t.Helper()
	s := sshdtest.Start(t, sshdtest.Options{})
	proxy := faultproxy.Start(t, s.Addr())
	d := ssh.NewDialer(ssh.Config{ConfigFile: "none", Home: t.TempDir(), KeepAlive: time.Second, KeepAliveCount: 2})
	pool := connection.NewPool(d.Dial, connection.PoolOptions{})
	t.Cleanup(func() {
		if err := errors.Join(pool.Close(), d.Close()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return pool, proxy, proxy.Target(s.Target())
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func runTrue(t *testing.T, c connection.Conn) error {
	t.Helper()
	return connection.Run(soon(t), c, connection.Command{Argv: []string{"true"}}, nil, nil, nil)
}

// TestPoolReconnects: whoever saw the connection fail and asks again gets a new
// one, and all who ask share it, however it ended.
func TestPoolReconnects(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*faultproxy.Proxy){
		"cut": (*faultproxy.Proxy).Cut, "reset": (*faultproxy.Proxy).Reset, "silent": (*faultproxy.Proxy).Blackhole,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, proxy, target := overSSH(t)
			var begun, wg sync.WaitGroup
			begun.Add(10)
			cut := make(chan struct{})
			conns := make([]connection.Conn, 10)
			for i := range conns {
				wg.Go(func() {
					first, err := pool.Get(soon(t), target)
					if err != nil {
						t.Error(err)
						begun.Done()
						return
					}
					// Ten are more than a connection has sessions for: some wait for
					// one while it breaks.
					run := make(chan error, 1)
					go func() {
						run <- connection.Run(soon(t), first, connection.Command{Argv: []string{"sleep", "1000"}}, nil, nil, nil)
					}()
					begun.Done()
					<-cut
					err = <-run
					var ce *connection.Error
					if !errors.As(err, &ce) || ce.Class != connection.ClassTCP || !connection.Unreachable(err) {
						t.Errorf("what was under way gave %v (%T)", err, err)
					}
					if conns[i], err = pool.Get(soon(t), target); err != nil {
						t.Error(err)
						return
					}
					if conns[i] == first {
						t.Error("the lost connection was handed out")
					}
					if err := runTrue(t, conns[i]); err != nil {
						t.Error(err)
					}
				})
			}
			begun.Wait()
			fault(proxy)
			proxy.Heal()
			close(cut)
			wg.Wait()
			for _, c := range conns {
				if c != conns[0] {
					t.Error("two connections to one target")
				}
			}
			if n := proxy.Accepted(); n != 2 {
				t.Errorf("dialled %d times", n)
			}
		})
	}
}

// TestPoolWhileAway: a target that is away gives an error each time, and is
// there again at once when it is back.
func TestPoolWhileAway(t *testing.T) {
	t.Parallel()
	pool, proxy, target := overSSH(t)
	first, err := pool.Get(soon(t), target)
	if err != nil {
		t.Fatal(err)
	}
	proxy.Refuse(true)
	if again, err := pool.Get(soon(t), target); err != nil || again != first {
		t.Errorf("the open connection is gone: %v", err)
	}
	proxy.Reset()
	if err := runTrue(t, first); err == nil {
		t.Error("a command ran over a connection that was reset")
	}
	for range 3 {
		_, err := pool.Get(soon(t), target)
		var ce *connection.Error
		if !errors.As(err, &ce) || ce.Class != connection.ClassTCP || ce.Error() != "dial "+proxy.Addr()+": connection refused" {
			t.Errorf("got %v", err)
		}
	}
	proxy.Heal()
	if c, err := pool.Get(soon(t), target); err != nil {
		t.Error(err)
	} else if err := runTrue(t, c); err != nil {
		t.Error(err)
	}
}

// TestPoolDialInTheDark: a caller whose time is up leaves a dial that hangs at
// once; it ends with the last of them.
func TestPoolDialInTheDark(t *testing.T) {
	t.Parallel()
	pool, proxy, target := overSSH(t)
	proxy.Stall(faultproxy.Both)
	var wg sync.WaitGroup
	wg.Go(func() { // stays
		if c, err := pool.Get(soon(t), target); err != nil {
			t.Error(err)
		} else if err := runTrue(t, c); err != nil {
			t.Error(err)
		}
	})
	for range 5 {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if _, err := pool.Get(ctx, target); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		cancel()
	}
	proxy.Heal()
	wg.Wait()
	if n := proxy.Accepted(); n != 1 && n != 2 { // two when the first to leave came before the one who stays
		t.Errorf("dialled %d times", n)
	}
}
