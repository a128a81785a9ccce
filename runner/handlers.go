package runner

import (
	"maps"
	"slices"
	"sync"

	"github.com/sloth-runner/sloth/lua/dsl"
)

// handlers remembers which handler was notified on which host.
type handlers struct {
	mu      sync.Mutex
	known   []*dsl.Task
	pending map[string][]string // host -> names, each once
	left    map[string][]string // by earlier runs, not yet queued here
	unknown []string            // notified names that are no handler
}

// notify queues a handler and reports whether it was not queued already.
func (h *handlers) notify(host, name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pending == nil {
		h.pending = map[string][]string{}
	}
	if len(h.pending[host]) >= 1000 || slices.Contains(h.pending[host], name) {
		return false
	}
	h.pending[host] = append(h.pending[host], name)
	return true
}

// recall keeps what earlier runs left for when their hosts have their turn.
func (h *handlers) recall(left map[string][]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left = left
}

// adopt queues what earlier runs left on host, and gives what is new by that.
func (h *handlers) adopt(host string) []string {
	h.mu.Lock()
	names := h.left[host]
	delete(h.left, host)
	h.mu.Unlock()
	return slices.DeleteFunc(names, func(name string) bool { return !h.notify(host, name) })
}

// take removes and returns what is pending on host, in the order in which the
// handlers are defined. Names that are no handler stay and are returned apart.
func (h *handlers) take(host string) (run []*dsl.Task, unknown []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := h.pending[host]
	if len(names) == 0 {
		return nil, nil
	}
	for _, t := range h.known {
		if i := slices.Index(names, t.Name); i >= 0 {
			run = append(run, t)
			names = slices.Delete(names, i, i+1)
		}
	}
	h.pending[host] = names
	for _, n := range names {
		if !slices.Contains(h.unknown, n) {
			h.unknown = append(h.unknown, n)
			unknown = append(unknown, n)
		}
	}
	return run, unknown
}

// leftOn lists where earlier runs left something.
func (h *handlers) leftOn() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.left))
}

// hosts lists where something is pending.
func (h *handlers) hosts() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for host, names := range h.pending {
		if len(names) > 0 {
			out = append(out, host)
		}
	}
	slices.Sort(out)
	return out
}

// pendingOn names what is pending on host.
func (h *handlers) pendingOn(host string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.pending[host])
}
