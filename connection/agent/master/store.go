package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/connection/agent/pki"
	"github.com/sloth-runner/sloth/filelock"
	"github.com/sloth-runner/sloth/wholefile"
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
	Refused  string `json:"refused,omitempty"` // why nobody may use this identity
}

// userRecord is somebody who may use the master.
type userRecord struct {
	Name  string   `json:"name"`
	Role  Role     `json:"role"`
	Hosts string   `json:"hosts"` // globs with commas; empty: all
	Keys  []string `json:"keys"`  // fingerprints of public keys
}

// tokenRecord is a token that was not used yet, or is remembered as used.
type tokenRecord struct {
	Hash    string    `json:"hash"`
	Kind    string    `json:"kind"`
	Pattern string    `json:"pattern"`
	Expires time.Time `json:"expires"`
	Role    Role      `json:"role,omitempty"`
	Hosts   string    `json:"hosts,omitempty"`
	By      string    `json:"by"`
	Used    string    `json:"used,omitempty"` // by whom
}

// store is the folder of a master: one file per record, written before anybody
// is told.
type store struct {
	dir  string
	lock *os.File

	mu     sync.Mutex
	agents map[string]*agentRecord
	users  map[string]*userRecord
	tokens map[string]*tokenRecord
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
	s := &store{dir: dir, lock: lock, agents: map[string]*agentRecord{}, users: map[string]*userRecord{}, tokens: map[string]*tokenRecord{}}
	err = errors.Join(load(filepath.Join(dir, "agents"), s.agents), load(filepath.Join(dir, "users"), s.users), load(filepath.Join(dir, "tokens"), s.tokens))
	if err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

func (s *store) close() { s.lock.Close() }

func load[R any](dir string, into map[string]*R) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		r := new(R)
		if err := json.Unmarshal(text, r); err != nil {
			return fmt.Errorf("read %s: %w; restore it from a backup, or remove it to forget this one", filepath.Join(dir, e.Name()), err)
		}
		into[name] = r
	}
	return nil
}

// put writes a record; name is safe as a file's.
func (s *store) put(kind, name string, record any) error {
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	if err := wholefile.Write(filepath.Join(s.dir, kind, name+".json"), text); err != nil {
		return fmt.Errorf("remember %s %s: %w", kind, name, err)
	}
	return nil
}

func (s *store) remove(kind, name string) error {
	err := os.Remove(filepath.Join(s.dir, kind, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// changeAgent lets change alter a copy of a record, which counts once it is on
// the disk. A nil record given to change: there is none; one that change
// returns as nil is removed.
func (s *store) changeAgent(name string, change func(r *agentRecord) (*agentRecord, error)) (*agentRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var was *agentRecord
	if r := s.agents[name]; r != nil {
		c := *r
		was = &c
	}
	now, err := change(was)
	if err != nil {
		return nil, err
	}
	if now == nil {
		if err := s.remove("agents", name); err != nil {
			return nil, err
		}
		delete(s.agents, name)
		return nil, nil
	}
	if err := s.put("agents", name, now); err != nil {
		return nil, err
	}
	s.agents[name] = now
	c := *now
	return &c, nil
}

func (s *store) agent(name string) (agentRecord, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.agents[name]
	if r == nil {
		return agentRecord{}, false
	}
	return *r, true
}

func (s *store) user(name string) (userRecord, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.users[name]
	if r == nil {
		return userRecord{}, false
	}
	return *r, true
}
