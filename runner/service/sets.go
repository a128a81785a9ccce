package service

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/packed"
)

// Bounds of what a step may have set and not stored.
const (
	// maxWait is after how long it is stored while the step goes on, so that
	// others need not wait for the end of a long one.
	maxWait = time.Second
	maxSets = 4096
	// maxHeld is the size of the values, maxPlain that of one that may wait.
	maxHeld  = 1 << 20
	maxPlain = 64 << 10
	maxDepth = 32
)

var errSecret = errors.New("state keeps everything in plain text, and this holds a secret; keep secrets with sloth secret set, and read them with secret(NAME)")

// Sets is the state as one step sees it. What the step sets is stored together
// when it ends; the step itself reads it at once. Whatever else changes state
// sees the sets before it stored first, and those behind it not.
type Sets struct {
	state func(ctx context.Context, op string, args []any) ([]any, error)
	life  context.Context //nolint:containedctx // of the step, for what is stored while it goes on
	turn  chan struct{}   // whoever stores has it

	mu      sync.Mutex
	count   int
	held    int
	waiting map[string]later // by key
	sending map[string]later // on their way
	timer   *time.Timer      // nil: nothing waits
	timers  sync.WaitGroup
}

// later is a value that waits.
type later struct {
	key   string
	value any // nil deletes
	until time.Time
	size  int
	n     int // order
}

// NewSets puts Sets before state, for a step that goes on as long as life.
func NewSets(life context.Context, state func(ctx context.Context, op string, args []any) ([]any, error)) *Sets {
	return &Sets{state: state, life: life, turn: make(chan struct{}, 1), waiting: map[string]later{}}
}

// SetLater stores a value in time. What cannot wait, because it is large or may
// be refused, is stored now.
func (s *Sets) SetLater(ctx context.Context, key string, value any, ttl time.Duration) error {
	size, ok := plain(value, 0)
	if !ok || key == "" || len(key) > 512 || strings.ContainsRune(key, 0) || ttl < 0 || ttl > 1e9*time.Second {
		_, err := s.State(ctx, "set", []any{key, value, ttl.Seconds()})
		return err
	}
	set := later{key: key, value: value, size: size + len(key)}
	if ttl > 0 {
		set.until = time.Now().Add(ttl)
	}
	s.mu.Lock()
	s.count++
	set.n = s.count
	s.held += set.size - s.waiting[key].size
	s.waiting[key] = set
	full := s.held > maxHeld || len(s.waiting) >= maxSets
	if s.timer == nil {
		s.timers.Add(1)
		s.timer = time.AfterFunc(maxWait, func() {
			defer s.timers.Done()
			_ = s.store(s.life) // what was not stored is tried again, and told, at the end
		})
	}
	s.mu.Unlock()
	if full {
		return s.store(ctx)
	}
	return nil
}

// FlushState stores what waits.
func (s *Sets) FlushState(ctx context.Context) error {
	err := s.store(ctx)
	if err == nil {
		s.timers.Wait() // one that comes now has nothing to do
	}
	return err
}

// State performs one operation: on what the step has set itself if it only
// reads that, else where the state is.
func (s *Sets) State(ctx context.Context, op string, args []any) ([]any, error) {
	if packed.HasSecret(args) {
		// It would arrive as the text that people see of it.
		return nil, fmt.Errorf("state.%s: %w", op, errSecret)
	}
	if len(args) > 0 {
		if key, ok := args[0].(string); ok {
			if out, ok := s.look(op, key, args[1:]); ok {
				return out, nil
			}
		}
	}
	if !looks[op] || op == "keys" || op == "stats" {
		if err := s.store(ctx); err != nil {
			return nil, err
		}
	}
	return s.state(ctx, op, args)
}

// look answers a question about one key that waits.
func (s *Sets) look(op, key string, rest []any) ([]any, bool) {
	s.mu.Lock()
	set, ok := s.waiting[key]
	if !ok {
		set, ok = s.sending[key]
	}
	s.mu.Unlock()
	if !ok {
		return nil, false
	}
	now := time.Now()
	value := set.value
	if !set.until.IsZero() && !now.Before(set.until) {
		value = nil
	}
	switch op {
	case "get":
		if value == nil && len(rest) > 0 {
			value = rest[0]
		}
		return []any{value}, true
	case "exists":
		return []any{value != nil}, true
	case "get_ttl":
		switch {
		case value == nil:
			return []any{nil}, true
		case set.until.IsZero():
			return []any{int64(-1)}, true
		}
		return []any{set.until.Sub(now).Seconds()}, true
	case "list_length":
		if list, ok := value.([]any); ok || value == nil {
			return []any{int64(len(list))}, true
		}
	}
	return nil, false
}

// store sends what waits and returns once it is stored, also what another has
// sent before. What could not be stored waits on.
func (s *Sets) store(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.mu.Lock()
	if s.timer != nil && s.timer.Stop() {
		s.timers.Done()
	}
	s.timer = nil
	sending := s.waiting
	s.sending, s.waiting, s.held = sending, map[string]later{}, 0
	s.mu.Unlock()
	if len(sending) == 0 {
		return nil
	}
	_, err := s.state(ctx, "batch", []any{listed(sending)})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sending = nil
	if err == nil {
		return nil
	}
	for key, set := range sending {
		if _, newer := s.waiting[key]; !newer {
			s.waiting[key] = set
			s.held += set.size
		}
	}
	return err
}

// listed is what sets there are, in order, as the operation takes them.
func listed(sets map[string]later) []any {
	now := time.Now()
	order := make([]later, 0, len(sets))
	for _, set := range sets {
		order = append(order, set)
	}
	sort.Slice(order, func(i, j int) bool { return order[i].n < order[j].n })
	out := make([]any, len(order))
	for i, set := range order {
		ttl := 0.0
		if !set.until.IsZero() {
			if ttl = set.until.Sub(now).Seconds(); ttl <= 0 {
				set.value, ttl = nil, 0
			}
		}
		out[i] = []any{set.key, set.value, ttl}
	}
	return out
}

// plain gives about the size of a value, and whether nothing about it can be
// refused where it is stored.
func plain(v any, depth int) (size int, ok bool) {
	if depth > maxDepth {
		return 0, false
	}
	switch t := v.(type) {
	case nil, bool, int, int64:
		return 9, true
	case float64:
		return 9, !math.IsNaN(t)
	case string:
		return len(t) + 5, len(t) <= maxPlain
	case []any:
		for _, item := range t {
			n, ok := plain(item, depth+1)
			if size += n; !ok || size > maxPlain {
				return 0, false
			}
		}
		return size + 5, true
	case map[string]any:
		for k, item := range t {
			n, ok := plain(item, depth+1)
			if size += n + len(k) + 5; !ok || size > maxPlain {
				return 0, false
			}
		}
		return size + 5, true
	}
	return 0, false
}

// SetLater stores a value of the state in time for the step's end.
func (c *Client) SetLater(ctx context.Context, key string, value any, ttl time.Duration) error {
	return c.sets.SetLater(ctx, key, value, ttl)
}

// FlushState stores what the step has set.
func (c *Client) FlushState(ctx context.Context) error { return c.sets.FlushState(ctx) }

var _ modules.Setter = (*Client)(nil)
