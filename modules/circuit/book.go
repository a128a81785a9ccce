package circuit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

// Rule says when a circuit opens and for how long.
type Rule struct {
	Failures int           // in a row, until it opens
	Timeout  time.Duration // that it stays open until one call may try again
}

// DefaultRule is what holds where nothing is said.
func DefaultRule() Rule { return Rule{Failures: 5, Timeout: 30 * time.Second} }

// Open is the error of a call that an open circuit refused.
type Open struct {
	Name     string
	Failures int
	Left     time.Duration // until one call may try; 0: one is trying right now
}

func (o *Open) Error() string {
	return fmt.Sprintf("circuit %q is open after %d failures in a row; it tries again in %s", o.Name, o.Failures, o.Left.Round(time.Second))
}

// Book knows circuits by name. Where the call has the state of its stack, they
// are kept there, shared by all hosts and runs; else in this process.
type Book struct{ memory memory }

// NewBook returns a Book whose own memory goes by the clock now.
func NewBook(now func() time.Time) *Book {
	return &Book{memory: memory{now: now, all: map[string]*record{}}}
}

// Shared is the Book of this process: http and circuit speak of the same
// circuits.
var Shared = sync.OnceValue(func() *Book { return NewBook(time.Now) })

// Enter asks whether the named circuit lets a call through, and returns an
// *Open when it does not. leave must be called with how the call ended. A plan
// is always let through, and leaves no trace.
func (b *Book) Enter(ctx context.Context, c modules.Call, name string, r Rule) (leave func(good bool), err error) {
	if name == "" || c.Plan {
		return func(bool) {}, nil
	}
	s := b.store(c)
	failures, left, err := s.look(ctx, name)
	if err != nil {
		return nil, err
	}
	token := ""
	if failures >= r.Failures {
		if left > 0 {
			return nil, &Open{name, failures, left}
		}
		token = rand.Text()
		if ok, err := s.try(ctx, name, token, max(r.Timeout, time.Second)); err != nil || !ok {
			return nil, errors.Join(err, &Open{name, failures, 0})
		}
	}
	return func(good bool) {
		// How a call ended is counted even when its time was over.
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
		defer cancel()
		var err error
		switch {
		case !good:
			err = s.fail(after, name, r)
		case failures > 0:
			err = s.clear(after, name)
		}
		if token != "" {
			err = errors.Join(err, s.tried(after, name, token))
		}
		if err != nil {
			c.Log("warn", fmt.Sprintf("circuit %q: %v", name, err), nil)
		}
	}, nil
}

const writeLimit = 10 * time.Second

func (b *Book) store(c modules.Call) store {
	if c.Services != nil {
		return shared{c.Services}
	}
	return &b.memory
}

// store keeps the circuits: how often each failed in a row, and until when it
// is open.
type store interface {
	look(ctx context.Context, name string) (failures int, left time.Duration, err error)
	fail(ctx context.Context, name string, r Rule) error
	clear(ctx context.Context, name string) error
	// try lets one caller alone through, for at most that long.
	try(ctx context.Context, name, token string, most time.Duration) (bool, error)
	tried(ctx context.Context, name, token string) error
	names(ctx context.Context) ([]string, error)
	// opened tells whether it was open since it last was well.
	opened(ctx context.Context, name string) (bool, error)
}

// memory is the store of one process.
type memory struct {
	now func() time.Time
	mu  sync.Mutex
	all map[string]*record
}

type record struct {
	failures int
	until    time.Time
	token    string
	trying   time.Time // until when token has it alone
}

func (m *memory) look(_ context.Context, name string) (int, time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.all[name]; r != nil {
		return r.failures, max(r.until.Sub(m.now()), 0), nil
	}
	return 0, 0, nil
}

func (m *memory) fail(_ context.Context, name string, rule Rule) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.all[name]
	if r == nil {
		r = &record{}
		m.all[name] = r
	}
	if r.failures++; r.failures >= rule.Failures {
		r.until = m.now().Add(rule.Timeout)
	}
	return nil
}

func (m *memory) clear(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, name)
	return nil
}

func (m *memory) try(_ context.Context, name, token string, most time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.all[name]
	if r == nil {
		return true, nil // cleared meanwhile
	}
	if r.token != "" && m.now().Before(r.trying) {
		return false, nil
	}
	r.token, r.trying = token, m.now().Add(most)
	return true, nil
}

func (m *memory) tried(_ context.Context, name, token string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.all[name]; r != nil && r.token == token {
		r.token = ""
	}
	return nil
}

func (m *memory) names(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for name := range m.all {
		out = append(out, name)
	}
	slices.Sort(out)
	return out, nil
}

func (m *memory) opened(_ context.Context, name string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.all[name]
	return r != nil && !r.until.IsZero(), nil
}

// Keys of the state that belong to circuits. A key with a time to live says how
// long one is open, so that only the store's clock counts.
const (
	failuresOf = "circuit/failures/"
	openOf     = "circuit/open/"
	openedOf   = "circuit/opened/"
	tryingOf   = "circuit/trying/" // a lock
)

// keep is how long failures are remembered at least.
const keep = time.Hour

// shared is the store in the state of the stack.
type shared struct{ modules.Services }

func (s shared) ask(ctx context.Context, op string, args ...any) (any, error) {
	out, err := s.State(ctx, op, args)
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return out[0], nil
}

func (s shared) look(ctx context.Context, name string) (int, time.Duration, error) {
	v, err := s.ask(ctx, "get", failuresOf+name)
	n := whole(v)
	if err != nil || n == 0 {
		return 0, 0, err
	}
	v, err = s.ask(ctx, "get_ttl", openOf+name)
	return n, seconds(v), err
}

func whole(v any) int {
	switch v := v.(type) {
	case int64:
		return int(v)
	case float64:
		return int(v)
	}
	return 0
}

func seconds(v any) time.Duration {
	switch v := v.(type) {
	case int64:
		return max(time.Duration(v)*time.Second, 0)
	case float64:
		return max(time.Duration(v*float64(time.Second)), 0)
	}
	return 0
}

func (s shared) fail(ctx context.Context, name string, r Rule) error {
	v, err := s.ask(ctx, "increment", failuresOf+name, int64(1))
	if err != nil {
		return err
	}
	life := max(keep, 10*r.Timeout).Seconds()
	if _, err := s.ask(ctx, "set_ttl", failuresOf+name, life); err != nil || whole(v) < r.Failures {
		return err
	}
	_, err = s.ask(ctx, "set", openOf+name, true, r.Timeout.Seconds())
	_, also := s.ask(ctx, "set", openedOf+name, true, life)
	return errors.Join(err, also)
}

func (s shared) clear(ctx context.Context, name string) error {
	var all error
	for _, of := range []string{failuresOf, openOf, openedOf} {
		_, err := s.ask(ctx, "delete", of+name)
		all = errors.Join(all, err)
	}
	return all
}

func (s shared) opened(ctx context.Context, name string) (bool, error) {
	v, err := s.ask(ctx, "exists", openedOf+name)
	return v == true, err
}

func (s shared) try(ctx context.Context, name, token string, most time.Duration) (bool, error) {
	v, err := s.ask(ctx, "try_lock", tryingOf+name, token, most.Seconds())
	return v == true, err
}

func (s shared) tried(ctx context.Context, name, token string) error {
	_, err := s.ask(ctx, "unlock", tryingOf+name, token)
	return err
}

func (s shared) names(ctx context.Context) ([]string, error) {
	v, err := s.ask(ctx, "keys", failuresOf+"*")
	list, _ := v.([]any)
	var out []string
	for _, k := range list {
		if key, ok := k.(string); ok {
			out = append(out, strings.TrimPrefix(key, failuresOf))
		}
	}
	slices.Sort(out)
	return out, err
}
