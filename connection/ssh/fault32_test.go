package ssh_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/faultproxy"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// behind is a fleet that is only reached over one bastion, itself behind a
// proxy.
type behind struct {
	bastion *sshdtest.Server
	proxy   *faultproxy.Proxy
	hosts   []*sshdtest.Server
	config  string
	targets []connection.Target
}

// startBehind puts each of `servers` sshds into the inventory `names` times.
func startBehind(t *testing.T, bastion sshdtest.Options, servers, names int) *behind {
	t.Helper()
	bastion.Name = "bastion"
	b := &behind{bastion: sshdtest.Start(t, bastion)}
	b.proxy = faultproxy.Start(t, b.bastion.Addr())
	b.hosts = sshdtest.StartAll(t, servers, sshdtest.Options{Name: "web"})
	lines := fmt.Sprintf("Host bastion\n  HostName %s\n  Port %d\n  HostKeyAlias [%s]:%d\n", b.proxy.Host(), b.proxy.Port(), b.bastion.Host, b.bastion.Port)
	b.config = jumpConfig(t, lines, append([]*sshdtest.Server{b.bastion}, b.hosts...)...)
	for _, s := range b.hosts {
		for i := range names {
			target := s.Target()
			target.Name, target.Jump = fmt.Sprintf("%s-%d", s.Name, i), "bastion"
			b.targets = append(b.targets, target)
		}
	}
	return b
}

// TestFault32BastionDies: everybody behind it gives the same reason, and one
// new connection to it serves all.
func TestFault32BastionDies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, reason string
		fault        func(*behind)
	}{
		{"cut", "the connection broke", func(b *behind) { b.bastion.Cut() }},
		{"reset", "the connection broke", func(b *behind) { b.proxy.Reset() }},
		{"silent", `the host has gone silent: nothing arrived in ([2-9]|1\d)s`, func(b *behind) { b.proxy.Blackhole() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := startBehind(t, sshdtest.Options{}, 2, 10)
			// The bastion must be the first to notice.
			d := newDialer(t, ssh.Config{ConfigFile: b.config, Options: map[string]string{"serveraliveinterval": "60"}, KeepAlive: time.Second, KeepAliveCount: 2})
			pool := connection.NewPool(d.Dial, connection.PoolOptions{})
			closed := false
			defer func() {
				if !closed {
					pool.Close()
				}
			}()
			get := func(target connection.Target) connection.Conn {
				conn, err := pool.Get(testContext(t), target)
				if err != nil {
					t.Errorf("%s: %v", target.Name, err)
				}
				return conn
			}
			ready, failed := make(chan struct{}), make(chan struct{})
			var waiting, wg sync.WaitGroup
			waiting.Add(len(b.targets))
			for _, target := range b.targets {
				wg.Go(func() {
					conn := get(target)
					if conn == nil {
						waiting.Done()
						return
					}
					p, err := conn.Start(testContext(t), connection.Command{Argv: []string{"/bin/sh", "-c", "echo here; exec sleep 1000"}})
					if err == nil {
						_, err = p.Stdout().Read(make([]byte, 5))
					}
					waiting.Done()
					if err != nil {
						t.Errorf("%s: %v", target.Name, err)
						return
					}
					<-ready
					ce := asError(t, p.Wait())
					if want := "wait for the command: the jump host bastion: " + c.reason; ce.Class != connection.ClassTCP || !matches(want, ce.Error()) {
						t.Errorf("%s: %s: %v", target.Name, ce.Class, ce)
					}
					if ce.Hint != "everything behind bastion is cut off until it is back" {
						t.Errorf("%s: hint %q", target.Name, ce.Hint)
					}
					<-failed // all at once, as after a reconnect's backoff
					if conn := get(target); conn != nil {
						if err := connection.Run(testContext(t), conn, connection.Command{Argv: []string{"true"}}, nil, nil, nil); err != nil {
							t.Errorf("%s, after the reconnect: %v", target.Name, err)
						}
					}
				})
			}
			waiting.Wait()
			if got := b.proxy.Accepted(); got != 1 {
				t.Errorf("%d connections to the bastion", got)
			}
			close(ready)
			c.fault(b)
			b.proxy.Heal()
			close(failed)
			wg.Wait()
			if got := b.proxy.Accepted(); got != 2 {
				t.Errorf("%d connections to the bastion after its death", got)
			}
			closed = true
			if err := pool.Close(); err != nil {
				t.Error(err)
			}
			if n := d.Bastions(); n != 0 {
				t.Errorf("%d bastions are still connected", n)
			}
		})
	}
}

// TestFault32BastionAway: while it is away, everybody is told so, and nobody
// hammers on it.
func TestFault32BastionAway(t *testing.T) {
	t.Parallel()
	b := startBehind(t, sshdtest.Options{}, 1, 20)
	d := newDialer(t, ssh.Config{ConfigFile: b.config})
	b.proxy.Refuse(true)
	all := func(want string) {
		t.Helper()
		var wg sync.WaitGroup
		for _, target := range b.targets {
			wg.Go(func() {
				c, err := d.Dial(testContext(t), target)
				if want == "" {
					if err != nil {
						t.Error(err)
					} else if err := c.Close(); err != nil {
						t.Error(err)
					}
					return
				}
				if ce := asError(t, err); ce.Class != connection.ClassTCP || ce.Host != target.Name || ce.Error() != want {
					t.Errorf("%s: %s: %v", ce.Host, ce.Class, ce)
				}
			})
		}
		wg.Wait()
	}
	all("reach the jump host bastion: dial " + b.proxy.Addr() + ": connection refused")
	b.proxy.Heal()
	all("")
}

// TestFault32SilentHostBehindBastion: a host that takes no data must not hold
// up whoever closes the way to it, and its neighbour goes on.
func TestFault32SilentHostBehindBastion(t *testing.T) {
	t.Parallel()
	bastion := sshdtest.Start(t, sshdtest.Options{Name: "bastion"})
	s := sshdtest.Start(t, sshdtest.Options{Name: "web"})
	p := faultproxy.Start(t, s.Addr())
	d := newDialer(t, ssh.Config{ConfigFile: jumpConfig(t, "", bastion), KeepAlive: time.Second, KeepAliveCount: 2})
	direct, over := s.Target(), p.Target(s.Target())
	direct.Jump, over.Jump = "bastion", "bastion"
	neighbour := mustDial(t, d, direct)
	conn, err := d.Dial(testContext(t), over)
	if err != nil {
		t.Fatal(err)
	}
	p.After(4<<20, faultproxy.ToServer, func(*faultproxy.Link) { p.Stall(faultproxy.Both) })
	file := filepath.Join(t.TempDir(), "f")
	expect(t, s, conn.Upload(testContext(t), file, 0o600, 1<<30, zeros{}), connection.ClassTCP, "upload "+file+`: the host has gone silent: nothing arrived in ([2-9]|1\d)s`, `.*`)
	closed := make(chan struct{})
	go func() { conn.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("Close hangs")
	}
	if err := connection.Run(testContext(t), neighbour, connection.Command{Argv: []string{"true"}}, nil, nil, nil); err != nil {
		t.Errorf("the neighbour: %v", err)
	}
}
