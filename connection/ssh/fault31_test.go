package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/faultproxy"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestFault31MaxStartups: an sshd that takes few newcomers gets few at a time, and
// those it drops come again.
func TestFault31MaxStartups(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"MaxStartups 2:100:2"}})
	dialMany(t, newDialer(t, ssh.Config{}), s, 20)
	if !strings.Contains(s.Log(), "MaxStartups throttling") {
		t.Error("no connection was dropped: the test shows nothing")
	}
}

// TestFault31Unauthenticated counts who is between connect and login.
func TestFault31Unauthenticated(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	key := newSigner(t)
	config := &xssh.ServerConfig{PublicKeyCallback: func(xssh.ConnMetadata, xssh.PublicKey) (*xssh.Permissions, error) {
		time.Sleep(5 * time.Millisecond) // lets others come, if they may
		return nil, nil
	}}
	config.AddHostKey(key)
	addr, _ := listen(t, func(c net.Conn) {
		n := now.Add(1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		conn, chans, reqs, err := xssh.NewServerConn(c, config)
		now.Add(-1)
		if err != nil {
			return
		}
		go xssh.DiscardRequests(reqs)
		go func() {
			for range chans {
			}
		}()
		_ = conn.Wait()
	})
	known := filepath.Join(t.TempDir(), "known_hosts")
	write(t, known, fmt.Sprintf("[127.0.0.1]:%d %s\n", addr.Port, authorized(key.PublicKey())))
	d := newDialer(t, ssh.Config{})
	target := connection.Target{Name: "127.0.0.1", Port: addr.Port, PrivateKeyFile: keygen(t, t.TempDir(), "key", "-t", "ed25519", "-N", ""),
		Options: map[string]string{"userknownhostsfile": known, "identityagent": "none"}}
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			c, err := d.Dial(testContext(t), target)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
	// The server counts a login a moment longer than the client.
	if m := most.Load(); m < 4 || m > 10 {
		t.Errorf("%d were let in at once", m)
	}
}

func dialMany(t *testing.T, d *ssh.Dialer, s *sshdtest.Server, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			c, err := d.Dial(testContext(t), s.Target())
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
}

func TestFault31MaxSessions(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"MaxSessions 1"}})
	c := mustDial(t, newDialer(t, ssh.Config{}), s.Target())
	first, err := c.Start(testContext(t), connection.Command{Argv: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Start(ctx, connection.Command{Argv: []string{"true"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second session gives %v", err)
	}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := connection.Run(testContext(t), c, connection.Command{Argv: []string{"true"}}, nil, nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		if err := c.Download(testContext(t), "/etc/passwd", io.Discard); err != nil {
			t.Error(err)
		}
	})
	if err := first.Stdin().Close(); err != nil {
		t.Error(err)
	}
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	t.Run("none at all", func(t *testing.T) {
		s := sshdtest.Start(t, sshdtest.Options{Config: []string{"MaxSessions 0"}})
		c := mustDial(t, newDialer(t, ssh.Config{}), s.Target())
		_, err := c.Start(testContext(t), connection.Command{Argv: []string{"true"}})
		expect(t, s, err, connection.ClassChannel, `open a session: the host refuses every session: .*`, `check MaxSessions in its sshd_config`)
	})
}

// TestFault31HangsUp: a host that hangs up before it has said anything of itself
// is asked again a few times, and then believed.
func TestFault31HangsUp(t *testing.T) {
	for _, c := range []badServer{
		{"hangs up", func(net.Conn) {}, connection.ClassTCP,
			`connect to {addr}: the host hung up before the key exchange`, `the host may limit new connections .*`, 6, 6},
		{"hangs up with a reason", func(c net.Conn) { _, _ = c.Write([]byte("Not allowed at this time\r\n")) }, connection.ClassTCP,
			`connect to {addr}: the host hung up before the key exchange, saying "Not allowed at this time"`, `the host may limit new connections .*`, 6, 6},
	} {
		t.Run(c.name, c.check)
	}
}

// TestFault31ComesAgain: one that hangs up a few times, for want of a free place
// or as a penalty, is reached in the end, with pauses that grow.
func TestFault31ComesAgain(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	p := faultproxy.Start(t, s.Addr())
	refusals := 4
	var refuse func(*faultproxy.Link)
	refuse = func(l *faultproxy.Link) {
		l.Cut()
		if refusals--; refusals > 0 {
			p.After(0, faultproxy.ToClient, refuse)
		}
	}
	p.After(0, faultproxy.ToClient, refuse)
	begin := time.Now()
	works(t, newDialer(t, ssh.Config{}), p.Target(s.Target()))
	// 100 ms, doubled three times, each at least halved by jitter.
	if took := time.Since(begin); took < 750*time.Millisecond {
		t.Errorf("came again four times within %v", took)
	}
	if n := p.Accepted(); n != 5 {
		t.Errorf("%d connections", n)
	}
}
