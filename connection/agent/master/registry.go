package master

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Shared is where several masters keep their records together. Its writes are
// on the disks of whoever keeps it when they return.
type Shared interface {
	// Get returns a value and its revision, which grows with each write; 0:
	// there is none.
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Commit makes all of writes or none, and returns their revision. Where one is
	// not at its If it returns ErrChanged.
	Commit(ctx context.Context, writes []Write) (revision uint64, err error)
	// Watch yields all there is, then an event with Synced, and then what changes.
	Watch(ctx context.Context) iter.Seq2[Event, error]
	// String names it in messages.
	String() string
}

// ErrChanged says that somebody else was faster.
var ErrChanged = errors.New("it was changed meanwhile")

// Write is one part of a Shared.Commit.
type Write struct {
	Key   string
	Value []byte        // nil: the key is removed, or only checked
	Check bool          // demands that the key is at If, and no more
	Any   bool          // whatever the revision is
	If    uint64        // the revision it has to have; 0: absent
	Life  time.Duration // it goes by itself after that; 0: never
}

// Event is one step of a Shared.Watch.
type Event struct {
	Key      string
	Value    []byte
	Revision uint64
	Deleted  bool // by somebody, or its life is over; the key alone is set
	Synced   bool // all there was has been shown
}

// OutageError says that what masters share could not be asked or changed.
type OutageError struct {
	Place string
	Err   error
}

func (e *OutageError) Error() string {
	return "what the masters share can't be reached, so nothing can be changed; try again when it answers: " + e.Err.Error()
}

// Unwrap returns what kept from it.
func (e *OutageError) Unwrap() error { return e.Err }

// registry is the records that several masters share. Each master has all of
// them in memory and hears of changes; so all is answered at once, and while
// nothing can be changed, too.
type registry struct {
	shared Shared
	seal   cipher.AEAD
	log    func(format string, args ...any)
	heard  func(at ref) // of every change, wherever it was made; not locked
	up     atomic.Bool

	mu    sync.Mutex // before the store's
	known map[ref]known
}

// known is which version of a record we have. Ours is one that we wrote and
// have not heard of yet.
type known struct {
	revision uint64
	ours     bool
}

const (
	keyAuthority = "authority"
	// restartWatch is the pause before a watch that ended begins again.
	restartWatch = time.Second
	maxTries     = 50
	maxRefName   = 128 // a longer name is nobody's
)

// newRegistry seals records with secret: who can read or write what is shared
// can neither read nor make one.
func newRegistry(shared Shared, secret []byte, log func(format string, args ...any)) (*registry, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	return &registry{shared: shared, seal: seal, log: log, heard: func(ref) {}, known: map[ref]known{}}, err
}

func (r *registry) close(at ref, record any) ([]byte, error) {
	text, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, r.seal.NonceSize())
	_, _ = rand.Read(nonce) // never fails, see crypto/rand
	return r.seal.Seal(nonce, nonce, text, []byte(at.String())), nil
}

// open is nil for what is no record of ours.
func (r *registry) open(at ref, sealed []byte) any {
	n := r.seal.NonceSize()
	if len(sealed) < n {
		return nil
	}
	text, err := r.seal.Open(nil, sealed[:n], sealed[n:], []byte(at.String()))
	if err != nil {
		return nil
	}
	var record any
	switch at.kind {
	case kindAgents:
		record = new(agentRecord)
	case kindUsers:
		record = new(userRecord)
	case kindTokens:
		record = new(tokenRecord)
	case kindMasters:
		record = new(masterRecord)
	default:
		return nil
	}
	if json.Unmarshal(text, record) != nil {
		return nil
	}
	return record
}

// outage is err, unless it was the caller who would wait no longer.
func (r *registry) outage(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.up.CompareAndSwap(true, false) {
		r.log("WARNING: %s can't be reached: agents stay and work goes on, but nothing can be changed: %v", r.shared, err)
	}
	return &OutageError{Place: r.shared.String(), Err: err}
}

func (r *registry) answers() {
	if r.up.CompareAndSwap(false, true) {
		r.log("%s answers", r.shared)
	}
}

// changeShared is change for records that are shared.
func (s *store) changeShared(ctx context.Context, do func(c *change) error) error {
	r := s.shared
	for range maxTries {
		c := &change{s: s, read: map[ref]bool{}, writes: map[ref]any{}}
		before := map[ref]uint64{}
		c.revision = func(at ref) {
			r.mu.Lock()
			defer r.mu.Unlock()
			before[at] = r.known[at].revision
		}
		if err := do(c); err != nil {
			// It may be refused for what we have not heard of yet.
			newer, lookErr := s.lookAgain(ctx, c.read, before)
			switch {
			case lookErr != nil:
				return lookErr
			case !newer:
				return err
			}
			continue
		}
		if len(c.order) == 0 {
			return nil
		}
		writes, err := r.writes(c, before)
		if err != nil {
			return err
		}
		revision, err := r.shared.Commit(ctx, writes)
		switch {
		case err == nil:
			r.answers()
			for _, at := range c.order {
				s.apply(at, c.writes[at], revision, true)
			}
			return nil
		case !errors.Is(err, ErrChanged):
			return r.outage(ctx, err)
		}
		r.answers()
		if _, err := s.lookAgain(ctx, c.read, before); err != nil {
			return err
		}
	}
	return &OutageError{Place: r.shared.String(), Err: errors.New("others change the same all the time")}
}

func (r *registry) writes(c *change, before map[ref]uint64) ([]Write, error) {
	var out []Write
	for _, at := range c.order {
		w := Write{Key: at.String(), If: before[at], Any: !c.read[at]}
		if record := c.writes[at]; record != nil {
			var err error
			if w.Value, err = r.close(at, record); err != nil {
				return nil, err
			}
		}
		out = append(out, w)
	}
	for at := range c.read {
		if _, written := c.writes[at]; !written {
			out = append(out, Write{Key: at.String(), Check: true, If: before[at]})
		}
	}
	return out, nil
}

// lookAgain asks for records, and tells whether one is not as it was before.
func (s *store) lookAgain(ctx context.Context, read map[ref]bool, before map[ref]uint64) (newer bool, err error) {
	for at := range read {
		now, err := s.refresh(ctx, at)
		if err != nil {
			return false, err
		}
		newer = newer || now != before[at]
	}
	return newer, nil
}

// refresh asks for a record and returns its revision.
func (s *store) refresh(ctx context.Context, at ref) (uint64, error) {
	r := s.shared
	if len(at.name) > maxRefName {
		return 0, nil
	}
	r.mu.Lock()
	had := r.known[at]
	r.mu.Unlock()
	value, revision, err := r.shared.Get(ctx, at.String())
	if err != nil {
		return 0, r.outage(ctx, err)
	}
	r.answers()
	if revision == 0 {
		s.gone(at, had)
		return 0, nil
	}
	s.apply(at, r.open(at, value), revision, false)
	return revision, nil
}

// apply keeps a record unless we have a newer one; nil: it was removed by us,
// or is none.
func (s *store) apply(at ref, record any, revision uint64, ours bool) {
	r := s.shared
	r.mu.Lock()
	had, ok := r.known[at]
	switch {
	case ok && revision != 0 && revision < had.revision:
		r.mu.Unlock()
		return
	case ok && revision == had.revision && revision != 0:
		r.known[at] = known{revision: revision}
		r.mu.Unlock()
		return
	case revision == 0:
		delete(r.known, at)
	default:
		r.known[at] = known{revision: revision, ours: ours}
	}
	s.mu.Lock()
	s.set(at, record)
	s.mu.Unlock()
	r.mu.Unlock()
	if record == nil && revision != 0 {
		r.log("WARNING: %s in %s was not written by a master of this authority; it counts as removed", at, r.shared)
	}
	r.heard(at)
}

// gone forgets a record that is no more, if it is still the one we had.
func (s *store) gone(at ref, had known) {
	r := s.shared
	r.mu.Lock()
	if now, ok := r.known[at]; !ok || now.revision != had.revision {
		r.mu.Unlock()
		return
	}
	delete(r.known, at)
	s.mu.Lock()
	s.set(at, nil)
	s.mu.Unlock()
	r.mu.Unlock()
	r.heard(at)
}

// follow hears of changes until ctx ends. synced is closed once all is known.
func (s *store) follow(ctx context.Context, synced chan<- struct{}) {
	r := s.shared
	for {
		shown := map[ref]bool{}
		for e, err := range r.shared.Watch(ctx) {
			if err != nil {
				_ = r.outage(ctx, err) // it says so
				break
			}
			kind, name, ok := strings.Cut(e.Key, "/")
			at := ref{kind, name}
			switch {
			case e.Synced:
				r.answers()
				s.prune(ctx, shown)
				shown = nil
				if synced != nil {
					close(synced)
					synced = nil
				}
			case !ok:
			case e.Deleted:
				r.mu.Lock()
				had := r.known[at]
				r.mu.Unlock()
				if had.ours { // what was deleted may be the one before ours
					_, _ = s.refresh(ctx, at) // an outage ends the watch, too
				} else {
					s.gone(at, had)
				}
			default:
				if shown != nil {
					shown[at] = true
				}
				s.apply(at, r.open(at, e.Value), e.Revision, false)
			}
		}
		select {
		case <-time.After(restartWatch):
		case <-ctx.Done():
			return
		}
	}
}

// prune forgets what went while nothing was heard.
func (s *store) prune(ctx context.Context, shown map[ref]bool) {
	r := s.shared
	r.mu.Lock()
	missing := map[ref]known{}
	for at, k := range r.known {
		if !shown[at] {
			missing[at] = k
		}
	}
	r.mu.Unlock()
	for at, had := range missing {
		if had.ours {
			_, _ = s.refresh(ctx, at) // an outage ends the watch, too
		} else {
			s.gone(at, had)
		}
	}
}
