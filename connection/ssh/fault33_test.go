package ssh_test

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/faultproxy"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestFault33SilentLink: a NAT, a firewall or a dead host that says nothing is
// noticed, whatever is under way, and the next dial works.
func TestFault33SilentLink(t *testing.T) {
	t.Parallel()
	const span, count = time.Second, 2
	silent := func(op string) string { return op + `: the host has gone silent: nothing arrived in ([2-9]|1\d)s` }
	for _, c := range []struct {
		name  string
		fault func(*faultproxy.Proxy, *sshdtest.Server)
	}{
		{"black hole", func(p *faultproxy.Proxy, _ *sshdtest.Server) { p.Blackhole() }},
		{"stalled", func(p *faultproxy.Proxy, _ *sshdtest.Server) { p.Stall(faultproxy.Both) }},
		{"answers are lost", func(p *faultproxy.Proxy, _ *sshdtest.Server) { p.Stall(faultproxy.ToClient) }},
		{"questions are lost", func(p *faultproxy.Proxy, _ *sshdtest.Server) { p.Stall(faultproxy.ToServer) }},
		{"frozen host", func(_ *faultproxy.Proxy, s *sshdtest.Server) { s.Freeze() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := sshdtest.Start(t, sshdtest.Options{})
			p := faultproxy.Start(t, s.Addr())
			d := newDialer(t, ssh.Config{KeepAlive: span, KeepAliveCount: count})
			conn := mustDial(t, d, p.Target(s.Target()))
			proc := running(t, conn)
			defer s.Thaw()
			begin := time.Now()
			c.fault(p, s)
			err := proc.Wait()
			expect(t, s, err, connection.ClassTCP, silent("wait for the command"), "the link or the host went down while this was under way")
			if took := time.Since(begin); took < (count-1)*span {
				t.Errorf("given up after %v", took)
			}
			if err := conn.Upload(testContext(t), "/tmp/never", 0o600, 1, strings.NewReader("x")); !isLost(err) {
				t.Errorf("an upload over the lost connection gives %v", err)
			}
			p.Heal()
			s.Thaw()
			works(t, d, p.Target(s.Target()))
		})
	}
	t.Run("during an upload", func(t *testing.T) {
		t.Parallel()
		s := sshdtest.Start(t, sshdtest.Options{})
		p := faultproxy.Start(t, s.Addr())
		conn := mustDial(t, newDialer(t, ssh.Config{KeepAlive: span, KeepAliveCount: count}), p.Target(s.Target()))
		p.After(1<<20, faultproxy.ToServer, (*faultproxy.Link).Blackhole)
		file := filepath.Join(t.TempDir(), "f")
		expect(t, s, conn.Upload(testContext(t), file, 0o600, 1<<30, zeros{}), connection.ClassTCP, silent("upload "+file), `.*`)
	})
}

// TestFault33Patience holds the numbers: 15 s by default, and what ssh_config
// says instead.
func TestFault33Patience(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	for _, c := range []struct {
		config      ssh.Config
		options     map[string]string
		span, limit time.Duration
	}{
		{span: 5 * time.Second, limit: 15 * time.Second},
		{config: ssh.Config{KeepAlive: time.Second, KeepAliveCount: 7}, span: time.Second, limit: 7 * time.Second},
		{config: ssh.Config{KeepAlive: time.Second}, options: map[string]string{"serveraliveinterval": "20"}, span: 20 * time.Second, limit: time.Minute},
		{options: map[string]string{"serveraliveinterval": "1m", "serveralivecountmax": "5"}, span: time.Minute, limit: 5 * time.Minute},
		{options: map[string]string{"serveraliveinterval": "2", "serveralivecountmax": "1"}, span: 2 * time.Second, limit: 4 * time.Second},
		{options: map[string]string{"serveraliveinterval": "0"}, span: 5 * time.Second, limit: 15 * time.Second},
	} {
		target := s.Target()
		for k, v := range c.options {
			target.Options[k] = v
		}
		conn := mustDial(t, newDialer(t, c.config), target).(*ssh.Conn)
		if span, limit := conn.Patience(); span != c.span || limit != c.limit {
			t.Errorf("%+v %v: asks after %v, gives up after %v; want %v, %v", c.config, c.options, span, limit, c.span, c.limit)
		}
	}
}

// TestFault33Traffic: an idle connection is asked for a sign of life, one that
// brings data is not.
func TestFault33Traffic(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	p := faultproxy.Start(t, s.Addr())
	conn := mustDial(t, newDialer(t, ssh.Config{KeepAlive: 300 * time.Millisecond, KeepAliveCount: 100}), p.Target(s.Target()))
	up := func() int64 { n, _ := p.Bytes(); return n }

	begin := up()
	for i := range 3 {
		waitFor(t, "a keep-alive", func() bool { return up() > begin })
		begin = up()
		if isGone(conn) {
			t.Fatalf("lost after %d keep-alives", i)
		}
	}

	// Ten lines every half span: as fast as a busy machine can be expected to be.
	proc, err := conn.Start(testContext(t), connection.Command{Argv: []string{"/bin/sh", "-c", "while echo tick; do sleep 0.02; done"}})
	if err != nil {
		t.Fatal(err)
	}
	tick := make([]byte, 5)
	quiet := false
	for attempt := 0; attempt < 5 && !quiet; attempt++ {
		before, longest := up(), time.Duration(0)
		for begin := time.Now(); time.Since(begin) < time.Second; {
			last := time.Now()
			if _, err := io.ReadFull(proc.Stdout(), tick); err != nil {
				t.Fatal(err)
			}
			longest = max(longest, time.Since(last))
		}
		quiet = up() == before
		if !quiet && longest < 100*time.Millisecond {
			t.Errorf("%d bytes were sent while data came in every %v", up()-before, longest)
		}
	}
	if !quiet {
		t.Error("the host never spoke steadily for a second")
	}
}

func isGone(c connection.Conn) bool {
	select {
	case <-c.(*ssh.Conn).Done():
		return true
	default:
		return false
	}
}

// zeros is a source without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
