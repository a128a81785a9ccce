package engine

import (
	"slices"
	"sync"
)

// worldLock is the lock of a VM. It is given to those who wait in the order in
// which they asked, so that goroutines of a script run in the order in which
// they were started, and it can be waited for with a way out.
type worldLock struct {
	mu    sync.Mutex
	held  bool
	queue []*waiter
}

// waiter is a place in the queue.
type waiter struct {
	ready chan struct{}
	given bool
}

// ask takes the lock, or a place in the queue where it is held.
func (l *worldLock) ask() *waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held {
		l.held = true
		return nil
	}
	w := &waiter{ready: make(chan struct{})}
	l.queue = append(l.queue, w)
	return w
}

// wait waits until w has the lock, or done is closed; then the place is given up.
func (l *worldLock) wait(w *waiter, done <-chan struct{}) bool {
	if w == nil {
		return true
	}
	select {
	case <-w.ready:
		return true
	case <-done:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.given {
		l.pass()
		return false
	}
	if i := slices.Index(l.queue, w); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
	return false
}

func (l *worldLock) unlock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass()
}

// pass gives the lock to the next in the queue; l.mu is held.
func (l *worldLock) pass() {
	if len(l.queue) == 0 {
		l.held = false
		return
	}
	w := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	w.given = true
	close(w.ready)
}
