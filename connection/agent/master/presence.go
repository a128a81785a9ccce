package master

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// A master that shares its records says every announceEvery that it is there;
// after presenceLife of silence its agents count as gone.
const (
	announceEvery = 3 * time.Second
	presenceLife  = 10 * time.Second
)

// share joins the masters that keep their records together.
func (m *Master) share(ctx context.Context) error {
	m.id = newID()
	return m.store.share(ctx, m.o.Shared, m.authority, m.log, &m.following, m.heard)
}

// announce says that this master is there, until ctx ends.
func (m *Master) announce(ctx context.Context) {
	r := m.store.shared
	at := ref{kindMasters, m.id}
	me := &masterRecord{ID: m.id, Address: m.o.Advertise, Version: m.o.Version, Started: m.started.UTC()}
	m.succeed(ctx)
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		value, err := r.close(at, me)
		if err == nil {
			_, err = r.shared.Commit(ctx, []Write{{Key: at.String(), Value: value, Any: true, Life: presenceLife}})
		}
		if err == nil {
			r.answers()
			m.claim(ctx)
		} else {
			_ = r.outage(ctx, err) // it says so
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceEvery)
			defer cancel()
			_, _ = r.shared.Commit(ctx, []Write{{Key: at.String(), Any: true}}) // else its life ends
			return
		}
	}
}

// succeed says that the process before this one, which had its address, is no
// more: after a kill its agents would count as there for a while.
func (m *Master) succeed(ctx context.Context) {
	for _, p := range all(m.store, m.store.masters) {
		if p.Address == m.o.Advertise && p.ID != m.id {
			at := ref{kindMasters, p.ID}
			_, _ = m.store.shared.shared.Commit(ctx, []Write{{Key: at.String(), Any: true}}) // else its life ends
		}
	}
}

// claim writes down the agents that came while nothing could be written.
func (m *Master) claim(ctx context.Context) {
	m.mu.Lock()
	var late []*link
	for _, l := range m.links {
		if l.unclaimed.Load() {
			late = append(late, l)
		}
	}
	m.mu.Unlock()
	for _, l := range late {
		_, err := m.store.changeAgent(ctx, l.name, func(_ *change, r *agentRecord) (*agentRecord, error) {
			if r == nil {
				return nil, nil
			}
			if _, there := m.elsewhere(r); !there || r.Instance == l.hello.Instance && r.LastBeat.Before(l.since) {
				r.Holder, r.Link, r.Instance, r.Address, r.LastBeat = m.id, l.id, l.hello.Instance, l.address, m.now().UTC()
			}
			return r, nil
		})
		if err != nil {
			return // there is a next time
		}
		l.unclaimed.Store(false)
		m.heardAgent(l.name)
	}
}

// known lets an agent come back on the strength of what is in memory, while
// nothing can be written: it shows its ticket, and nobody else has its stream.
func (m *Master) known(c *caller, l *link) bool {
	r, ok := m.store.agent(l.name)
	if !ok || r.Key != pki.KeyOf(c.cert) || r.Refused != "" || l.hello.Ticket == "" {
		return false
	}
	if _, there := m.elsewhere(&r); there && r.Instance != l.hello.Instance {
		return false
	}
	return l.hello.Ticket == r.Ticket || l.hello.Ticket == r.Previous
}

// elsewhere is the other master that has the stream of an agent.
func (m *Master) elsewhere(r *agentRecord) (masterRecord, bool) {
	if r.Holder == "" || r.Holder == m.id {
		return masterRecord{}, false
	}
	return m.store.master(r.Holder)
}

// present reports whether an agent is connected, here or elsewhere.
func (m *Master) present(r *agentRecord) bool {
	_, there := m.elsewhere(r)
	return there || m.link(r.Name) != nil
}

func (m *Master) partedAt(holder string) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.parted[holder]
}

// heard follows up a change of what is shared.
func (m *Master) heard(at ref) {
	switch at.kind {
	case kindAgents:
		m.heardAgent(at.name)
	case kindUsers:
		m.rejudge(pki.KindUser, at.name)
	case kindMasters:
		m.mu.Lock()
		if _, there := m.store.master(at.name); !there {
			m.parted[at.name] = m.now()
		}
		m.mu.Unlock()
		m.wake()
	}
}

func (m *Master) heardAgent(name string) {
	m.rejudge(pki.KindAgent, name)
	r, ok := m.store.agent(name)
	if !ok {
		return
	}
	if l := m.link(name); l != nil && r.Link != l.id && !l.unclaimed.Load() {
		l.end(status.Error(codes.Unavailable, "the agent has gone to another master"))
	}
	if _, there := m.elsewhere(&r); there {
		m.wake()
	}
}

// rejudge ends the streams of somebody who may not have them any more.
func (m *Master) rejudge(kind, name string) {
	m.mu.Lock()
	var theirs []*call
	for c := range m.calls {
		if c.caller.id.Kind == kind && c.caller.id.Name == name {
			theirs = append(theirs, c)
		}
	}
	m.mu.Unlock()
	for _, c := range theirs {
		again := *c.caller
		if err := m.judge(&again, c.rule, true); err != nil {
			c.cancel(err)
		}
	}
}

// judgeAgain asks what is shared before somebody is refused whom another master
// may have let in a moment ago.
func (m *Master) judgeAgain(ctx context.Context, c *caller, r rule, known bool, refused error) error {
	at := ref{kindAgents, c.id.Name}
	if c.id.Kind == pki.KindUser {
		at.kind = kindUsers
	}
	if m.store.shared == nil || !known || c.id.Name == "" || c.id.Kind == pki.KindMaster || !m.rechecks.allow(c.name(), m.now()) {
		return refused
	}
	_, err := m.store.refresh(ctx, at)
	var out *OutageError
	switch {
	case errors.As(err, &out):
		return grpcError(err)
	case err != nil:
		return err
	}
	return m.judge(c, r, known)
}
