// Package agenttest runs a master and agents inside a test.
package agenttest

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/master"
	"github.com/sloth-runner/sloth/connection/agent/pki"
	"github.com/sloth-runner/sloth/connection/local"
)

// Patience is how long a test waits for what must happen soon.
const Patience = 20 * time.Second

// Master is a running master.
type Master struct {
	*master.Master
	t       testing.TB
	Options master.Options
	Address string
	stop    context.CancelFunc
	done    chan struct{}
	mu      sync.Mutex
	lines   []string
}

// Start runs a master that ends with the test.
func Start(t testing.TB, o master.Options) *Master {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "master")
	}
	if o.Beat == 0 {
		o.Beat = 200 * time.Millisecond
	}
	if o.EnrolBurst == 0 {
		o.EnrolBurst = 1000
	}
	m := &Master{t: t, Options: o, Address: "127.0.0.1:0"}
	if o.Shared != nil {
		l, err := net.Listen("tcp", m.Address) // others are told where before it runs
		if err != nil {
			t.Fatal(err)
		}
		m.Address = l.Addr().String()
		l.Close()
		if o.Advertise == "" {
			m.Options.Advertise = m.Address
		}
	}
	m.Options.Log = func(format string, args ...any) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.lines = append(m.lines, fmt.Sprintf(format, args...))
	}
	m.Run()
	t.Cleanup(m.Stop)
	return m
}

// Run starts it again, at the same address.
func (m *Master) Run() {
	m.t.Helper()
	var err error
	if m.Master, err = master.New(context.Background(), m.Options); err != nil {
		m.t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", m.Address)
	if err != nil {
		m.t.Fatal(err)
	}
	m.Address = l.Addr().String()
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	m.done = make(chan struct{})
	served := m.Master
	go func() {
		defer close(m.done)
		if err := served.Serve(ctx, l); err != nil {
			m.t.Errorf("serve: %v", err)
		}
		served.Close()
	}()
}

// Said is what it logged.
func (m *Master) Said() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.lines, "\n")
}

// Stop ends it.
func (m *Master) Stop() { m.stop(); <-m.done }

// User makes somebody who may use the master.
func (m *Master) User(name string, role master.Role) *agent.Keep {
	m.t.Helper()
	k, err := agent.OpenKeep(filepath.Join(m.t.TempDir(), "user"))
	if err != nil {
		m.t.Fatal(err)
	}
	csr, err := k.Request()
	if err != nil {
		m.t.Fatal(err)
	}
	reply, err := m.Grant(context.Background(), name, role, csr)
	if err != nil {
		m.t.Fatal(err)
	}
	ca, err := m.Authority()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := k.Store(name, m.Address, reply.Cert, ca); err != nil {
		m.t.Fatal(err)
	}
	return k
}

// Token makes a join token for agents.
func (m *Master) Token(pattern string) string {
	m.t.Helper()
	var info agent.TokenInfo
	m.Call(m.User("tokens", master.Admin), agent.MethodToken, &agent.TokenRequest{Kind: pki.KindAgent, Pattern: pattern}, &info)
	return info.Text
}

// Call is a call that must succeed.
func (m *Master) Call(k *agent.Keep, method string, q, r any) {
	m.t.Helper()
	if err := Try(k, m.Address, method, q, r); err != nil {
		m.t.Fatalf("%s: %v", method, err)
	}
}

// Try is one call.
func Try(k *agent.Keep, address, method string, q, r any) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	link, err := k.Dialer(address).Dial(ctx)
	if err != nil {
		return err
	}
	defer link.Close()
	return link.Invoke(ctx, method, q, r)
}

// Machine is the machine id of a test's agents.
func Machine(name string) string { return pki.Fingerprint([]byte("machine of " + name)) }

// Enrol makes an agent known, with a token.
func (m *Master) Enrol(name string) *agent.Keep {
	m.t.Helper()
	k, err := agent.OpenKeep(filepath.Join(m.t.TempDir(), "agent"))
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := k.Enrol(ctx, m.Address, agent.Enrolment{Kind: pki.KindAgent, Name: name, Machine: Machine(name), Token: m.Token(name)}); err != nil {
		m.t.Fatal(err)
	}
	return k
}

// Agent is a running agent.
type Agent struct {
	*agent.Agent
	Keep *agent.Keep
	t    testing.TB
	stop context.CancelFunc
	done chan struct{}
	err  error
	mu   sync.Mutex
	log  []string
}

// StartAgent runs an enrolled agent until the test ends; address empty: the
// master's own; several have commas.
func (m *Master) StartAgent(k *agent.Keep, name, address string) *Agent {
	m.t.Helper()
	if address == "" {
		address = m.Address
	}
	a := &Agent{Keep: k, t: m.t, done: make(chan struct{})}
	host := local.New()
	a.Agent = agent.New(agent.Options{
		Masters: strings.Split(address, ","), Keep: k, Host: host, First: 20 * time.Millisecond, Longest: 200 * time.Millisecond, Connect: 2 * time.Second,
		Hello: agent.Hello{Machine: Machine(name), Version: "test"},
		Log: func(format string, args ...any) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.log = append(a.log, fmt.Sprintf(format, args...))
		},
	})
	var ctx context.Context
	ctx, a.stop = context.WithCancel(context.Background())
	go func() {
		defer close(a.done)
		a.err = a.Run(ctx)
		host.Close()
	}()
	m.t.Cleanup(func() { _ = a.Stop() })
	return a
}

// Stop ends it and says how it ended.
func (a *Agent) Stop() error { a.stop(); return a.Wait() }

// Wait waits for its end.
func (a *Agent) Wait() error {
	select {
	case <-a.done:
	case <-time.After(Patience):
		a.t.Error("the agent does not end")
	}
	return a.err
}

// Log is what it said, formats only.
func (a *Agent) Log() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.log...)
}

// Await waits until an agent is in that state.
func (m *Master) Await(name, state string) {
	m.t.Helper()
	for end := time.Now().Add(Patience); ; time.Sleep(5 * time.Millisecond) {
		for _, st := range m.Agents() {
			if st.Name == name && st.State == state {
				return
			}
		}
		if time.Now().After(end) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.t.Fatalf("agent %s is not %s: %+v\n%s", name, state, m.Agents(), strings.Join(m.lines, "\n"))
		}
	}
}

// Dial reaches an agent.
func (m *Master) Dial(t testing.TB, k *agent.Keep, address, name string) connection.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	c, err := agent.Dial(ctx, k.Dialer(address), name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
