package master

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// register adds the services. There is no generated code: messages are msgpack.
func (m *Master) register(s *grpc.Server) {
	add := func(service string, methods []grpc.MethodDesc, streams ...grpc.StreamDesc) {
		s.RegisterService(&grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil), Methods: methods, Streams: streams}, m)
	}
	add(agent.ServiceEnrol, []grpc.MethodDesc{unary(agent.MethodEnrol, m.enrol)})
	add(agent.ServiceAgent, []grpc.MethodDesc{unary(agent.MethodRenew, m.renew)}, both(agent.MethodAttend, m.attend), both(agent.MethodCarry, m.carry))
	add(agent.ServiceUser, []grpc.MethodDesc{
		unary(agent.MethodWhoami, m.whoami), unary(agent.MethodRefresh, m.renew), unary(agent.MethodToken, m.token),
		unary(agent.MethodApprove, m.approve), unary(agent.MethodDelete, m.remove), unary(agent.MethodStop, m.stopAgent),
	}, both(agent.MethodReach, m.reach), both(agent.MethodRun, m.run), both(agent.MethodList, m.list), both(agent.MethodTokens, m.listTokens))
	add(agent.ServicePeer, []grpc.MethodDesc{unary(agent.MethodPeerStop, m.peerStop)},
		both(agent.MethodPeerReach, m.peerReach), both(agent.MethodPeerRun, m.peerRun), both(agent.MethodPeerList, m.peerList))
}

func unary[Q, R any](method string, f func(context.Context, *Q) (*R, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: path.Base(method), Handler: func(srv any, ctx context.Context, dec func(any) error, via grpc.UnaryServerInterceptor) (any, error) {
		call := func(ctx context.Context, _ any) (any, error) {
			// Decoded only after the caller was let in.
			q := new(Q)
			if err := dec(q); err != nil {
				return nil, err
			}
			return f(ctx, q)
		}
		return via(ctx, nil, &grpc.UnaryServerInfo{Server: srv, FullMethod: method}, call)
	}}
}

func both(method string, f func(grpc.ServerStream) error) grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: path.Base(method), ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return f(s) }}
}

func (m *Master) whoami(ctx context.Context, _ *agent.Nothing) (*agent.Me, error) {
	c := callerOf(ctx)
	return &agent.Me{Name: c.id.Name, Role: string(c.user.Role), Hosts: c.user.Hosts, Allow: c.user.Allow, Until: c.cert.NotAfter, Version: m.o.Version}, nil
}

// maxCleaned is how many old tokens are forgotten when one is made.
const maxCleaned = 20

// maxTokenLife keeps tokens from lying about for ever.
const maxTokenLife = 30 * 24 * time.Hour

func (m *Master) token(ctx context.Context, q *agent.TokenRequest) (*agent.TokenInfo, error) {
	c := callerOf(ctx)
	if q.Life <= 0 {
		q.Life = time.Hour
	}
	if q.Life > maxTokenLife {
		return nil, status.Errorf(codes.InvalidArgument, "a token is good for at most %s", maxTokenLife)
	}
	if _, err := path.Match(q.Pattern, ""); err != nil || q.Pattern == "" || len(q.Pattern) > 256 || len(q.Hosts) > 4096 {
		return nil, status.Error(codes.InvalidArgument, "a token needs a pattern of names, such as web-*")
	}
	r := &tokenRecord{Kind: q.Kind, Pattern: q.Pattern, Expires: m.now().Add(q.Life).UTC(), By: c.id.Name}
	switch q.Kind {
	case pki.KindAgent:
	case pki.KindUser:
		role, ok := parseRole(q.Role)
		if !ok {
			return nil, status.Errorf(codes.InvalidArgument, "there is no role %q; there are viewer, operator and admin", printable(q.Role))
		}
		if _, err := parseAllow(q.Allow); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		if role == Admin && q.Allow != "" {
			return nil, status.Error(codes.InvalidArgument, "an admin can give everything to itself: rules are for operators and viewers")
		}
		r.Role, r.Hosts, r.Allow = role, q.Hosts, q.Allow
	default:
		return nil, status.Error(codes.InvalidArgument, "a token is for an agent or a user")
	}
	t := pki.NewToken(m.authority.Fingerprint())
	r.Hash = t.Hash()
	err := m.store.change(ctx, func(ch *change) error {
		// Used ones are remembered until they would have expired.
		for _, old := range all(m.store, m.store.tokens) {
			if m.now().After(old.Expires.Add(24*time.Hour)) && len(ch.order) < maxCleaned {
				ch.put(kindTokens, old.Hash, nil)
			}
		}
		ch.put(kindTokens, r.Hash, r)
		return nil
	})
	if err != nil {
		return nil, grpcError(err)
	}
	m.audit(c, agent.MethodToken, q.Kind+" "+q.Pattern, nil)
	info := tokenInfo(r)
	info.Text = t.Text()
	return info, nil
}

func tokenInfo(r *tokenRecord) *agent.TokenInfo {
	return &agent.TokenInfo{ID: r.Hash[:12], Kind: r.Kind, Pattern: r.Pattern, Expires: r.Expires, Role: string(r.Role), Hosts: r.Hosts, Allow: r.Allow}
}

func (m *Master) listTokens(s grpc.ServerStream) error {
	var list []*agent.TokenInfo
	for _, r := range all(m.store, m.store.tokens) {
		if r.Used == "" && m.now().Before(r.Expires) {
			list = append(list, tokenInfo(&r))
		}
	}
	slices.SortFunc(list, func(a, b *agent.TokenInfo) int { return a.Expires.Compare(b.Expires) })
	for _, t := range list {
		if err := s.SendMsg(t); err != nil {
			return err
		}
	}
	return nil
}

func (m *Master) approve(ctx context.Context, q *agent.Name) (*agent.Status, error) {
	c := callerOf(ctx)
	r, err := m.store.changeAgent(ctx, q.Name, func(_ *change, r *agentRecord) (*agentRecord, error) {
		switch {
		case r == nil:
			return nil, status.Errorf(codes.NotFound, "no agent called %s waits", printable(q.Name))
		case !r.Pending:
			return r, nil
		case q.Fingerprint != "" && q.Fingerprint != pki.Meeting(r.Key, m.authority.Fingerprint()):
			return nil, status.Errorf(codes.FailedPrecondition, "the fingerprint of %s is %s here: if the machine shows another one, somebody is between you. Delete it and use a token", r.Name, pki.Meeting(r.Key, m.authority.Fingerprint()))
		}
		r.Pending = false
		return r, nil
	})
	m.audit(c, agent.MethodApprove, q.Name, err)
	if err != nil {
		return nil, grpcError(err)
	}
	st := m.statusOf(r)
	return &st, nil
}

func (m *Master) remove(ctx context.Context, q *agent.Name) (*agent.Nothing, error) {
	c := callerOf(ctx)
	err := m.forget(ctx, q)
	m.audit(c, agent.MethodDelete, q.Kind+" "+q.Name, err)
	if err != nil {
		return nil, grpcError(err)
	}
	return &agent.Nothing{}, nil
}

// forget removes a record first and ends the streams after that.
func (m *Master) forget(ctx context.Context, q *agent.Name) error {
	err := m.store.change(ctx, func(ch *change) error {
		switch q.Kind {
		case pki.KindAgent:
			if ch.agent(q.Name) == nil {
				return status.Errorf(codes.NotFound, "there is no agent %s", printable(q.Name))
			}
			ch.put(kindAgents, q.Name, nil)
		case pki.KindUser:
			if ch.user(q.Name) == nil {
				return status.Errorf(codes.NotFound, "there is no user %s", printable(q.Name))
			}
			ch.put(kindUsers, q.Name, nil)
		case "token":
			for _, t := range all(m.store, m.store.tokens) {
				if len(q.Name) >= 8 && strings.HasPrefix(t.Hash, q.Name) {
					ch.put(kindTokens, t.Hash, nil)
					return nil
				}
			}
			return status.Errorf(codes.NotFound, "there is no token %s", printable(q.Name))
		default:
			return status.Error(codes.InvalidArgument, "an agent, a user or a token can be deleted")
		}
		return nil
	})
	if err == nil && q.Kind != "token" {
		m.revoke(q.Kind, q.Name)
	}
	return err
}

func (m *Master) stopAgent(ctx context.Context, q *agent.Name) (*agent.Nothing, error) {
	c := callerOf(ctx)
	err := func() error {
		to := agent.Name{Name: q.Name, Reason: "asked to by " + c.id.Name}
		if r, ok := m.store.agent(q.Name); ok && m.link(q.Name) == nil {
			if p, there := m.elsewhere(&r); there {
				return m.callPeer(ctx, p, agent.MethodPeerStop, &to, &agent.Nothing{})
			}
		}
		return m.stopHere(ctx, &to)
	}()
	m.audit(c, agent.MethodStop, q.Name, err)
	if err != nil {
		return nil, err
	}
	return &agent.Nothing{}, nil
}

func (m *Master) stopHere(ctx context.Context, q *agent.Name) error {
	l := m.link(q.Name)
	if l == nil {
		return status.Errorf(codes.NotFound, "no agent called %s is connected", printable(q.Name))
	}
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	if err := l.send(ctx, &agent.ToAgent{Leave: &agent.Leave{Stop: true, Reason: q.Reason}}); err != nil {
		return unavailable(err)
	}
	select {
	case <-l.ctx.Done():
		return nil
	case <-ctx.Done():
		return status.Error(codes.Unavailable, "the agent was told, and has not gone")
	}
}

func (m *Master) list(s grpc.ServerStream) error {
	c := callerOf(s.Context())
	for _, st := range m.everywhere(s.Context()) {
		if !c.mayReach(st.Name) {
			continue
		}
		if err := s.SendMsg(&st); err != nil {
			return err
		}
	}
	return nil
}

// Agents is all that is known about agents, by name.
func (m *Master) Agents() []agent.Status {
	records := all(m.store, m.store.agents)
	slices.SortFunc(records, func(a, b agentRecord) int { return strings.Compare(a.Name, b.Name) })
	out := make([]agent.Status, len(records))
	for i := range records {
		out[i] = m.statusOf(&records[i])
	}
	return out
}

func (m *Master) statusOf(r *agentRecord) agent.Status {
	st := agent.Status{
		Name: r.Name, State: m.stateOf(r), Address: r.Address, LastBeat: r.LastBeat, Version: r.Version, Host: r.Host, Platform: r.Platform, User: r.User,
		Meeting: pki.Meeting(r.Key, m.authority.Fingerprint()), Reason: r.Refused,
	}
	if l := m.link(r.Name); l != nil {
		st.LastBeat, st.Since, st.Until, st.Address = l.heard(), l.since, l.until, l.address
		st.Load, st.Works = l.busy()
		st.Master = m.o.Advertise
	} else if p, there := m.elsewhere(r); there {
		st.Master = p.Address
	}
	return st
}

func (m *Master) stateOf(r *agentRecord) string {
	seen := r.LastBeat
	if m.started.After(seen) {
		seen = m.started // nobody could have been heard before
	}
	if at := m.partedAt(r.Holder); at.After(seen) {
		seen = at
	}
	switch {
	case r.Pending:
		return agent.StatePending
	case r.Refused != "":
		return agent.StateRefused
	case m.present(r):
		return agent.StateActive
	case m.now().Sub(seen) < m.o.LostAfter:
		return agent.StateReconnecting
	}
	return agent.StateLost
}
