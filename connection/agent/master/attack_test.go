package master_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
)

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), agenttest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// scene is a master with one agent that works, and somebody who uses it.
type scene struct {
	*agenttest.Master
	t  *testing.T
	op *agent.Keep
}

func newScene(t *testing.T, o master.Options) *scene {
	t.Helper()
	m := agenttest.Start(t, o)
	m.StartAgent(m.Enrol("web-1"), "web-1", "")
	m.Await("web-1", agent.StateActive)
	return &scene{Master: m, t: t, op: m.User("op", master.Operator)}
}

// works checks that others are unaffected by what was tried.
func (s *scene) works() {
	s.t.Helper()
	c := s.Dial(s.t, s.op, s.Address, "web-1")
	defer c.Close()
	var out bytes.Buffer
	if err := connection.Run(soon(s.t), c, connection.Command{Argv: []string{"echo", "fine"}}, nil, &out, nil); err != nil || out.String() != "fine\n" {
		s.t.Errorf("afterwards a command gives %q, %v", out.String(), err)
	}
}

func (s *scene) audited(want string) {
	s.t.Helper()
	text, err := os.ReadFile(s.AuditFile())
	if err != nil || !strings.Contains(string(text), want) {
		s.t.Errorf("the audit does not say %q (%v)", want, err)
	}
}

func (s *scene) authority() *x509.Certificate {
	s.t.Helper()
	ca, err := s.Authority()
	if err != nil {
		s.t.Fatal(err)
	}
	return ca
}

// pair is a certificate of an authority, good for life.
func pair(t *testing.T, a *pki.Authority, id pki.Identity, life time.Duration) (*tls.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.Issue(csr, id, life)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, key
}

// try calls a method as whoever has that certificate.
func (s *scene) try(cert *tls.Certificate, method string) error {
	s.t.Helper()
	d := &agent.Dialer{Address: s.Address, Authority: s.authority(), Certificate: cert}
	l, err := d.Dial(soon(s.t))
	if err != nil {
		return err
	}
	defer l.Close()
	st, err := l.NewStream(soon(s.t), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err == nil {
		if err = st.SendMsg(&agent.Nothing{}); err == nil || errors.Is(err, io.EOF) {
			_ = st.CloseSend()
			err = st.RecvMsg(&agent.Nothing{})
		}
	}
	if why := l.Rejected(cert, time.Now(), err); why != nil {
		return why
	}
	return err
}

// TestNoCertificate: without one every method but the enrolment is refused,
// those that do not exist too.
func TestNoCertificate(t *testing.T) {
	s := newScene(t, master.Options{})
	for _, method := range append(master.Methods(), "/sloth.User/Nothing", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/x/y") {
		err := s.try(nil, method)
		if method == agent.MethodEnrol {
			if c := status.Code(err); c != codes.FailedPrecondition { // it has no protocol
				t.Errorf("%s gives %v", method, err)
			}
			continue
		}
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s gives %v", method, err)
		}
		s.audited(`"method":"` + method + `","refused"`)
	}
	s.works()
}

// TestRoles: every method is refused to those whose certificate is of another
// kind, or whose role is below what it needs.
func TestRoles(t *testing.T) {
	s := newScene(t, master.Options{})
	certs := map[string]*agent.Keep{"agent": s.Enrol("other"), "viewer": s.User("v", master.Viewer), "operator": s.op, "admin": s.User("a", master.Admin)}
	rank := map[string]int{"viewer": 0, "operator": 1, "admin": 2}
	for _, method := range master.Methods() {
		kind, role := master.NeedsRole(method)
		for who, k := range certs {
			err := s.try(k.Dialer("").Certificate, method)
			refused := status.Code(err) == codes.PermissionDenied
			allowed := kind == "" || kind == "agent" && who == "agent" || kind == "user" && who != "agent" && rank[who] >= rank[string(role)]
			if refused == allowed {
				t.Errorf("%s by %s gives %v", method, who, err)
			}
		}
	}
	if err := s.try(s.op.Dialer("").Certificate, "/sloth.User/Nothing"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a method that does not exist gives %v", err)
	}
	s.works()
}

func TestHostPatterns(t *testing.T) {
	s := newScene(t, master.Options{})
	var token agent.TokenInfo
	s.Call(s.User("admin", master.Admin), agent.MethodToken, &agent.TokenRequest{Kind: pki.KindUser, Pattern: "ann", Role: "operator", Hosts: "db-*, web-2"}, &token)
	k, err := agent.OpenKeep(filepath.Join(t.TempDir(), "ann"))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Enrol(soon(t), s.Address, agent.Enrolment{Kind: pki.KindUser, Name: "ann", Token: token.Text}); err != nil {
		t.Fatal(err)
	}
	_, err = agent.Dial(soon(t), k.Dialer(""), "web-1")
	if err == nil || !strings.Contains(err.Error(), "user ann may not reach the agent web-1") {
		t.Errorf("got %v", err)
	}
	s.works()
}

// TestFault58StolenAndForged: certificates that must not hold.
func TestFault58StolenAndForged(t *testing.T) {
	s := newScene(t, master.Options{})
	own, err := pki.OpenAuthority(s.Options.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	other, err := pki.OpenAuthority(foreign, nil)
	if err != nil {
		t.Fatal(err)
	}
	web := pki.Identity{Kind: pki.KindAgent, Name: "web-1", Machine: agenttest.Machine("web-1")}
	for _, c := range []struct {
		name string
		by   *pki.Authority
		id   pki.Identity
		life time.Duration
		want string
	}{
		{"expired", own, web, -time.Minute, "our certificate is valid from "},
		{"foreign authority", other, web, time.Hour, "it does not accept our certificate: "},
		{"foreign authority, admin", other, pki.Identity{Kind: pki.KindUser, Name: "op"}, time.Hour, "it does not accept our certificate: "},
		{"another key than was enrolled", own, web, time.Hour, "the certificate of agent web-1 was revoked"},
		{"a name that nobody enrolled", own, pki.Identity{Kind: pki.KindAgent, Name: "web-9"}, time.Hour, "the certificate of agent web-9 was revoked"},
		{"a user that nobody made", own, pki.Identity{Kind: pki.KindUser, Name: "root"}, time.Hour, "this is for a certificate of kind agent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert, _ := pair(t, c.by, c.id, c.life)
			err := s.try(cert, agent.MethodAttend)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	s.works()
}

// TestRevocationIsLive: a stream that is open ends with the right to it, and
// what runs over it too.
func TestRevocationIsLive(t *testing.T) {
	s := newScene(t, master.Options{})
	admin := s.User("admin", master.Admin)
	k := s.Enrol("gone")
	a := s.StartAgent(k, "gone", "")
	s.Await("gone", agent.StateActive)
	c := s.Dial(t, s.op, s.Address, "gone")
	defer c.Close()
	p, err := c.Start(soon(t), connection.Command{Argv: []string{"/bin/sh", "-c", "echo here; exec sleep 1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p.Stdout(), make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	s.Call(admin, agent.MethodDelete, &agent.Name{Name: "gone", Kind: pki.KindAgent}, &agent.Nothing{})
	if err := p.Wait(); !connection.Unreachable(err) {
		t.Errorf("the command under way gives %v", err)
	}
	if err := a.Wait(); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("the agent ended with %v", err)
	}
	if err := s.try(k.Dialer("").Certificate, agent.MethodRenew); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a renewal with the revoked certificate gives %v", err)
	}
	// A user's, too.
	user := s.User("bob", master.Operator)
	conn := s.Dial(t, user, s.Address, "web-1")
	defer conn.Close()
	s.Call(admin, agent.MethodDelete, &agent.Name{Name: "bob", Kind: pki.KindUser}, &agent.Nothing{})
	select {
	case <-conn.(interface{ Done() <-chan struct{} }).Done():
	case <-time.After(agenttest.Patience):
		t.Error("a revoked user keeps the connection")
	}
	s.works()
}

func keep(t *testing.T) *agent.Keep {
	t.Helper()
	k, err := agent.OpenKeep(filepath.Join(t.TempDir(), "keep"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestTokens: each is good once, for its names and kind, and for its time.
func TestTokens(t *testing.T) {
	var mu sync.Mutex
	ahead := time.Duration(0)
	s := newScene(t, master.Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }})
	enrol := func(name, token string) error {
		return keep(t).Enrol(soon(t), s.Address, agent.Enrolment{Kind: pki.KindAgent, Name: name, Machine: agenttest.Machine(name), Token: token})
	}
	token := s.Token("db-*")
	for _, c := range []struct{ name, who, token, want string }{
		{"another name", "web-7", token, "the token is for the name db-*"},
		{"good", "db-1", token, ""},
		{"used twice", "db-2", token, "the token was used already, by agent db-1"},
		{"made up", "db-2", pki.NewToken(s.Fingerprint()).Text(), "there is no such token"},
		{"of another master", "db-2", pki.NewToken(strings.Repeat("0", 64)).Text(), "this is another master: its authority is not the one that is known here"},
		{"nonsense", "db-2", "hello", "this is no join token; `sloth agent token` makes one, it begins with sloth-join-"},
		{"duplicate name", "web-1", s.Token("web-1"), "an agent called web-1 is connected"},
		{"set up anew", "db-1", s.Token("db-1"), ""}, // the same machine takes its own place
	} {
		err := enrol(c.who, c.token)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	err := keep(t).Enrol(soon(t), s.Address, agent.Enrolment{Kind: pki.KindAgent, Name: "db-1", Machine: agenttest.Machine("another"), Token: s.Token("db-1")})
	if err == nil || !strings.Contains(err.Error(), "an agent called db-1 is enrolled already") {
		t.Errorf("duplicate name: %v", err)
	}
	late := s.Token("late")
	mu.Lock()
	ahead = 70 * time.Minute
	mu.Unlock()
	k := keep(t)
	if err := k.Enrol(soon(t), s.Address, agent.Enrolment{Kind: pki.KindAgent, Name: "late", Machine: agenttest.Machine("late"), Token: late}); err == nil || !strings.Contains(err.Error(), "the clocks are too far apart") {
		t.Errorf("with a clock 70 minutes off: %v", err)
	}
	s.audited("the token was used already")
	files, err := filepath.Glob(filepath.Join(s.Options.Dir, "tokens", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal("no tokens on the disk", err)
	}
	secret, _, _ := strings.Cut(strings.TrimPrefix(token, "sloth-join-"), ".")
	for _, f := range files {
		if text, _ := os.ReadFile(f); bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s has the token itself", f)
		}
	}
}

func TestTokenExpires(t *testing.T) {
	var mu sync.Mutex
	ahead := time.Duration(0)
	m := agenttest.Start(t, master.Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }})
	token := m.Token("late")
	mu.Lock()
	ahead = 30*time.Minute + 31*time.Minute // its clock goes on; ours is within the tolerance of its certificate
	mu.Unlock()
	d := agent.Enrolment{Kind: pki.KindAgent, Name: "late", Machine: agenttest.Machine("late"), Token: token}
	err := keep(t).Enrol(soon(t), m.Address, d)
	if err == nil || !strings.Contains(err.Error(), "the clocks are too far apart") {
		t.Errorf("got %v", err)
	}
}

// TestApproval: without a token an agent waits, and can do nothing meanwhile.
func TestApproval(t *testing.T) {
	s := newScene(t, master.Options{})
	admin := s.User("admin", master.Admin)
	k := keep(t)
	meeting, enrolled := make(chan string, 1), make(chan error, 1)
	go func() {
		enrolled <- k.Enrol(soon(t), s.Address, agent.Enrolment{Kind: pki.KindAgent, Name: "new", Machine: agenttest.Machine("new"), Poll: 10 * time.Millisecond,
			Pending: func(m string) { meeting <- m }})
	}()
	shown := <-meeting
	s.Await("new", agent.StatePending)
	if _, err := agent.Dial(soon(t), s.op.Dialer(""), "new"); err == nil || !strings.Contains(err.Error(), "waits for approval") {
		t.Errorf("a pending agent can be reached: %v", err)
	}
	err := keep(t).Enrol(soon(t), s.Address, agent.Enrolment{Kind: pki.KindAgent, Name: "new", Machine: agenttest.Machine("thief")})
	if err == nil || !strings.Contains(err.Error(), "another machine waits for approval as new") {
		t.Errorf("another machine queues under the same name: %v", err)
	}
	if err := agenttest.Try(admin, s.Address, agent.MethodApprove, &agent.Name{Name: "new", Fingerprint: "0000-0000"}, &agent.Status{}); err == nil {
		t.Error("approved with another fingerprint")
	}
	var st agent.Status
	s.Call(admin, agent.MethodApprove, &agent.Name{Name: "new", Fingerprint: shown}, &st)
	if err := <-enrolled; err != nil {
		t.Fatal(err)
	}
	s.StartAgent(k, "new", "")
	s.Await("new", agent.StateActive)
}

// TestFault58Clone: two machines with one identity are told apart, whether they
// come at once or one after the other.
func TestFault58Clone(t *testing.T) {
	s := newScene(t, master.Options{})
	dir := filepath.Join(t.TempDir(), "a")
	k, err := agent.OpenKeep(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Enrol(soon(t), s.Address, agent.Enrolment{Kind: pki.KindAgent, Name: "vm", Machine: agenttest.Machine("vm"), Token: s.Token("vm")}); err != nil {
		t.Fatal(err)
	}
	original := s.StartAgent(k, "vm", "")
	s.Await("vm", agent.StateActive)
	clone := filepath.Join(t.TempDir(), "b")
	if err := os.CopyFS(clone, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"own.key", ""} {
		if err := os.Chmod(filepath.Join(clone, f), map[bool]os.FileMode{true: 0o600, false: 0o700}[f != ""]); err != nil {
			t.Fatal(err)
		}
	}
	k2, err := agent.OpenKeep(clone)
	if err != nil {
		t.Fatal(err)
	}
	// At once: the second one is not let in, and the first one works on.
	second := s.StartAgent(k2, "vm", "")
	eventually(t, "the second was refused", func() bool { return strings.Contains(strings.Join(second.Log(), "\n"), "Lost connection") })
	if err := second.Stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("the second ended with %v", err)
	}
	s.Await("vm", agent.StateActive)
	// One after the other: the original has moved on, so the copy is stale.
	_ = original.Stop()
	s.Await("vm", agent.StateReconnecting)
	k1, err := agent.OpenKeep(dir)
	if err != nil {
		t.Fatal(err)
	}
	again := s.StartAgent(k1, "vm", "")
	s.Await("vm", agent.StateActive)
	eventually(t, "the agent has said that it has its new ticket", func() bool {
		text, err := os.ReadFile(filepath.Join(s.Options.Dir, "agents", "vm.json"))
		return err == nil && !bytes.Contains(text, []byte(`"previous"`))
	})
	_ = again.Stop()
	s.Await("vm", agent.StateReconnecting)
	k3, err := agent.OpenKeep(clone)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.StartAgent(k3, "vm", "").Wait(); err == nil || !strings.Contains(err.Error(), "used by two machines") {
		t.Errorf("the clone ended with %v", err)
	}
	s.Await("vm", agent.StateRefused)
	// From another machine the identity is worth nothing.
	k4 := s.Enrol("moved")
	if err := s.StartAgent(k4, "elsewhere", "").Wait(); err == nil || !strings.Contains(err.Error(), "this identity belongs to another machine") {
		t.Errorf("the moved one ended with %v", err)
	}
	s.works()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(agenttest.Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// TestFloods: what is too much is refused, and nobody else notices.
func TestFloods(t *testing.T) {
	s := newScene(t, master.Options{EnrolBurst: 20, EnrolBurstAll: 1000})
	t.Run("enrolments", func(t *testing.T) {
		d := &agent.Dialer{Address: s.Address, Authority: s.authority()}
		l, err := d.Dial(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var limited int
		for range 200 {
			err := l.Invoke(soon(t), agent.MethodEnrol, &agent.EnrolRequest{Kind: pki.KindAgent, Name: "x", Protocol: 1}, &agent.EnrolReply{})
			if status.Code(err) == codes.ResourceExhausted {
				limited++
			}
		}
		if limited < 150 {
			t.Errorf("%d of 200 were refused", limited)
		}
		s.works()
	})
	t.Run("oversized frames", func(t *testing.T) {
		l, err := s.op.Dialer("").Dial(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		// The client's own limit is raised; it is the master's that counts.
		st, err := l.NewStream(soon(t), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, agent.MethodRun, grpc.MaxCallSendMsgSize(64<<20))
		if err != nil {
			t.Fatal(err)
		}
		if err := st.SendMsg(&agent.Frame{Kind: 'F', Data: make([]byte, 32<<20)}); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if err := st.RecvMsg(&agent.Frame{}); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("got %v", err)
		}
		s.works()
	})
	t.Run("nonsense", func(t *testing.T) {
		for _, frame := range []*agent.Frame{{Kind: 'F'}, {Kind: 'F', Data: bytes.Repeat([]byte{0x91}, 100_000)}, {Kind: 'z', Data: []byte("x")}, {Kind: 0xc1}} {
			l, err := s.op.Dialer("").Dial(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, method := range []string{agent.MethodRun, agent.MethodReach, agent.MethodList} {
				st, err := l.NewStream(soon(t), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
				if err != nil {
					t.Fatal(err)
				}
				if err := st.SendMsg(frame); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				if err := st.RecvMsg(&agent.Frame{}); err == nil && method != agent.MethodList {
					t.Errorf("%s took %q", method, frame.Data[:min(len(frame.Data), 8)])
				}
			}
			l.Close()
		}
		s.works()
	})
	t.Run("a reader that does not read", func(t *testing.T) {
		c := s.Dial(t, s.op, s.Address, "web-1")
		defer c.Close()
		ctx, cancel := context.WithCancel(soon(t))
		defer cancel()
		for range 5 {
			if _, err := c.Start(ctx, connection.Command{Argv: []string{"cat", "/dev/zero"}}); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			s.works()
		}
	})
	t.Run("connections that say nothing", func(t *testing.T) {
		for range 200 {
			c, err := net.Dial("tcp", s.Address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		s.works()
	})
}

// TestNeverPlain: neither without TLS nor with an old one, on loopback too.
func TestNeverPlain(t *testing.T) {
	s := newScene(t, master.Options{})
	c, err := net.Dial("tcp", s.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(agenttest.Patience))
	b, _ := io.ReadAll(c)
	if len(b) > 0 && b[0] != 21 { // a TLS alert is all that may come
		t.Errorf("it answered %q", b)
	}
	_, err = tls.Dial("tcp", s.Address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2"}})
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.2 gives %v", err)
	}
	s.works()
}

func TestVersionSkew(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"v1.4.0", "v1.4.9", false}, {"v1.4.0", "v1.5.0", false}, {"1.5.0", "v1.4.2", false}, {"v1.4.0", "v1.6.0", true}, {"v2.0.0", "v1.9.0", true}, {"dev", "v1.0.0", false}, {"", "", false},
	} {
		if got := master.Apart(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %v", c.a, c.b, got)
		}
	}
}
