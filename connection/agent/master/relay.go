package master

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// openLimit is how long an agent may take to open the stream of a job.
const openLimit = 10 * time.Second

// opening is a job whose agent is to open a stream.
type opening struct {
	agent  string
	stream chan grpc.ServerStream // takes one
	done   chan struct{}          // closed when the job is over
}

// reach tells a controller that an agent is there, for as long as it is.
func (m *Master) reach(s grpc.ServerStream) error {
	c := callerOf(s.Context())
	var q agent.ReachRequest
	if err := s.RecvMsg(&q); err != nil {
		return err
	}
	w, err := m.await(s.Context(), c, q.Agent, q.Stack)
	m.auditRun(c, agent.MethodReach, q.Agent, q.Stack, err)
	if err != nil {
		return err
	}
	if w.link != nil {
		return m.reachHere(s, w.link)
	}
	return w.reach.pass(s)
}

// reachHere says at every beat that a link lives.
func (m *Master) reachHere(s grpc.ServerStream, l *link) error {
	tick := time.NewTicker(m.o.Beat)
	defer tick.Stop()
	for {
		if err := s.SendMsg(&agent.Reached{Link: l.id, Beat: m.o.Beat}); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-l.ctx.Done():
			return gone(l)
		case <-s.Context().Done():
			return context.Cause(s.Context())
		}
	}
}

func gone(l *link) error {
	if errors.Is(context.Cause(l.ctx), context.Canceled) {
		return status.Error(codes.Unavailable, "the link to the agent broke: its connection ended")
	}
	return status.Error(codes.Unavailable, "the link to the agent broke: "+status.Convert(context.Cause(l.ctx)).Message())
}

// comeback is how long a controller waits for an agent that was there lately,
// as after a restart of the master.
const comeback = 8 * time.Second

// way is how an agent is reached: over a link here, or through another master.
type way struct {
	link  *link
	peer  masterRecord
	id    string       // of the link
	reach *remoteReach // once the other master has confirmed it
}

// await is find for an agent that may be about to come back.
func (m *Master) await(ctx context.Context, c *caller, name, stack string) (*way, error) {
	limit := time.NewTimer(m.o.Comeback)
	defer limit.Stop()
	for {
		m.mu.Lock()
		joined := m.joined
		m.mu.Unlock()
		var again <-chan time.Time
		w, err := m.find(ctx, c, name, stack)
		if err == nil && w.link == nil {
			w.reach, err = m.reachPeer(ctx, w.peer, name)
			again = time.After(peerAgain)
		}
		if status.Code(err) != codes.Unavailable {
			return w, err
		}
		if r, ok := m.store.agent(name); !ok || m.stateOf(&r) == agent.StateLost {
			return nil, err
		}
		select {
		case <-joined:
		case <-again:
		case <-limit.C:
			return nil, err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// find is the way to an agent that a user may reach.
func (m *Master) find(ctx context.Context, c *caller, name, stack string) (*way, error) {
	switch {
	case !c.mayReach(name):
		return nil, status.Errorf(codes.PermissionDenied, "user %s may not reach the agent %s", c.id.Name, printable(name))
	case !c.mayWork(name, stack) && stack == "":
		return nil, status.Errorf(codes.PermissionDenied, "user %s may reach the agent %s for runs in some stacks, and this is in none (--stack)", c.id.Name, printable(name))
	case !c.mayWork(name, stack):
		return nil, status.Errorf(codes.PermissionDenied, "user %s may not reach the agent %s for the stack %s", c.id.Name, printable(name), printable(stack))
	}
	if l := m.link(name); l != nil {
		return &way{link: l, id: l.id}, nil
	}
	r, ok := m.store.agent(name)
	p, there := m.elsewhere(&r)
	if !there && m.store.shared != nil && pki.CheckName(name) == nil && m.rechecks.allow("agent "+name, m.now()) {
		// It may have joined another master this very moment; else that is heard of.
		// What is known stands where nobody can be asked.
		_, _ = m.store.refresh(ctx, ref{kindAgents, name})
		r, ok = m.store.agent(name)
		p, there = m.elsewhere(&r)
	}
	switch {
	case !ok:
		return nil, status.Errorf(codes.NotFound, "there is no agent %s", printable(name))
	case r.Pending:
		return nil, status.Errorf(codes.FailedPrecondition, "the agent %s waits for approval: sloth agent approve %s", name, name)
	case r.Refused != "":
		return nil, status.Errorf(codes.FailedPrecondition, "the agent %s is blocked: %s", name, r.Refused)
	case there:
		return &way{peer: p, id: r.Link}, nil
	}
	// Unavailable: it may be back in a moment.
	return nil, status.Errorf(codes.Unavailable, "the agent %s is not connected (%s, last heard %s)", name, m.stateOf(&r), r.LastBeat.Format(time.RFC3339))
}

// readRun reads what a job's stream begins with.
func readRun(s grpc.ServerStream) (*agent.RunRequest, error) {
	var f agent.Frame
	q := &agent.RunRequest{}
	if err := s.RecvMsg(&f); err != nil {
		return nil, err
	}
	if err := f.ReadFirst(q); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return q, nil
}

// run passes a job to an agent, and bytes both ways until it is over.
func (m *Master) run(s grpc.ServerStream) error {
	c := callerOf(s.Context())
	q, err := readRun(s)
	if err != nil {
		return err
	}
	w, err := m.find(s.Context(), c, q.Agent, q.Stack)
	if err == nil && w.id != q.Link {
		err = errOtherLink
	}
	m.auditRun(c, agent.MethodRun, q.Agent+" "+printable(q.Job.Kind), q.Stack, err)
	switch {
	case err != nil:
		return err
	case w.link == nil:
		return m.runPeer(s, w.peer, q)
	}
	return m.runHere(s, w.link, q)
}

var errOtherLink = status.Error(codes.Unavailable, "the link to the agent broke and is another one now")

func (m *Master) runHere(s grpc.ServerStream, l *link, q *agent.RunRequest) (err error) {
	id := newID()
	o := &opening{agent: l.name, stream: make(chan grpc.ServerStream, 1), done: make(chan struct{})}
	defer close(o.done)
	m.mu.Lock()
	m.opens[id] = o
	m.mu.Unlock()
	defer func() { m.mu.Lock(); delete(m.opens, id); m.mu.Unlock() }()
	m.jobsStarted.Add(1)
	if err := l.send(s.Context(), &agent.ToAgent{Open: &agent.Open{ID: id, Expires: m.now().Add(30 * time.Second), Job: q.Job}}); err != nil {
		return unavailable(err)
	}
	m.opened.Add(1)
	defer m.opened.Add(-1)
	limit := time.NewTimer(openLimit)
	defer limit.Stop()
	select {
	case carry := <-o.stream:
		err = m.pass(s, carry, "the agent ended the stream of the job", l.ctx, func() error { return gone(l) })
	case <-limit.C:
		err = status.Error(codes.Unavailable, "the agent did not take the job in time")
	case <-s.Context().Done():
		err = context.Cause(s.Context())
	case <-l.ctx.Done():
		err = gone(l)
	}
	if err != nil && l.ctx.Err() == nil {
		// Nobody waits for it any more; the agent ends it. No ctx: the caller's is over.
		_ = l.send(l.ctx, &agent.ToAgent{Cancel: id})
	}
	return err
}

func unavailable(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Unavailable, err.Error())
}

// frames is one side of a job.
type frames interface {
	Context() context.Context
	SendMsg(m any) error
	RecvMsg(m any) error
}

// pass copies frames both ways. It returns nil when the far side has said its
// last, and what why says once lost has ended.
func (m *Master) pass(user, far frames, ended string, lost context.Context, why func() error) error {
	over := make(chan error, 2)
	// They end with the two streams, whose handlers must return for that.
	m.copies.Go(func() { over <- copyFrames(user, far) })
	m.copies.Go(func() {
		// The controller may stop sending: that alone is no end.
		if err := copyFrames(far, user); !errors.Is(err, errStreamEnd) {
			over <- err
		}
	})
	var err error
	select {
	case err = <-over:
	case <-user.Context().Done():
		err = context.Cause(user.Context())
	case <-far.Context().Done():
		// Its last frames may be on their way.
		select {
		case err = <-over:
		default:
			err = status.Error(codes.Unavailable, ended)
		}
	case <-lost.Done():
		err = why()
	}
	switch {
	case errors.Is(err, errStreamEnd):
		return nil
	case user.Context().Err() != nil:
		return context.Cause(user.Context())
	case lost.Err() != nil:
		return why()
	case status.Code(err) == codes.Canceled:
		// The far side's connection broke, which its streams learn in any order.
		return status.Error(codes.Unavailable, ended)
	}
	return err
}

var errStreamEnd = io.EOF

func copyFrames(to, from frames) error {
	for {
		var f agent.Frame
		if err := from.RecvMsg(&f); err != nil {
			return err
		}
		if err := to.SendMsg(&f); err != nil {
			return err
		}
	}
}

// carry is the stream that an agent opens for a job.
func (m *Master) carry(s grpc.ServerStream) error {
	c := callerOf(s.Context())
	var f agent.Frame
	var q agent.CarryRequest
	if err := s.RecvMsg(&f); err != nil {
		return err
	}
	if err := f.ReadFirst(&q); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	m.mu.Lock()
	o := m.opens[q.ID]
	if o != nil && o.agent == c.id.Name {
		delete(m.opens, q.ID) // once only
	}
	m.mu.Unlock()
	if o == nil || o.agent != c.id.Name {
		return status.Error(codes.NotFound, "there is no such job")
	}
	o.stream <- s
	select {
	case <-o.done:
		return nil
	case <-s.Context().Done():
		return context.Cause(s.Context())
	}
}
