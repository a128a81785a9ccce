package master

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/connection/agent/pki"
	"github.com/sloth-runner/sloth/state/disk/filelock"
)

// agentRecord is what is remembered about an agent. Who may attend is decided
// by it, not by the certificate alone: what is not here is refused.
type agentRecord struct {
	Name     string    `json:"name"`
	Machine  string    `json:"machine"`
	Key      string    `json:"key"` // fingerprint of its public key
	Host     string    `json:"host"`
	Platform string    `json:"platform,omitempty"`
	User     string    `json:"user,omitempty"`
	Version  string    `json:"version,omitempty"`
	Address  string    `json:"address,omitempty"`
	Pending  bool      `json:"pending,omitempty"`
	Attended bool      `json:"attended,omitempty"` // its certificate has arrived
	Asked    time.Time `json:"asked"`
	LastBeat time.Time `json:"last_beat,omitzero"`
	// Ticket is what the agent was given last, Previous the one before, which
	// holds until the agent has said that it has the last one on its disk.
	Ticket   string `json:"ticket,omitempty"`
	Previous string `json:"previous,omitempty"`
	Refused  string `json:"refused,omitempty"`  // why nobody may use this identity
	Instance string `json:"instance,omitempty"` // the process that joined last
	// Holder is the master that has the agent's stream, Link the stream. They
	// count as long as that master is there.
	Holder string `json:"holder,omitempty"`
	Link   string `json:"link,omitempty"`
}

func (r *agentRecord) copied() *agentRecord { c := *r; return &c }

// masterRecord is a master that runs and shares its records with others.
type masterRecord struct {
	ID      string    `json:"id"` // of this process
	Address string    `json:"address"`
	Version string    `json:"version,omitempty"`
	Started time.Time `json:"started"`
}

// userRecord is somebody who may use the master.
type userRecord struct {
	Name  string   `json:"name"`
	Role  Role     `json:"role"`
	Hosts string   `json:"hosts"`           // globs with commas; empty: all
	Allow string   `json:"allow,omitempty"` // see parseAllow; empty: all stacks
	Keys  []string `json:"keys"`            // fingerprints of public keys
}

// tokenRecord is a token that was not used yet, or is remembered as used.
type tokenRecord struct {
	Hash    string    `json:"hash"`
	Kind    string    `json:"kind"`
	Pattern string    `json:"pattern"`
	Expires time.Time `json:"expires"`
	Role    Role      `json:"role,omitempty"`
	Hosts   string    `json:"hosts,omitempty"`
	Allow   string    `json:"allow,omitempty"`
	By      string    `json:"by"`
	Used    string    `json:"used,omitempty"` // by whom
}

// The kinds of records.
const (
	kindAgents  = "agents"
	kindUsers   = "users"
	kindTokens  = "tokens"
	kindMasters = "masters" // those that run; only where records are shared
)

// ref names a record. Its name is safe as a file's.
type ref struct{ kind, name string }

func (r ref) String() string { return r.kind + "/" + r.name }

// store is what a master remembers. Its records are never altered, only
// replaced, once they are on the disk, or in what several masters share.
type store struct {
	dir  string
	lock *os.File

	shared *registry // nil: the folder is all there is

	changing sync.Mutex // one at a time writes to the folder

	mu      sync.RWMutex
	agents  map[string]*agentRecord
	users   map[string]*userRecord
	tokens  map[string]*tokenRecord
	masters map[string]*masterRecord
}

func openStore(dir string) (*store, error) {
	if err := pki.Folder(dir); err != nil {
		return nil, err
	}
	lock, err := filelock.Lock(filepath.Join(dir, "lock"))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("another master runs with the folder %s: stop it, or use another with --dir", dir)
	}
	if err != nil {
		return nil, err
	}
	s := &store{dir: dir, lock: lock, agents: map[string]*agentRecord{}, users: map[string]*userRecord{}, tokens: map[string]*tokenRecord{}, masters: map[string]*masterRecord{}}
	if err := s.loadFolder(); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

func (s *store) close() { s.lock.Close() }

// set replaces a record; nil removes it. The store is locked.
func (s *store) set(at ref, record any) {
	switch r := record.(type) {
	case *agentRecord:
		s.agents[at.name] = r
	case *userRecord:
		s.users[at.name] = r
	case *tokenRecord:
		s.tokens[at.name] = r
	case *masterRecord:
		s.masters[at.name] = r
	case nil:
		switch at.kind {
		case kindAgents:
			delete(s.agents, at.name)
		case kindUsers:
			delete(s.users, at.name)
		case kindTokens:
			delete(s.tokens, at.name)
		case kindMasters:
			delete(s.masters, at.name)
		}
	}
}

// change is a set of writes that all count or none, each on top of what it read.
type change struct {
	s        *store
	read     map[ref]bool
	revision func(at ref) // is told what is read, before it is; nil: nobody asks
	writes   map[ref]any
	order    []ref
}

func (c *change) agent(name string) *agentRecord { return look(c, kindAgents, c.s.agents, name) }
func (c *change) user(name string) *userRecord   { return look(c, kindUsers, c.s.users, name) }
func (c *change) token(hash string) *tokenRecord { return look(c, kindTokens, c.s.tokens, hash) }

// look is a copy of a record; nil: there is none.
func look[R any](c *change, kind string, in map[string]*R, name string) *R {
	at := ref{kind, name}
	if c.revision != nil && !c.read[at] {
		c.revision(at)
	}
	c.read[at] = true
	c.s.mu.RLock()
	defer c.s.mu.RUnlock()
	r := in[name]
	if r == nil {
		return nil
	}
	copied := *r
	return &copied
}

// put writes a record, which is not to be altered after that; nil removes it.
func (c *change) put(kind, name string, record any) {
	at := ref{kind, name}
	if _, again := c.writes[at]; !again {
		c.order = append(c.order, at)
	}
	c.writes[at] = record
}

// change lets do read and write records. Where they are shared and somebody was
// faster, do is called again: it must not do anything else.
func (s *store) change(ctx context.Context, do func(c *change) error) error {
	if s.shared != nil {
		return s.changeShared(ctx, do)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	c := &change{s: s, read: map[ref]bool{}, writes: map[ref]any{}}
	if err := do(c); err != nil {
		return err
	}
	for _, at := range c.order {
		if err := s.write(at, c.writes[at]); err != nil {
			return err
		}
		s.mu.Lock()
		s.set(at, c.writes[at])
		s.mu.Unlock()
	}
	return nil
}

// changeAgent lets alter change a copy of a record. A nil record given to it:
// there is none; one that it returns as nil is removed.
func (s *store) changeAgent(ctx context.Context, name string, alter func(c *change, r *agentRecord) (*agentRecord, error)) (*agentRecord, error) {
	var now *agentRecord
	err := s.change(ctx, func(c *change) error {
		was := c.agent(name)
		var before agentRecord
		if was != nil {
			before = *was
		}
		r, err := alter(c, was)
		now = r
		switch {
		case err != nil:
			return err
		case r == nil && was != nil:
			c.put(kindAgents, name, nil)
		case r != nil && (was == nil || *r != before):
			c.put(kindAgents, name, r.copied())
		}
		return nil
	})
	return now, err
}

func (s *store) agent(name string) (agentRecord, bool) { return find(s, s.agents, name) }
func (s *store) user(name string) (userRecord, bool)   { return find(s, s.users, name) }

// master is one that runs, of those that share their records.
func (s *store) master(id string) (masterRecord, bool) { return find(s, s.masters, id) }

func find[R any](s *store, in map[string]*R, name string) (r R, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if p := in[name]; p != nil {
		return *p, true
	}
	return r, false
}

// all are the records of a kind, by name.
func all[R any](s *store, in map[string]*R) []R {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]R, 0, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		out = append(out, *in[name])
	}
	return out
}
