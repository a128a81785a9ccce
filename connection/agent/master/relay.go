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
	l, err := m.await(s.Context(), c, q.Agent)
	m.audit(c, agent.MethodReach, q.Agent, err)
	if err != nil {
		return err
	}
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

// await is find for an agent that may be about to come back.
func (m *Master) await(ctx context.Context, c *caller, name string) (*link, error) {
	limit := time.NewTimer(comeback)
	defer limit.Stop()
	for {
		m.mu.Lock()
		joined := m.joined
		m.mu.Unlock()
		l, err := m.find(c, name)
		if status.Code(err) != codes.Unavailable {
			return l, err
		}
		if r, ok := m.store.agent(name); !ok || m.stateOf(&r) == agent.StateLost {
			return nil, err
		}
		select {
		case <-joined:
		case <-limit.C:
			return nil, err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// find is the link of an agent that a user may reach.
func (m *Master) find(c *caller, name string) (*link, error) {
	if !c.mayReach(name) {
		return nil, status.Errorf(codes.PermissionDenied, "user %s may not reach the agent %s", c.id.Name, printable(name))
	}
	if l := m.link(name); l != nil {
		return l, nil
	}
	r, ok := m.store.agent(name)
	switch {
	case !ok:
		return nil, status.Errorf(codes.NotFound, "there is no agent %s", printable(name))
	case r.Pending:
		return nil, status.Errorf(codes.FailedPrecondition, "the agent %s waits for approval: sloth agent approve %s", name, name)
	case r.Refused != "":
		return nil, status.Errorf(codes.FailedPrecondition, "the agent %s is blocked: %s", name, r.Refused)
	}
	// Unavailable: it may be back in a moment.
	return nil, status.Errorf(codes.Unavailable, "the agent %s is not connected (%s, last heard %s)", name, m.stateOf(&r), r.LastBeat.Format(time.RFC3339))
}

// run passes a job to an agent, and bytes both ways until it is over.
func (m *Master) run(s grpc.ServerStream) error {
	c := callerOf(s.Context())
	var f agent.Frame
	var q agent.RunRequest
	if err := s.RecvMsg(&f); err != nil {
		return err
	}
	if err := f.ReadFirst(&q); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	l, err := m.find(c, q.Agent)
	if err == nil && l.id != q.Link {
		err = status.Error(codes.Unavailable, "the link to the agent broke and is another one now")
	}
	m.audit(c, agent.MethodRun, q.Agent+" "+printable(q.Job.Kind), err)
	if err != nil {
		return err
	}
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
		err = m.pass(l, s, carry)
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

// pass copies frames both ways. It returns nil when the agent has said its last.
func (m *Master) pass(l *link, user, carry grpc.ServerStream) error {
	ended := make(chan error, 2)
	// They end with the two streams, whose handlers must return for that.
	m.copies.Go(func() { ended <- copyFrames(user, carry) })
	m.copies.Go(func() {
		// The controller may stop sending: that alone is no end.
		if err := copyFrames(carry, user); !errors.Is(err, errStreamEnd) {
			ended <- err
		}
	})
	var err error
	select {
	case err = <-ended:
	case <-user.Context().Done():
		err = context.Cause(user.Context())
	case <-carry.Context().Done():
		// Its last frames may be on their way.
		select {
		case err = <-ended:
		default:
			err = status.Error(codes.Unavailable, "the agent ended the stream of the job")
		}
	case <-l.ctx.Done():
		err = gone(l)
	}
	switch {
	case errors.Is(err, errStreamEnd):
		return nil
	case user.Context().Err() != nil:
		return context.Cause(user.Context())
	case l.ctx.Err() != nil:
		return gone(l)
	case status.Code(err) == codes.Canceled:
		// The agent's connection broke, which its streams learn in any order.
		return status.Error(codes.Unavailable, "the agent ended the stream of the job")
	}
	return err
}

var errStreamEnd = io.EOF

func copyFrames(to, from grpc.ServerStream) error {
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
