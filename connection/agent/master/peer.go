package master

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

const (
	peerConnect = 3 * time.Second        // limit of one attempt to reach another master
	peerAgain   = 500 * time.Millisecond // until one that failed is tried again
	peerAnswer  = 2 * time.Second        // how long it may take to list its agents
)

// route is the way to another master.
type route struct {
	*agent.Router
	until time.Time // then it needs another certificate
}

func (m *Master) router(p masterRecord) (*agent.Router, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have := m.peers[p.ID]; have != nil && m.now().Before(have.until) {
		return have.Router, nil
	}
	root, err := m.authority.Root()
	if err != nil {
		return nil, err
	}
	cert, err := m.authority.Peer(m.id)
	if err != nil {
		return nil, err
	}
	for id, old := range m.peers { // of masters that are no more, among others
		if m.now().After(old.until) {
			delete(m.peers, id)
		}
	}
	r := agent.NewRouter(&agent.Dialer{Address: p.Address, Authority: root, Certificate: cert, Limit: peerConnect, Now: m.now})
	m.peers[p.ID] = &route{r, m.now().Add(pki.PeerLife / 2)}
	return r, nil
}

// peerStream begins a stream to another master; end is to be called once.
func (m *Master) peerStream(ctx context.Context, p masterRecord, method string, first any) (s grpc.ClientStream, end func(), err error) {
	r, err := m.router(p)
	if err != nil {
		return nil, nil, err
	}
	link, release, err := r.Take(ctx)
	if err != nil {
		return nil, nil, status.Errorf(codes.Unavailable, "the master %s, which has the agent's link, can't be reached: %v", p.Address, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	end = func() {
		cancel()
		release(link.Over())
	}
	s, err = link.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err == nil {
		err = s.SendMsg(first)
	}
	if errors.Is(err, io.EOF) {
		err = s.RecvMsg(&agent.Frame{}) // that has the reason
	}
	if err != nil {
		end()
		return nil, nil, unavailable(err)
	}
	return s, end, nil
}

// callPeer makes one call of another master.
func (m *Master) callPeer(ctx context.Context, p masterRecord, method string, q, reply any) error {
	r, err := m.router(p)
	if err != nil {
		return err
	}
	link, release, err := r.Take(ctx)
	if err != nil {
		return status.Errorf(codes.Unavailable, "the master %s, which has the agent's link, can't be reached: %v", p.Address, err)
	}
	defer func() { release(link.Over()) }()
	return link.Invoke(ctx, method, q, reply)
}

// remoteReach is a reach that another master answers.
type remoteReach struct {
	first  agent.Reached
	stream grpc.ClientStream
	end    func()
}

func (m *Master) reachPeer(ctx context.Context, p masterRecord, name string) (*remoteReach, error) {
	s, end, err := m.peerStream(ctx, p, agent.MethodPeerReach, &agent.ReachRequest{Agent: name})
	if err != nil {
		return nil, err
	}
	r := &remoteReach{stream: s, end: end}
	if err := s.RecvMsg(&r.first); err != nil {
		end()
		return nil, unavailable(err)
	}
	return r, nil
}

// pass tells a controller what the other master says.
func (r *remoteReach) pass(to grpc.ServerStream) error {
	defer r.end()
	for said := r.first; ; {
		if err := to.SendMsg(&said); err != nil {
			return err
		}
		if err := r.stream.RecvMsg(&said); err != nil {
			if errors.Is(err, io.EOF) {
				err = status.Error(codes.Unavailable, "the other master ended the stream")
			}
			return err
		}
	}
}

// runPeer lets the other master pass a job to its agent.
func (m *Master) runPeer(s grpc.ServerStream, p masterRecord, q *agent.RunRequest) error {
	f, err := agent.First(q)
	if err != nil {
		return err
	}
	far, end, err := m.peerStream(s.Context(), p, agent.MethodPeerRun, f)
	if err != nil {
		return err
	}
	defer end()
	m.jobsStarted.Add(1)
	m.opened.Add(1)
	defer m.opened.Add(-1)
	return m.pass(s, far, "the other master ended the stream of the job", s.Context(), func() error { return context.Cause(s.Context()) })
}

// everywhere is Agents with what other masters know of those that they have.
func (m *Master) everywhere(ctx context.Context) []agent.Status {
	ctx, cancel := context.WithTimeout(ctx, peerAnswer)
	defer cancel()
	var mu sync.Mutex
	theirs := map[string]agent.Status{}
	var wg sync.WaitGroup
	for _, p := range all(m.store, m.store.masters) {
		if p.ID == m.id {
			continue
		}
		wg.Go(func() {
			s, end, err := m.peerStream(ctx, p, agent.MethodPeerList, &agent.Nothing{})
			if err != nil {
				return // what is written down of its agents has to do
			}
			defer end()
			for {
				var st agent.Status
				if err := s.RecvMsg(&st); err != nil {
					return
				}
				mu.Lock()
				theirs[p.ID+" "+st.Name] = st
				mu.Unlock()
			}
		})
	}
	list := m.Agents()
	wg.Wait()
	for i, st := range list {
		r, ok := m.store.agent(st.Name)
		if !ok {
			continue
		}
		if there, ok := theirs[r.Holder+" "+st.Name]; ok {
			there.Master = st.Master
			list[i] = there
		}
	}
	return list
}

func (m *Master) peerReach(s grpc.ServerStream) error {
	var q agent.ReachRequest
	if err := s.RecvMsg(&q); err != nil {
		return err
	}
	l := m.link(q.Agent)
	if l == nil {
		return status.Errorf(codes.Unavailable, "the agent %s is not connected here", printable(q.Agent))
	}
	return m.reachHere(s, l)
}

func (m *Master) peerRun(s grpc.ServerStream) error {
	q, err := readRun(s)
	if err != nil {
		return err
	}
	l := m.link(q.Agent)
	if l == nil || l.id != q.Link {
		return errOtherLink
	}
	return m.runHere(s, l, q)
}

func (m *Master) peerStop(ctx context.Context, q *agent.Name) (*agent.Nothing, error) {
	return &agent.Nothing{}, m.stopHere(ctx, q)
}

func (m *Master) peerList(s grpc.ServerStream) error {
	for _, st := range m.Agents() {
		if m.link(st.Name) == nil {
			continue
		}
		if err := s.SendMsg(&st); err != nil {
			return err
		}
	}
	return nil
}
