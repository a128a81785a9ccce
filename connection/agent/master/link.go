package master

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// link is the stream of one agent.
type link struct {
	id       string
	name     string
	hello    agent.Hello
	address  string
	since    time.Time
	until    time.Time // its certificate's end
	ticket   string
	ctx      context.Context
	cancel   context.CancelCauseFunc
	stream   grpc.ServerStream
	sending  chan struct{} // a token: who has it may send
	lastBeat atomic.Int64  // Unix nanoseconds

	confirmed bool // it has its ticket; for the reader alone
	// unclaimed: the other masters don't know that it is here.
	unclaimed atomic.Bool

	mu    sync.Mutex
	load  float64
	works int
}

func (l *link) heard() time.Time     { return time.Unix(0, l.lastBeat.Load()) }
func (l *link) end(why error)        { l.cancel(why) }
func (l *link) busy() (float64, int) { l.mu.Lock(); defer l.mu.Unlock(); return l.load, l.works }

// send says something to the agent; it waits no longer than ctx or the link last.
func (l *link) send(ctx context.Context, m *agent.ToAgent) error {
	select {
	case l.sending <- struct{}{}:
		defer func() { <-l.sending }()
		return l.stream.SendMsg(m)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// attend serves an agent's stream until it ends.
func (m *Master) attend(s grpc.ServerStream) error {
	c := callerOf(s.Context())
	var first agent.ToMaster
	// Who says nothing is ended by the sweep of connections that are idle: a
	// timer is cheaper than a goroutine.
	ctx, cancel := context.WithCancelCause(s.Context())
	defer cancel(nil)
	received := make(chan error, 1)
	m.copies.Go(func() { received <- s.RecvMsg(&first) })
	early := time.NewTimer(time.Duration(m.o.Misses) * m.o.Beat)
	defer early.Stop()
	select {
	case err := <-received:
		if err != nil {
			return err
		}
	case <-early.C:
		return status.Error(codes.DeadlineExceeded, "no hello in time")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	h := first.Hello
	if h == nil {
		return status.Error(codes.InvalidArgument, "the first message has no hello")
	}
	if err := m.welcome(c, h); err != nil {
		m.audit(c, agent.MethodAttend, c.id.Name, err)
		return err
	}
	l := &link{
		id: newID(), name: c.id.Name, hello: *h, address: c.address, since: m.now(), until: c.cert.NotAfter,
		ctx: ctx, cancel: cancel, stream: s, sending: make(chan struct{}, 1),
	}
	l.lastBeat.Store(time.Now().UnixNano())
	l.sending <- struct{}{} // who finds it once it has joined waits until it is welcome
	if err := m.join(c, l); err != nil {
		m.audit(c, agent.MethodAttend, c.id.Name, err)
		return err
	}
	defer m.leave(l)
	w := &agent.Welcome{Protocol: agent.Protocol, Version: m.o.Version, Now: m.now(), Beat: m.o.Beat, Misses: m.o.Misses, Ticket: l.ticket}
	err := s.SendMsg(&agent.ToAgent{Welcome: w})
	<-l.sending
	if err != nil {
		return err
	}
	m.log("agent %s registered from %s (sloth %s)", l.name, l.address, printable(h.Version))
	// The reader is a goroutine of its own: a cancel must end the handler even
	// while nothing arrives, and only its return ends the stream.
	m.copies.Go(func() {
		for {
			var msg agent.ToMaster
			if err := s.RecvMsg(&msg); err != nil {
				if errors.Is(err, io.EOF) {
					err = status.Error(codes.Unavailable, "the agent ended its stream")
				}
				received <- err
				return
			}
			if err := m.beat(l, msg.Beat); err != nil {
				received <- err
				return
			}
		}
	})
	select {
	case err := <-received:
		cancel(err)
	case <-ctx.Done():
	}
	err = context.Cause(ctx)
	m.log("agent %s disconnected: %s", l.name, printable(status.Convert(err).Message()))
	return err
}

func (m *Master) beat(l *link, b *agent.Beat) error {
	if b == nil {
		return status.Error(codes.InvalidArgument, "a message without a beat")
	}
	now := time.Now()
	if b.Ticket == l.ticket && !l.confirmed {
		l.confirmed = true
		m.confirm(l)
	}
	// A flood is a fault: beats are all that an agent says here.
	if now.Sub(l.heard()) < m.o.Beat/20 {
		l.mu.Lock()
		l.works = b.Works
		l.mu.Unlock()
		return nil
	}
	l.lastBeat.Store(now.UnixNano())
	l.mu.Lock()
	l.load, l.works = b.Load, b.Works
	l.mu.Unlock()
	return l.send(l.ctx, &agent.ToAgent{})
}

// confirm forgets the ticket before the last: the agent has that on its disk.
func (m *Master) confirm(l *link) {
	if r, ok := m.store.agent(l.name); !ok || r.Previous == "" || r.Ticket != l.ticket {
		return
	}
	_, err := m.store.changeAgent(l.ctx, l.name, func(_ *change, r *agentRecord) (*agentRecord, error) {
		if r != nil && r.Ticket == l.ticket {
			r.Previous = ""
		}
		return r, nil
	})
	if err != nil && l.ctx.Err() == nil {
		m.log("%v", err)
	}
}

// welcome judges what an agent says of itself.
func (m *Master) welcome(c *caller, h *agent.Hello) error {
	switch {
	case h.Protocol < agent.Floor:
		return status.Errorf(codes.FailedPrecondition, "protocol %d is too old, this master speaks %d and newer: install sloth %s on that host (`sloth agent install %s`, or what `sloth agent bootstrap` prints)", h.Protocol, agent.Floor, m.o.Version, c.id.Name)
	case h.Machine != c.id.Machine:
		return status.Error(codes.FailedPrecondition, "this identity belongs to another machine: the machine id is not the one that was enrolled. Enrol this machine under its own name with a new token")
	case len(h.Instance) < 16 || len(h.Instance) > 64 || len(h.Host) > 256 || len(h.Platform) > 64 || len(h.User) > 64 || len(h.Version) > 64 || len(h.Ticket) > 64 || len(h.Boot) > 64:
		return status.Error(codes.InvalidArgument, "the hello has something too long, or no instance")
	}
	if Apart(m.o.Version, h.Version) {
		return status.Errorf(codes.FailedPrecondition, "sloth %s there and %s here are more than one minor release apart: install sloth %s on that host (`sloth agent install %s`, or what `sloth agent bootstrap` prints)", printable(h.Version), m.o.Version, m.o.Version, c.id.Name)
	}
	return nil
}

// Apart reports whether two versions are too different. What is no version,
// such as a build from source, goes with all.
func Apart(a, b string) bool {
	major1, minor1, ok1 := release(a)
	major2, minor2, ok2 := release(b)
	return ok1 && ok2 && (major1 != major2 || minor1-minor2 > 1 || minor2-minor1 > 1)
}

func release(v string) (major, minor int, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return major, minor, err1 == nil && err2 == nil
}

// join makes l the link of its agent, unless another machine has the same
// identity.
func (m *Master) join(c *caller, l *link) error {
	m.mu.Lock()
	old := m.links[l.name]
	m.mu.Unlock()
	if old != nil {
		if old.hello.Instance != l.hello.Instance && time.Since(old.heard()) < 2*m.o.Beat {
			return connectedAlready(old.address)
		}
		old.end(status.Error(codes.Unavailable, "the agent came back"))
	}
	ticket := newID()
	clone := false
	_, err := m.store.changeAgent(l.ctx, l.name, func(_ *change, r *agentRecord) (*agentRecord, error) {
		clone = false
		if r == nil || r.Key != pki.KeyOf(c.cert) {
			return nil, status.Error(codes.Unauthenticated, "the certificate was revoked")
		}
		if _, there := m.elsewhere(r); there && r.Instance != l.hello.Instance {
			return nil, connectedAlready(r.Address)
		}
		if r.Ticket != "" && l.hello.Ticket != r.Ticket && (r.Previous == "" || l.hello.Ticket != r.Previous) &&
			r.Instance != l.hello.Instance { // the process that was here last may have missed a ticket
			clone = true
			r.Refused = fmt.Sprintf("two machines use it (seen at %s and %s)", r.Address, l.address)
			return r, nil
		}
		// What it shows is what holds should this Welcome never arrive.
		r.Previous, r.Ticket, r.Instance = l.hello.Ticket, ticket, l.hello.Instance
		r.Attended, r.LastBeat, r.Address = true, m.now().UTC(), l.address
		r.Host, r.Platform, r.User, r.Version = l.hello.Host, l.hello.Platform, l.hello.User, l.hello.Version
		r.Holder, r.Link = m.id, l.id
		return r, nil
	})
	var out *OutageError
	if errors.As(err, &out) && m.known(c, l) {
		m.log("agent %s is let in by what is known: %v", l.name, err)
		ticket, err = l.hello.Ticket, nil
		l.unclaimed.Store(true)
	}
	if err != nil {
		return grpcError(err)
	}
	if clone {
		m.log("WARNING: the identity of agent %s is used by two machines; it is blocked. Delete it and enrol both under names of their own", l.name)
		m.revoke(pki.KindAgent, l.name)
		return status.Errorf(codes.FailedPrecondition, "the identity of agent %s is used by two machines, as after cloning one or going back to a snapshot: `sloth agent delete %s`, then enrol each with a token of its own", l.name, l.name)
	}
	l.ticket = ticket
	m.mu.Lock()
	if newer := m.links[l.name]; newer != nil && newer != old {
		m.mu.Unlock()
		return status.Error(codes.Unavailable, "this identity is connected already")
	}
	m.links[l.name] = l
	m.mu.Unlock()
	m.wake()
	m.heardAgent(l.name) // it may have gone to another master meanwhile
	return nil
}

// After a crash of the host the old stream may look alive for a while.
func connectedAlready(address string) error {
	return status.Error(codes.Unavailable, "this identity is connected already, from "+address+"; if that was this agent before a restart, its stream ends in a moment")
}

// wake tells those who wait for agents to look again.
func (m *Master) wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.joined)
	m.joined = make(chan struct{})
}

// leave takes a link away and ends what runs over it.
func (m *Master) leave(l *link) {
	m.mu.Lock()
	if m.links[l.name] == l {
		delete(m.links, l.name)
	}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), leaveLimit)
	defer cancel()
	_, err := m.store.changeAgent(ctx, l.name, func(_ *change, r *agentRecord) (*agentRecord, error) {
		if r != nil && r.Link == l.id {
			r.LastBeat, r.Holder, r.Link = l.heard().UTC(), "", ""
		}
		return r, nil
	})
	if err != nil {
		m.log("%v", err)
	}
}

// leaveLimit is how long it may take to write down that an agent has gone.
const leaveLimit = 10 * time.Second

// link is the one of an agent, if it is there.
func (m *Master) link(name string) *link {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.links[name]
}

// drop ends the stream of an agent.
func (m *Master) drop(name, why string) {
	if l := m.link(name); l != nil {
		l.end(status.Error(codes.Unauthenticated, why))
	}
}

// farewell tells all agents that the master ends, so that they need not wait
// for missed beats.
func (m *Master) farewell() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.links {
		l.end(status.Error(codes.Unavailable, "the master is stopping"))
	}
}

func printable(s string) string { return connection.Printable(s, 300) }
