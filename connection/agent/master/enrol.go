package master

import (
	"context"
	"crypto/x509"
	"errors"
	"path"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// Limits of what somebody without a certificate can leave behind.
const (
	maxPending = 1000
	maxRequest = 8 << 10
)

// enrol is all that one can do without a certificate: redeem a token, or queue
// a fingerprint and ask for the outcome.
func (m *Master) enrol(ctx context.Context, q *agent.EnrolRequest) (*agent.EnrolReply, error) {
	c := callerOf(ctx)
	if !m.enrolments.allow(c.address, m.now()) || !m.allEnrolments.allow("", m.now()) {
		return nil, status.Error(codes.ResourceExhausted, "too many enrolments")
	}
	if q.Protocol < agent.Floor {
		return nil, status.Errorf(codes.FailedPrecondition, "protocol %d is too old, this master speaks %d and newer: upgrade sloth there", q.Protocol, agent.Floor)
	}
	if err := pki.CheckName(q.Name); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if len(q.Request) > maxRequest || len(q.Machine) > 64 || len(q.Host) > 256 || len(q.Version) > 64 || len(q.Token) > 64 {
		return nil, status.Error(codes.InvalidArgument, "the request is too large")
	}
	csr, err := x509.ParseCertificateRequest(q.Request)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "the certificate request can't be used: "+err.Error())
	}
	key := pki.Fingerprint(csr.RawSubjectPublicKeyInfo)
	var reply *agent.EnrolReply
	switch {
	case q.Kind == pki.KindUser:
		reply, err = m.enrolUser(ctx, q, key)
	case q.Kind == pki.KindAgent && len(q.Machine) == 64:
		reply, err = m.enrolAgent(ctx, c, q, key)
	default:
		err = status.Error(codes.InvalidArgument, "the request is for neither an agent nor a user")
	}
	m.audit(c, agent.MethodEnrol, q.Kind+" "+q.Name, err)
	return reply, err
}

func (m *Master) issue(csr []byte, id pki.Identity, life time.Duration) (*agent.EnrolReply, error) {
	der, err := m.authority.Issue(csr, id, life)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &agent.EnrolReply{Cert: der, Authority: m.authority.Certificate()}, nil
}

func (m *Master) enrolAgent(ctx context.Context, c *caller, q *agent.EnrolRequest, key string) (*agent.EnrolReply, error) {
	var replaced bool
	r, err := m.store.changeAgent(ctx, q.Name, func(ch *change, r *agentRecord) (*agentRecord, error) {
		replaced = false
		fresh := &agentRecord{Name: q.Name, Machine: q.Machine, Key: key, Host: q.Host, Version: q.Version, Address: c.address, Asked: m.now().UTC()}
		switch {
		case r != nil && r.Key == key && !r.Attended && r.Machine == q.Machine && q.Token == "":
			return r, nil // it asks again, or the certificate got lost on its way
		case r != nil && r.Pending && r.Key != key && q.Token == "":
			return nil, status.Errorf(codes.AlreadyExists, "another machine waits for approval as %s (%s)", q.Name, r.Host)
		case r != nil && !r.Pending && (q.Token == "" || r.Machine != q.Machine):
			return nil, status.Errorf(codes.AlreadyExists, "an agent called %s is enrolled already (%s)", q.Name, r.Host)
		case r != nil && m.present(r):
			return nil, status.Errorf(codes.AlreadyExists, "an agent called %s is connected (%s, from %s)", q.Name, r.Host, r.Address)
		case q.Token != "":
			// A machine that was set up anew may take its own place again.
			replaced = r != nil
			return fresh, m.redeem(ch, q)
		}
		pending := 0
		for _, other := range all(m.store, m.store.agents) {
			if other.Pending {
				pending++
			}
		}
		if pending >= maxPending {
			return nil, status.Error(codes.ResourceExhausted, "too many agents wait for approval")
		}
		fresh.Pending = true
		return fresh, nil
	})
	if err != nil {
		return nil, grpcError(err)
	}
	if replaced {
		m.drop(q.Name, "it was enrolled anew")
	}
	if r.Pending {
		return &agent.EnrolReply{Pending: true, Authority: m.authority.Certificate()}, nil
	}
	m.log("enrolled agent %s (%s)", q.Name, c.address)
	return m.issue(q.Request, pki.Identity{Kind: pki.KindAgent, Name: q.Name, Machine: q.Machine}, pki.AgentLife)
}

// redeem uses a token up.
func (m *Master) redeem(ch *change, q *agent.EnrolRequest) error {
	hash := pki.Token{Secret: q.Token}.Hash()
	t := ch.token(hash)
	switch {
	case t == nil:
		return status.Error(codes.Unauthenticated, "there is no such token")
	case t.Kind != q.Kind:
		return status.Errorf(codes.Unauthenticated, "the token is for a certificate of kind %s", t.Kind)
	case t.Used != "":
		m.log("WARNING: the token for %s, used by %s, was shown again: somebody else has it", t.Pattern, t.Used)
		return status.Error(codes.Unauthenticated, "the token was used already, by "+t.Used)
	case m.now().After(t.Expires):
		return status.Errorf(codes.Unauthenticated, "the token expired at %s; it is %s by the master's clock", t.Expires.UTC().Format(time.RFC3339), m.now().UTC().Format(time.RFC3339))
	}
	if ok, _ := path.Match(t.Pattern, q.Name); !ok {
		return status.Errorf(codes.Unauthenticated, "the token is for the name %s", t.Pattern)
	}
	t.Used = q.Kind + " " + q.Name
	ch.put(kindTokens, hash, t)
	return nil
}

func (m *Master) enrolUser(ctx context.Context, q *agent.EnrolRequest, key string) (*agent.EnrolReply, error) {
	if q.Token == "" {
		return nil, status.Error(codes.Unauthenticated, "a user needs a token")
	}
	err := m.store.change(ctx, func(ch *change) error {
		t := ch.token(pki.Token{Secret: q.Token}.Hash())
		r := ch.user(q.Name)
		if r == nil {
			r = &userRecord{Name: q.Name}
		}
		if t != nil && len(r.Keys) > 0 && (r.Role != t.Role || r.Hosts != t.Hosts || r.Allow != t.Allow) {
			return status.Errorf(codes.AlreadyExists, "there is a user %s who may do something else: %s on %q, allowed %q", q.Name, r.Role, r.Hosts, r.Allow)
		}
		if len(r.Keys) >= 20 {
			return status.Errorf(codes.ResourceExhausted, "user %s has logged in from 20 places; `sloth agent delete --user %s` forgets them", q.Name, q.Name)
		}
		if err := m.redeem(ch, q); err != nil {
			return err
		}
		r.Role, r.Hosts, r.Allow = t.Role, t.Hosts, t.Allow
		putUser(ch, r, key)
		return nil
	})
	if err != nil {
		return nil, grpcError(err)
	}
	m.log("user %s logged in", q.Name)
	return m.issue(q.Request, pki.Identity{Kind: pki.KindUser, Name: q.Name}, pki.UserLife)
}

// putUser adds a key to a user.
func putUser(ch *change, r *userRecord, key string) {
	if !slices.Contains(r.Keys, key) {
		r.Keys = append(slices.Clone(r.Keys), key)
	}
	ch.put(kindUsers, r.Name, r)
}

// Grant makes a user of the master, without a token: for whoever owns its
// folder. It returns the certificate and the authority.
func (m *Master) Grant(ctx context.Context, name string, role Role, csr []byte) (*agent.EnrolReply, error) {
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, err
	}
	err = m.store.change(ctx, func(ch *change) error {
		r := ch.user(name)
		if r == nil {
			r = &userRecord{Name: name}
		}
		r.Role, r.Hosts, r.Allow = role, "", ""
		putUser(ch, r, pki.Fingerprint(req.RawSubjectPublicKeyInfo))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.issue(csr, pki.Identity{Kind: pki.KindUser, Name: name}, pki.UserLife)
}

func (m *Master) renew(ctx context.Context, q *agent.RenewRequest) (*agent.EnrolReply, error) {
	c := callerOf(ctx)
	csr, err := x509.ParseCertificateRequest(q.Request)
	if err != nil || pki.Fingerprint(csr.RawSubjectPublicKeyInfo) != pki.KeyOf(c.cert) {
		return nil, status.Error(codes.InvalidArgument, "a renewal is for the same key")
	}
	life := pki.AgentLife
	if c.id.Kind == pki.KindUser {
		life = pki.UserLife
	}
	return m.issue(q.Request, c.id, life)
}

// grpcError keeps what a status says, and hides what is this machine's business.
func grpcError(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	var out *OutageError
	if errors.As(err, &out) {
		return status.Error(codes.Aborted, out.Error())
	}
	return status.Error(codes.Internal, err.Error())
}
