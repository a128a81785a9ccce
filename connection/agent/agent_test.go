package agent_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/agenttest"
	"github.com/sloth-runner/sloth/connection/agent/master"
	"github.com/sloth-runner/sloth/connection/agent/pki"
	"github.com/sloth-runner/sloth/connection/faultproxy"
)

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), agenttest.Patience)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(agenttest.Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// TestFault58ReplayedJob: a job is done once, and not after its time.
func TestFault58ReplayedJob(t *testing.T) {
	a := agent.New(agent.Options{})
	now := time.Now()
	id := strings.Repeat("a", 32)
	for _, c := range []struct {
		name, id string
		expires  time.Time
		now      time.Time
		want     string
	}{
		{"new", id, now.Add(30 * time.Second), now, ""},
		{"again", id, now.Add(30 * time.Second), now, "it was given before"},
		{"again, said to be new", id, now.Add(50 * time.Second), now.Add(20 * time.Second), "it was given before"},
		{"too late", strings.Repeat("b", 32), now, now.Add(time.Second), "it has expired"},
		{"good for ever", strings.Repeat("c", 32), now.Add(24 * time.Hour), now, "it would be valid for too long"},
		{"after its id was forgotten", id, now.Add(30 * time.Second), now.Add(31 * time.Second), "it has expired"},
		{"no id", "", now.Add(30 * time.Second), now, "it has no proper id"},
	} {
		if got := a.Admit(&agent.Open{ID: c.id, Expires: c.expires}, c.now); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// oldMaster speaks a protocol from before the floor.
func oldMaster(t *testing.T, a *pki.Authority) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(agent.Codec{}), grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.Server() },
	})))
	s.RegisterService(&grpc.ServiceDesc{ServiceName: agent.ServiceAgent, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Attend", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, st grpc.ServerStream) error {
			var m agent.ToMaster
			if err := st.RecvMsg(&m); err != nil {
				return err
			}
			return st.SendMsg(&agent.ToAgent{Welcome: &agent.Welcome{Protocol: agent.Floor - 1, Beat: time.Second, Misses: 3}})
		},
	}}}, nil)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { s.Stop(); wg.Wait() })
	return l.Addr().String()
}

// TestFault58Downgrade: an agent does not go back to what an older master spoke.
func TestFault58Downgrade(t *testing.T) {
	m := agenttest.Start(t, master.Options{})
	k := m.Enrol("web-1")
	a, err := pki.OpenAuthority(m.Options.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = m.StartAgent(k, "web-1", oldMaster(t, a)).Wait()
	if err == nil || !strings.Contains(err.Error(), "it speaks an older protocol than this agent accepts (1)") {
		t.Errorf("the agent ended with %v", err)
	}
}

// TestOtherMaster: whoever sits at the address is not obeyed without the key.
func TestOtherMaster(t *testing.T) {
	m := agenttest.Start(t, master.Options{})
	thief := agenttest.Start(t, master.Options{})
	a := m.StartAgent(m.Enrol("web-1"), "web-1", thief.Address)
	if err := a.Wait(); err == nil || !strings.Contains(err.Error(), "this is another master") {
		t.Errorf("the agent ended with %v", err)
	}
	_, err := agent.Dial(soon(t), m.User("op", master.Operator).Dialer(thief.Address), "web-1")
	if err == nil || !strings.Contains(err.Error(), "this is another master") {
		t.Errorf("the controller says %v", err)
	}
}

// TestStates: an agent that is cut off is Reconnecting, then Lost, and Active
// again when it is back; its log says so.
func TestStates(t *testing.T) {
	m := agenttest.Start(t, master.Options{Beat: 100 * time.Millisecond, LostAfter: 600 * time.Millisecond})
	proxy := faultproxy.Start(t, m.Address)
	a := m.StartAgent(m.Enrol("web-1"), "web-1", proxy.Addr())
	m.Await("web-1", agent.StateActive)
	for name, cut := range map[string]func(){"cut": proxy.Cut, "silence": proxy.Blackhole} {
		t.Run(name, func(t *testing.T) {
			proxy.Refuse(true)
			cut()
			m.Await("web-1", agent.StateReconnecting)
			m.Await("web-1", agent.StateLost)
			eventually(t, "the agent has noticed", func() bool { return a.State() == agent.StateReconnecting })
			proxy.Heal()
			m.Await("web-1", agent.StateActive)
		})
	}
	log := strings.Join(a.Log(), "\n")
	for _, want := range []string{"registered with " + proxy.Addr() + " as web-1", "Lost connection to " + proxy.Addr(), "Reconnecting in "} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
}

// TestMasterRestart: nothing is forgotten, and all come back.
func TestMasterRestart(t *testing.T) {
	m := agenttest.Start(t, master.Options{})
	m.StartAgent(m.Enrol("web-1"), "web-1", "")
	m.Await("web-1", agent.StateActive)
	op := m.User("op", master.Operator)
	for range 3 {
		m.Stop()
		m.Run()
		// No wait: whoever asks right after a restart gets the agent that is on its way.
		c := m.Dial(t, op, m.Address, "web-1")
		if err := connection.Run(soon(t), c, connection.Command{Argv: []string{"true"}}, nil, nil, nil); err != nil {
			t.Error(err)
		}
		c.Close()
	}
}

// TestFault59NoHerd: waits are spread, grow, and have an end.
func TestFault59NoHerd(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 1000 {
		d := agent.Jitter(time.Minute)
		if d < 30*time.Second || d > time.Minute {
			t.Fatalf("a wait of %s", d)
		}
		seen[d.Round(100*time.Millisecond)] = true
	}
	if len(seen) < 200 {
		t.Errorf("1000 waits of a minute fall on %d tenths of a second", len(seen))
	}
	var mu sync.Mutex
	var waits []time.Duration
	dir := filepath.Join(t.TempDir(), "k")
	m := agenttest.Start(t, master.Options{})
	k, err := agent.OpenKeep(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Enrol(soon(t), m.Address, agent.Enrolment{Kind: pki.KindAgent, Name: "a", Machine: agenttest.Machine("a"), Token: m.Token("a")}); err != nil {
		t.Fatal(err)
	}
	m.Stop()
	ctx, cancel := context.WithCancel(soon(t))
	a := agent.New(agent.Options{Masters: []string{m.Address}, Keep: k, First: 2 * time.Millisecond, Longest: 16 * time.Millisecond, Log: func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasPrefix(format, "Reconnecting") {
			waits = append(waits, args[0].(time.Duration))
			if len(waits) == 8 {
				cancel()
			}
		}
	}})
	if err := a.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for i, limit := range []time.Duration{2, 4, 8, 16, 16, 16, 16, 16} {
		if limit *= time.Millisecond; waits[i] > limit+time.Millisecond || waits[i] < limit/2-time.Millisecond {
			t.Errorf("wait %d is %s, want up to %s", i, waits[i], limit)
		}
	}
	m.Run() // its end is the test's
}

// TestClocks: a clock that is off by a year is named, both are.
func TestClocks(t *testing.T) {
	m := agenttest.Start(t, master.Options{})
	k := m.Enrol("web-1")
	d := k.Dialer("")
	d.Now = func() time.Time { return time.Now().AddDate(1, 0, 0) }
	_, err := d.Dial(soon(t))
	here, there := time.Now().AddDate(1, 0, 0).UTC().Format("2006-01-02T"), time.Now().UTC().Format("2006-01-02T")
	if err == nil || !strings.Contains(err.Error(), "the clocks are too far apart: this machine says "+here) || !strings.Contains(err.Error(), "the master about "+there) {
		t.Errorf("got %v", err)
	}
	var c *connection.Error
	if !errors.As(err, &c) || c.Hint == "" {
		t.Errorf("no hint in %#v", err)
	}
}

// TestRenewal: a certificate is replaced for the same key, over the same link.
func TestRenewal(t *testing.T) {
	m := agenttest.Start(t, master.Options{})
	k := m.Enrol("web-1")
	before := k.Dialer("").Certificate.Leaf
	l, err := k.Dialer("").Dial(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := k.Renew(soon(t), l, agent.MethodRenew); err != nil {
		t.Fatal(err)
	}
	after := k.Dialer("").Certificate.Leaf
	if after.SerialNumber.Cmp(before.SerialNumber) == 0 || pki.KeyOf(after) != pki.KeyOf(before) {
		t.Error("the certificate is the same, or its key is not")
	}
	m.StartAgent(k, "web-1", "")
	m.Await("web-1", agent.StateActive)
}

// TestInterruptedRenewal: what is on the disk is the old or the new
// certificate, whole.
func TestInterruptedRenewal(t *testing.T) {
	m := agenttest.Start(t, master.Options{})
	dir := filepath.Join(t.TempDir(), "k")
	k, err := agent.OpenKeep(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Enrol(soon(t), m.Address, agent.Enrolment{Kind: pki.KindAgent, Name: "a", Machine: agenttest.Machine("a"), Token: m.Token("a")}); err != nil {
		t.Fatal(err)
	}
	// A writer that was killed leaves its temporary file; the name is untouched.
	if err := os.WriteFile(filepath.Join(dir, ".new-123"), []byte("-----BEGIN CERT"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := agent.OpenKeep(dir)
	if err != nil || !again.Enrolled() || again.Name() != "a" {
		t.Fatalf("opened again: %v", err)
	}
	m.StartAgent(again, "a", "")
	m.Await("a", agent.StateActive)
}

func TestKeepIsClosedToOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "k")
	if _, err := agent.OpenKeep(dir); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, "own.key"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key is %v, %v", st.Mode(), err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the point
		t.Fatal(err)
	}
	if _, err := agent.OpenKeep(dir); err == nil || !strings.Contains(err.Error(), "is open to others") {
		t.Errorf("an open folder gives %v", err)
	}
}

// TestWelcomeComesFirst: who waits for an agent gives it work the moment it is
// there, and yet the first thing that it hears is its welcome.
func TestWelcomeComesFirst(t *testing.T) {
	m := agenttest.Start(t, master.Options{})
	proxy := faultproxy.Start(t, m.Address)
	a := m.StartAgent(m.Enrol("web-1"), "web-1", proxy.Addr())
	m.Await("web-1", agent.StateActive)
	r := agent.NewRouter(m.User("op", master.Operator).Dialer(m.Address))
	ctx, cancel := context.WithCancel(soon(t))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var worked atomic.Int32
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c, err := r.Dial(ctx, "web-1")
				if err != nil {
					continue
				}
				if connection.Run(ctx, c, connection.Command{Argv: []string{"true"}}, nil, nil, nil) == nil {
					worked.Add(1)
				}
				c.Close()
			}
		})
	}
	for range 10 {
		before := worked.Load()
		proxy.Cut()
		eventually(t, "work goes on after a cut", func() bool { return worked.Load() > before })
	}
	if log := strings.Join(a.Log(), "\n"); strings.Contains(log, "refused") {
		t.Errorf("the agent's log:\n%s", log)
	}
}
