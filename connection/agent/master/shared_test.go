package master_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/agenttest"
	"github.com/sloth-runner/sloth/connection/agent/master"
	"github.com/sloth-runner/sloth/connection/agent/pki"
	"github.com/sloth-runner/sloth/connection/conntest"
	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/mem"
)

// together is what masters share, in memory; down, it answers nothing.
type together struct {
	store state.Store
	down  atomic.Bool

	mu      sync.Mutex
	watches []context.CancelFunc
}

// fail begins an outage: watches end, too.
func (s *together) fail() {
	s.down.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, end := range s.watches {
		end()
	}
}

var errNoQuorum = errors.New("it has no quorum")

func (s *together) String() string { return "mem://" }

func (s *together) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if s.down.Load() {
		return nil, 0, errNoQuorum
	}
	e, err := s.store.Get(ctx, key)
	if errors.Is(err, state.ErrNotFound) {
		return nil, 0, nil
	}
	return e.Value, uint64(e.Revision), err
}

func (s *together) Commit(ctx context.Context, writes []master.Write) (uint64, error) {
	if s.down.Load() {
		return 0, errNoQuorum
	}
	var ops []state.Op
	for _, w := range writes {
		o := state.Op{Key: w.Key, Value: w.Value, TTL: w.Life, If: state.Revision(w.If)}
		if w.Any {
			o.If = state.Any
		}
		if w.Value == nil {
			o.Kind = state.OpDelete
		}
		if w.Check {
			o.Kind = state.OpCheck
		}
		ops = append(ops, o)
	}
	r, err := s.store.Commit(ctx, ops)
	if errors.Is(err, state.ErrConflict) {
		return 0, master.ErrChanged
	}
	return uint64(r), err
}

func (s *together) Watch(ctx context.Context) iter.Seq2[master.Event, error] {
	return func(yield func(master.Event, error) bool) {
		if s.down.Load() {
			yield(master.Event{}, errNoQuorum)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s.mu.Lock()
		s.watches = append(s.watches, cancel)
		s.mu.Unlock()
		for e, err := range s.store.Watch(ctx, "") {
			if err != nil && s.down.Load() {
				err = errNoQuorum
			}
			if !yield(master.Event{Key: e.Key, Value: e.Value, Revision: uint64(e.Revision), Deleted: e.Deleted, Synced: e.Synced}, err) {
				return
			}
		}
	}
}

func (s *together) keys(t *testing.T, prefix string) (keys []string) {
	t.Helper()
	for e, err := range s.store.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.Key)
	}
	return keys
}

// pairOf is two masters that share their records.
type pairOf struct {
	a, b   *agenttest.Master
	shared *together
}

func newPair(t *testing.T, o master.Options) *pairOf {
	t.Helper()
	p := &pairOf{shared: &together{store: mem.New()}}
	o.Shared = p.shared
	p.a = agenttest.Start(t, o)
	o.Dir = filepath.Join(t.TempDir(), "b")
	text, err := pki.Export(p.a.Options.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Import(o.Dir, text); err != nil {
		t.Fatal(err)
	}
	p.b = agenttest.Start(t, o)
	return p
}

func (p *pairOf) both() string { return p.a.Address + "," + p.b.Address }

func echo(t *testing.T, c connection.Conn) {
	t.Helper()
	var out bytes.Buffer
	if err := connection.Run(soon(t), c, connection.Command{Argv: []string{"echo", "fine"}}, nil, &out, nil); err != nil || out.String() != "fine\n" {
		t.Errorf("a command gives %q, %v", out.String(), err)
	}
}

// listed asks a master for an agent.
func listed(t *testing.T, k *agent.Keep, address, name string) (st agent.Status) {
	t.Helper()
	l, err := k.Dialer(address).Dial(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := l.NewStream(soon(t), &grpc.StreamDesc{ServerStreams: true}, agent.MethodList)
	if err == nil {
		err = s.CloseSend()
	}
	for err == nil && st.Name != name {
		st = agent.Status{}
		err = s.RecvMsg(&st)
	}
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestRouted: whoever asks one master reaches the agents of the other, as if
// they were its own.
func TestRouted(t *testing.T) {
	t.Parallel()
	p := newPair(t, master.Options{Beat: 2 * time.Second})
	k := p.a.Enrol("web-1")
	p.b.StartAgent(k, "web-1", "")
	p.a.Await("web-1", agent.StateActive)
	op := p.a.User("op", master.Operator)
	conntest.Run(t, func(t testing.TB) connection.Conn { return p.a.Dial(t, op, p.a.Address, "web-1") })
	if st := listed(t, op, p.a.Address, "web-1"); st.Master != p.b.Address || st.State != agent.StateActive || st.Since.IsZero() {
		t.Errorf("the other master lists %+v", st)
	}
	if text, err := os.ReadFile(p.b.AuditFile()); err != nil || strings.Contains(string(text), `"user op"`) || strings.Contains(string(text), "/sloth.Peer/") {
		t.Errorf("the master of the agent audited what the other had (%v)\n%.2000s", err, text)
	}
	if err := agenttest.Try(op, p.a.Address, agent.MethodStop, &agent.Name{Name: "web-1"}, &agent.Nothing{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("an operator stops it: %v", err)
	}
	p.a.Call(p.a.User("root", master.Admin), agent.MethodStop, &agent.Name{Name: "web-1"}, &agent.Nothing{})
	p.a.Await("web-1", agent.StateReconnecting)
	// Hosts of a user hold for agents of the other master, too.
	if _, err := agent.Dial(soon(t), op.Dialer(p.a.Address), "web-2"); err == nil || !strings.Contains(err.Error(), "there is no agent web-2") {
		t.Errorf("an agent that nobody has: %v", err)
	}
}

// TestOneAnswer: tokens, users, approvals and their ends are the same wherever
// they are made and asked for.
func TestOneAnswer(t *testing.T) {
	p := newPair(t, master.Options{})
	token := p.a.Token("web-1")
	e := agent.Enrolment{Kind: pki.KindAgent, Name: "web-1", Machine: agenttest.Machine("web-1"), Token: token}
	k := keep(t)
	if err := k.Enrol(soon(t), p.b.Address, e); err != nil {
		t.Fatal(err)
	}
	e.Name = "web-1"
	if err := keep(t).Enrol(soon(t), p.a.Address, e); err == nil || !strings.Contains(err.Error(), "the token was used already") {
		t.Errorf("a token that was used at the other: %v", err)
	}
	ag := p.a.StartAgent(k, "web-1", p.b.Address)
	p.a.Await("web-1", agent.StateActive)
	op := p.b.User("op", master.Operator)
	c := p.a.Dial(t, op, p.a.Address, "web-1")
	defer c.Close()
	proc, err := c.Start(soon(t), connection.Command{Argv: []string{"sleep", "60"}})
	if err != nil {
		t.Fatal(err)
	}
	// A user who is thrown out at one loses what goes on at the other.
	root := p.b.User("root", master.Admin)
	p.b.Call(root, agent.MethodDelete, &agent.Name{Kind: pki.KindUser, Name: "op"}, &agent.Nothing{})
	began := time.Now()
	if err := proc.Wait(); err == nil || time.Since(began) > 2*time.Second {
		t.Errorf("the command of a user that was deleted ended with %v after %s", err, time.Since(began))
	}
	if _, err := agent.Dial(soon(t), op.Dialer(p.a.Address), "web-1"); err == nil || !strings.Contains(err.Error(), "the certificate of user op was revoked") {
		t.Errorf("the deleted user gets %v", err)
	}
	// So does an agent.
	began = time.Now()
	p.a.Call(root, agent.MethodDelete, &agent.Name{Kind: pki.KindAgent, Name: "web-1"}, &agent.Nothing{})
	if err := ag.Wait(); err == nil || !strings.Contains(err.Error(), "revoked") || time.Since(began) > 2*time.Second {
		t.Errorf("the deleted agent ended with %v after %s", err, time.Since(began))
	}
}

// TestClonesApart: two machines with one identity can't hide behind two masters.
func TestClonesApart(t *testing.T) {
	t.Parallel()
	p := newPair(t, master.Options{})
	dir := filepath.Join(t.TempDir(), "a")
	k, err := agent.OpenKeep(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Enrol(soon(t), p.a.Address, agent.Enrolment{Kind: pki.KindAgent, Name: "vm", Machine: agenttest.Machine("vm"), Token: p.a.Token("vm")}); err != nil {
		t.Fatal(err)
	}
	p.a.StartAgent(k, "vm", p.a.Address)
	p.b.Await("vm", agent.StateActive)
	clone := filepath.Join(t.TempDir(), "b")
	if err := os.CopyFS(clone, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for f, mode := range map[string]os.FileMode{"own.key": 0o600, "": 0o700} {
		if err := os.Chmod(filepath.Join(clone, f), mode); err != nil {
			t.Fatal(err)
		}
	}
	k2, err := agent.OpenKeep(clone)
	if err != nil {
		t.Fatal(err)
	}
	second := p.b.StartAgent(k2, "vm", p.b.Address)
	eventually(t, "the second was refused", func() bool {
		return strings.Contains(p.b.Said(), "this identity is connected already") || strings.Contains(strings.Join(second.Log(), "\n"), "Lost connection")
	})
	_ = second.Stop()
	if st := listed(t, p.a.User("op", master.Operator), p.b.Address, "vm"); st.State != agent.StateActive || st.Master != p.a.Address {
		t.Errorf("the first one is %+v", st)
	}
}

// TestAgentsMove: when a master goes its agents are at the other one, which
// knows them; controllers with both addresses go there, too.
func TestAgentsMove(t *testing.T) {
	p := newPair(t, master.Options{})
	for i := range 5 {
		name := fmt.Sprintf("web-%d", i)
		p.a.StartAgent(p.a.Enrol(name), name, p.both())
		p.b.Await(name, agent.StateActive)
	}
	op := p.a.User("op", master.Operator)
	r := agent.NewRouter(op.Dialer(p.both()))
	c, err := r.Dial(soon(t), "web-3")
	if err != nil {
		t.Fatal(err)
	}
	p.a.Stop()
	select {
	case <-c.Done():
	case <-time.After(agenttest.Patience):
		t.Fatal("the connection over the master that ended goes on")
	}
	c.Close()
	for i := range 5 {
		// No wait: whoever asks gets the agent that is on its way.
		c, err := r.Dial(soon(t), fmt.Sprintf("web-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		echo(t, c)
		c.Close()
	}
	p.a.Run()
	if st := listed(t, op, p.a.Address, "web-3"); st.Master != p.b.Address || st.State != agent.StateActive {
		t.Errorf("the master that is back lists %+v", st)
	}
}

// TestMastersApart: a controller whose master can't reach the one that has the
// agent asks that one.
func TestMastersApart(t *testing.T) {
	// Where the second master is said to be, nobody listens.
	p := newPair(t, master.Options{Comeback: 300 * time.Millisecond})
	p.b.Stop()
	p.b.Options.Advertise = "127.0.0.1:1"
	p.b.Run()
	p.b.StartAgent(p.a.Enrol("web-1"), "web-1", p.b.Address)
	p.a.Await("web-1", agent.StateActive)
	op := p.a.User("op", master.Operator)
	if _, err := agent.NewRouter(op.Dialer(p.a.Address)).Dial(soon(t), "web-1"); err == nil || !strings.Contains(err.Error(), "the master 127.0.0.1:1, which has the agent's link, can't be reached") {
		t.Errorf("over the first alone: %v", err)
	}
	r := agent.NewRouter(op.Dialer(p.both()))
	for range 3 {
		c, err := r.Dial(soon(t), "web-1")
		if err != nil {
			t.Fatal(err)
		}
		echo(t, c)
		c.Close()
	}
	text, err := os.ReadFile(p.a.AuditFile())
	if n := strings.Count(string(text), `"object":"web-1","refused"`); n != 2 {
		t.Errorf("the first master was asked %d times in vain, want once by each router (%v)\n%s", n, err, text)
	}
}

// TestSuccessor: a master that is started anew knows that the one before is gone,
// whose lease still holds.
func TestSuccessor(t *testing.T) {
	p := newPair(t, master.Options{LostAfter: time.Hour})
	k := p.a.Enrol("web-1")
	p.a.StartAgent(k, "web-1", p.a.Address)
	p.b.Await("web-1", agent.StateActive)
	// As a kill leaves it: nothing can be written while it ends.
	p.shared.down.Store(true)
	p.a.Stop()
	p.shared.down.Store(false)
	p.b.Await("web-1", agent.StateActive) // by the lease
	p.a.Run()
	p.a.Await("web-1", agent.StateActive)
	op := p.a.User("op", master.Operator)
	eventually(t, "the other master reaches it at the new one", func() bool {
		c, err := agent.Dial(soon(t), op.Dialer(p.b.Address), "web-1")
		if err != nil {
			return false
		}
		defer c.Close()
		return connection.Run(soon(t), c, connection.Command{Argv: []string{"true"}}, nil, nil, nil) == nil
	})
	if n := len(p.shared.keys(t, "masters/")); n != 2 {
		t.Errorf("%d masters are there", n)
	}
}

// TestOutage: while nothing can be written all goes on but changes, and agents
// that break off come back.
func TestOutage(t *testing.T) {
	t.Parallel()
	p := newPair(t, master.Options{})
	k := p.a.Enrol("web-1")
	ag := p.a.StartAgent(k, "web-1", p.a.Address)
	p.b.Await("web-1", agent.StateActive)
	op, root := p.a.User("op", master.Operator), p.a.User("root", master.Admin)
	gone := p.a.User("gone", master.Operator)
	p.b.Dial(t, gone, p.b.Address, "web-1").Close()
	p.shared.fail()
	for _, at := range []string{p.a.Address, p.b.Address} {
		c := p.a.Dial(t, op, at, "web-1")
		echo(t, c)
		c.Close()
		for method, q := range map[string]any{
			agent.MethodToken:  &agent.TokenRequest{Kind: pki.KindAgent, Pattern: "x"},
			agent.MethodDelete: &agent.Name{Kind: pki.KindAgent, Name: "web-1"},
		} {
			err := agenttest.Try(root, at, method, q, &agent.Nothing{})
			if status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "so nothing can be changed; try again when it answers: it has no quorum") {
				t.Errorf("%s gives %v", method, err)
			}
		}
	}
	// A master that is not here throws somebody out; nobody hears of it.
	if err := p.shared.store.Delete(t.Context(), "users/gone", state.Any); err != nil {
		t.Fatal(err)
	}
	p.b.Dial(t, gone, p.b.Address, "web-1").Close()
	_ = ag.Stop()
	p.a.StartAgent(k, "web-1", p.a.Address) // another process of the same host
	p.a.Await("web-1", agent.StateActive)
	c := p.a.Dial(t, op, p.a.Address, "web-1")
	echo(t, c)
	c.Close()
	p.shared.down.Store(false)
	eventually(t, "the other master knows where it is", func() bool {
		c, err := agent.Dial(soon(t), op.Dialer(p.b.Address), "web-1")
		if err != nil {
			return false
		}
		defer c.Close()
		return connection.Run(soon(t), c, connection.Command{Argv: []string{"true"}}, nil, nil, nil) == nil
	})
	eventually(t, "it is heard who was thrown out", func() bool {
		_, err := agent.Dial(soon(t), gone.Dialer(p.b.Address), "web-1")
		return err != nil && strings.Contains(err.Error(), "the certificate of user gone was revoked")
	})
}

// TestSealed: who can write what masters share can neither read nor make a
// record, and another authority is kept out.
func TestSealed(t *testing.T) {
	p := newPair(t, master.Options{})
	p.a.Enrol("web-1")
	p.a.User("op", master.Operator)
	var mine []byte
	for e, err := range p.shared.store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(e.Value, []byte("web-1")) || bytes.Contains(e.Value, []byte("operator")) {
			t.Errorf("%s can be read: %q", e.Key, e.Value)
		}
		if e.Key == "users/op" {
			mine = e.Value
		}
	}
	for key, value := range map[string][]byte{
		"users/root":  mine, // another's record
		"users/mary":  []byte(`{"name":"mary","role":"admin"}`),
		"users/short": {1},
	} {
		if _, err := p.shared.store.Put(t.Context(), key, value, 0, 0); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it was noticed", func() bool {
			return strings.Contains(p.b.Said(), "WARNING: %s in %s was not written by a master") || strings.Contains(p.b.Said(), "WARNING: "+key)
		})
	}
	dir := filepath.Join(t.TempDir(), "c")
	_, err := master.New(t.Context(), master.Options{Dir: dir, Shared: p.shared})
	if err == nil || !strings.Contains(err.Error(), "and there is none in "+dir+": bring theirs here with `sloth master export`") {
		t.Errorf("no authority yet: %v", err)
	}
	if _, err := pki.OpenAuthority(dir, nil); err != nil { // it was left free for that
		t.Fatal(err)
	}
	_, err = master.New(t.Context(), master.Options{Dir: dir, Shared: p.shared})
	if err == nil || !strings.Contains(err.Error(), "into an empty folder with `sloth master export`") {
		t.Errorf("another authority: %v", err)
	}
}

// TestPeersAreMasters: what masters ask each other is refused to all others, and
// a master's certificate is good for nothing else.
func TestPeersAreMasters(t *testing.T) {
	p := newPair(t, master.Options{})
	own, err := pki.OpenAuthority(p.a.Options.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := own.Peer("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	server, err := own.Server()
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{Master: p.b, t: t}
	for _, method := range master.Methods() {
		kind, _ := master.NeedsRole(method)
		refused := status.Code(s.try(cert, method)) == codes.PermissionDenied
		if allowed := kind == "" || kind == pki.KindMaster; refused == allowed {
			t.Errorf("%s by a master: refused %v", method, refused)
		}
		if kind == pki.KindMaster {
			if err := s.try(server, method); err == nil || !strings.Contains(err.Error(), "it does not accept our certificate") {
				t.Errorf("%s by whoever has what a master shows to all: %v", method, err)
			}
		}
	}
	alone := &scene{Master: agenttest.Start(t, master.Options{}), t: t}
	if own, err = pki.OpenAuthority(alone.Options.Dir, nil); err != nil {
		t.Fatal(err)
	}
	if cert, err = own.Peer("0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	if err := alone.try(cert, agent.MethodPeerList); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "shares nothing") {
		t.Errorf("a master that is alone: %v", err)
	}
}

// TestFromOneToMany: a master that was alone brings what it knows, and does not
// go back to it by mistake.
func TestFromOneToMany(t *testing.T) {
	a := agenttest.Start(t, master.Options{})
	k := a.Enrol("web-1")
	a.Stop()
	o := a.Options
	o.Shared = &together{store: mem.New()}
	b := agenttest.Start(t, o)
	b.StartAgent(k, "web-1", "")
	b.Await("web-1", agent.StateActive)
	b.Stop()
	o.Shared = nil
	if _, err := master.New(t.Context(), o); err == nil || !strings.Contains(err.Error(), "this master shares its records in mem://: start it with --state") {
		t.Errorf("alone again: %v", err)
	}
}
