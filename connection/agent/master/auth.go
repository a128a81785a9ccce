package master

import (
	"context"
	"crypto/x509"
	"fmt"
	"path"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// Role is what a user may do.
type Role string

// The roles; each may do what the one before may.
const (
	Viewer   Role = "viewer"   // see agents
	Operator Role = "operator" // run commands on them
	Admin    Role = "admin"    // let agents and users in and throw them out
)

var roles = []Role{Viewer, Operator, Admin}

// parseRole reads a role.
func parseRole(s string) (Role, bool) {
	r := Role(s)
	return r, slices.Contains(roles, r)
}

func (r Role) covers(need Role) bool { return slices.Index(roles, r) >= slices.Index(roles, need) }

// rule says who may call a method.
type rule struct {
	kind string // of the certificate; empty: none is needed
	role Role   // of a user
	log  bool   // every call is audited, not the refused ones alone
}

// rules lists every method there is: what is not here is refused.
var rules = map[string]rule{
	agent.MethodEnrol:   {log: true},
	agent.MethodAttend:  {kind: pki.KindAgent, log: true},
	agent.MethodCarry:   {kind: pki.KindAgent},
	agent.MethodRenew:   {kind: pki.KindAgent, log: true},
	agent.MethodReach:   {kind: pki.KindUser, role: Operator, log: true},
	agent.MethodRun:     {kind: pki.KindUser, role: Operator, log: true},
	agent.MethodList:    {kind: pki.KindUser, role: Viewer},
	agent.MethodWhoami:  {kind: pki.KindUser, role: Viewer},
	agent.MethodRefresh: {kind: pki.KindUser, role: Viewer, log: true},
	agent.MethodToken:   {kind: pki.KindUser, role: Admin, log: true},
	agent.MethodTokens:  {kind: pki.KindUser, role: Admin},
	agent.MethodApprove: {kind: pki.KindUser, role: Admin, log: true},
	agent.MethodDelete:  {kind: pki.KindUser, role: Admin, log: true},
	agent.MethodStop:    {kind: pki.KindUser, role: Admin, log: true},

	// What the master that was asked has audited.
	agent.MethodPeerReach: {kind: pki.KindMaster},
	agent.MethodPeerRun:   {kind: pki.KindMaster},
	agent.MethodPeerStop:  {kind: pki.KindMaster},
	agent.MethodPeerList:  {kind: pki.KindMaster},
}

// caller is who calls.
type caller struct {
	address string
	cert    *x509.Certificate // nil: none was shown
	id      pki.Identity
	user    userRecord
}

func (c *caller) name() string {
	if c.cert == nil {
		return "nobody"
	}
	return c.id.Kind + " " + c.id.Name
}

// mayReach reports whether a user's hosts have that agent among them.
func (c *caller) mayReach(name string) bool {
	rules, err := parseAllow(c.user.Allow)
	return err == nil && matches(c.user.Hosts, name) && (len(rules) == 0 || slices.ContainsFunc(rules, func(a allow) bool { return matches(a.hosts, name) }))
}

// mayWork reports whether a user may reach that agent for a run in that stack.
// The stack is what the controller says: a master sees commands and not scripts.
func (c *caller) mayWork(name, stack string) bool {
	rules, err := parseAllow(c.user.Allow)
	return err == nil && matches(c.user.Hosts, name) &&
		(len(rules) == 0 || slices.ContainsFunc(rules, func(a allow) bool { return matches(a.hosts, name) && matches(a.stacks, stack) }))
}

// allow lets runs in some stacks reach some hosts.
type allow struct{ stacks, hosts string }

const maxAllow = 4096 // bytes of a user's rules

// parseAllow reads STACKS@HOSTS;…, both globs with commas. What names no stack
// matches nothing but *.
func parseAllow(text string) ([]allow, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxAllow {
		return nil, fmt.Errorf("the rules are longer than %d bytes", maxAllow)
	}
	var rules []allow
	for rule := range strings.SplitSeq(text, ";") {
		stacks, hosts, ok := strings.Cut(rule, "@")
		if !ok || strings.Contains(hosts, "@") {
			return nil, fmt.Errorf("the rule %q is not STACKS@HOSTS, such as shop@web-*", printable(rule))
		}
		for glob := range strings.SplitSeq(stacks+","+hosts, ",") {
			if _, err := path.Match(strings.TrimSpace(glob), ""); err != nil || strings.TrimSpace(glob) == "" {
				return nil, fmt.Errorf("the rule %q has a pattern that can't be read: %q", printable(rule), printable(glob))
			}
		}
		rules = append(rules, allow{stacks, hosts})
	}
	return rules, nil
}

func matches(globs, name string) bool {
	if globs == "" {
		return true
	}
	for g := range strings.SplitSeq(globs, ",") {
		if ok, _ := path.Match(strings.TrimSpace(g), name); ok {
			return true
		}
	}
	return false
}

type callerKey struct{}

func callerOf(ctx context.Context) *caller { return ctx.Value(callerKey{}).(*caller) }

// admit decides whether a call may go on.
func (m *Master) admit(ctx context.Context, method string) (context.Context, error) {
	c := &caller{}
	if p, ok := peer.FromContext(ctx); ok {
		c.address = host(p.Addr.String())
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.VerifiedChains) > 0 {
			c.cert = info.State.PeerCertificates[0]
		}
	}
	r, known := rules[method]
	err := m.judge(c, r, known)
	if err != nil {
		err = m.judgeAgain(ctx, c, r, known, err)
	}
	if err != nil || r.log {
		m.audit(c, method, "", err)
	}
	return context.WithValue(ctx, callerKey{}, c), err
}

func (m *Master) judge(c *caller, r rule, known bool) error {
	switch {
	case !known && c.cert == nil:
		return status.Error(codes.Unauthenticated, "a certificate is needed")
	case !known:
		return status.Error(codes.PermissionDenied, "there is no such method")
	case r.kind == "":
		return nil
	case c.cert == nil:
		return status.Error(codes.Unauthenticated, "a certificate is needed")
	case m.now().After(c.cert.NotAfter):
		return status.Error(codes.Unauthenticated, "the certificate has expired")
	}
	id, err := pki.IdentityOf(c.cert)
	if err != nil {
		return status.Error(codes.Unauthenticated, err.Error())
	}
	c.id = id
	if id.Kind != r.kind {
		return status.Errorf(codes.PermissionDenied, "this is for a certificate of kind %s", r.kind)
	}
	if id.Kind == pki.KindMaster {
		if m.store.shared == nil {
			return status.Error(codes.PermissionDenied, "this master shares nothing with others")
		}
		return nil
	}
	if id.Kind == pki.KindAgent {
		rec, ok := m.store.agent(id.Name)
		switch {
		case !ok || rec.Pending || rec.Key != pki.KeyOf(c.cert):
			return status.Errorf(codes.Unauthenticated, "the certificate of agent %s was revoked", id.Name)
		case rec.Refused != "":
			return status.Errorf(codes.PermissionDenied, "the identity of agent %s is blocked: %s", id.Name, rec.Refused)
		case rec.Machine != id.Machine:
			return status.Errorf(codes.Unauthenticated, "the certificate of agent %s is for another machine", id.Name)
		}
		return nil
	}
	rec, ok := m.store.user(id.Name)
	if !ok || !slices.Contains(rec.Keys, pki.KeyOf(c.cert)) {
		return status.Errorf(codes.Unauthenticated, "the certificate of user %s was revoked", id.Name)
	}
	c.user = rec
	if !rec.Role.covers(r.role) {
		return status.Errorf(codes.PermissionDenied, "user %s is %s, this needs %s", id.Name, rec.Role, r.role)
	}
	return nil
}

func (m *Master) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, err := m.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

// admitted is a stream with its caller.
type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

func (a admitted) Context() context.Context { return a.ctx }

func (m *Master) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, err := m.admit(s.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	ctx, end := m.track(ctx, rules[info.FullMethod])
	defer end()
	return handler(srv, admitted{s, ctx})
}

// unknown is for methods that nobody has registered.
func (m *Master) unknown(_ any, s grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(s)
	_, err := m.admit(s.Context(), method)
	return err
}
