package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/sloth-runner/sloth/connection/agent/master"
	"github.com/sloth-runner/sloth/state"
)

// sharedAnswer is how long masters wait for what they share. An agent that
// comes back waits as long.
const sharedAnswer = 4 * time.Second

// share finds what --state says; nil: this master has its records alone. What
// else says where state is kept is meant for runs.
func (m *masterStart) share() (master.Shared, func(), error) {
	if m.app.state == "" {
		return nil, func() {}, nil
	}
	p, err := parseState(m.app.state, "")
	if err != nil {
		return nil, nil, prefixed("--state", err)
	}
	if p.etcd == nil {
		return nil, nil, withHint(fmt.Errorf("--state %s: masters share a cluster, not a folder", m.app.state), "Write etcd://host1,host2/prefix; the folder of a master that is alone is --dir.")
	}
	// Apart from what runs remember: a backup of that is none of this.
	place := *p.etcd
	place.Prefix += "/masters"
	s := m.app.openStore(statePlace{etcd: &place}, "master", sharedAnswer)
	return sharedStore{s, place.String()}, func() { s.Close() }, nil
}

// advertised is where the other masters find this one.
func (m *masterStart) advertised() (string, error) {
	if m.advertise != "" {
		return masterAddress(m.advertise), nil
	}
	host := m.bind
	if ip := net.ParseIP(m.bind); ip == nil || ip.IsUnspecified() {
		var err error
		if host, err = os.Hostname(); err != nil {
			return "", withHint(err, "Say with --advertise where other masters find this one.")
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(m.port)), nil
}

// sharedStore is a state.Store as masters use it.
type sharedStore struct {
	state.Store
	place string
}

func (s sharedStore) String() string { return s.place }

// Get implements master.Shared.
func (s sharedStore) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	e, err := s.Store.Get(ctx, key)
	if errors.Is(err, state.ErrNotFound) {
		return nil, 0, nil
	}
	return e.Value, uint64(e.Revision), hintInside(err)
}

// Commit implements master.Shared.
func (s sharedStore) Commit(ctx context.Context, writes []master.Write) (uint64, error) {
	ops := make([]state.Op, len(writes))
	for i, w := range writes {
		ops[i] = state.Op{Kind: state.OpPut, Key: w.Key, Value: w.Value, TTL: w.Life, If: state.Revision(w.If)}
		if w.Any {
			ops[i].If = state.Any
		}
		switch {
		case w.Check:
			ops[i].Kind = state.OpCheck
		case w.Value == nil:
			ops[i].Kind = state.OpDelete
		}
	}
	r, err := s.Store.Commit(ctx, ops)
	if errors.Is(err, state.ErrConflict) {
		return 0, master.ErrChanged
	}
	return uint64(r), hintInside(err)
}

// Watch implements master.Shared.
func (s sharedStore) Watch(ctx context.Context) iter.Seq2[master.Event, error] {
	return func(yield func(master.Event, error) bool) {
		for e, err := range s.Store.Watch(ctx, "") {
			if !yield(master.Event{Key: e.Key, Value: e.Value, Revision: uint64(e.Revision), Deleted: e.Deleted, Synced: e.Synced}, hintInside(err)) {
				return
			}
		}
	}
}
