package render

import (
	"io"
	"sync"
)

// maxQueued is how much may wait for a slow terminal before the run has to
// wait too.
const maxQueued = 8 << 20

// queue writes in its own goroutine, so that a terminal that was stopped holds
// up a run late and a slow one never.
type queue struct {
	w io.Writer

	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	busy    bool // in w.Write
	closed  bool
	err     error
	done    sync.WaitGroup
}

func newQueue(w io.Writer) *queue {
	q := &queue{w: w}
	q.changed.L = &q.mu
	q.done.Go(q.run)
	return q
}

// Write never fails: what went wrong is what close returns.
func (q *queue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.buf) > maxQueued && q.err == nil {
		q.changed.Wait()
	}
	if q.err == nil {
		q.buf = append(q.buf, p...)
		q.changed.Broadcast()
	}
	return len(p), nil
}

func (q *queue) run() {
	q.mu.Lock()
	defer q.mu.Unlock()
	var spare []byte
	for {
		for len(q.buf) == 0 && !q.closed {
			q.changed.Wait()
		}
		if len(q.buf) == 0 || q.err != nil {
			return
		}
		out := q.buf
		q.buf, q.busy = spare[:0], true
		q.mu.Unlock()
		_, err := q.w.Write(out)
		q.mu.Lock()
		if spare = out; cap(spare) > 1<<20 {
			spare = nil
		}
		q.err, q.busy = err, false
		q.changed.Broadcast()
	}
}

// drain waits until everything so far is written.
func (q *queue) drain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for (len(q.buf) > 0 || q.busy) && q.err == nil {
		q.changed.Wait()
	}
}

// close writes what is left.
func (q *queue) close() error {
	q.mu.Lock()
	q.closed = true
	q.changed.Broadcast()
	q.mu.Unlock()
	q.done.Wait()
	return q.err
}
