package shim

import (
	"slices"
	"sync"

	"github.com/sloth-runner/sloth/connection/wire"
)

// Bounds of what is kept for a worker that may ask again.
const (
	maxReplies     = 4000
	maxReplyMemory = 64 << 20
)

// served remembers the calls of a durable run: one that is asked again, after
// its link broke, gets the answer that was given and is not served twice.
type served struct {
	mu    sync.Mutex
	calls map[uint64]*wire.Reply // nil: under way
	order []uint64               // the keys of calls, as they came
	bytes int
}

// begin takes note of a call. again is its answer, where that was given before;
// known says that it is under way.
func (v *served) begin(c wire.Call, remember bool) (again *wire.Reply, known bool) {
	if !remember || c.Stream != 0 {
		return nil, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.order) > 0 && v.order[0] < c.Answered {
		v.forget(v.order[0])
		v.order = v.order[1:]
	}
	if r, ok := v.calls[c.ID]; ok {
		return r, true
	}
	if v.calls == nil {
		v.calls = map[uint64]*wire.Reply{}
	}
	v.calls[c.ID] = nil
	v.order = append(v.order, c.ID)
	return nil, false
}

func (v *served) end(c wire.Call, r wire.Reply) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.calls[c.ID]; !ok {
		return
	}
	v.calls[c.ID] = &r
	v.bytes += len(r.Body)
	if !v.full() {
		return
	}
	// A worker that never says what arrived does without the oldest.
	v.order = slices.DeleteFunc(v.order, func(id uint64) bool {
		if id == c.ID || v.calls[id] == nil || !v.full() {
			return false
		}
		v.forget(id)
		return true
	})
}

func (v *served) full() bool { return len(v.calls) > maxReplies || v.bytes > maxReplyMemory }

func (v *served) forget(id uint64) {
	if r := v.calls[id]; r != nil {
		v.bytes -= len(r.Body)
	}
	delete(v.calls, id)
}

// reset forgets all: another worker counts from 1.
func (v *served) reset() {
	v.mu.Lock()
	v.calls, v.order, v.bytes = nil, nil, 0
	v.mu.Unlock()
}
