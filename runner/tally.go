package runner

import "sync"

// tally counts over all graphs of a run: which hosts failed, and why nothing
// new may start.
type tally struct {
	mu      sync.Mutex
	stopped string
	failed  map[string]bool
}

func newTally() *tally { return &tally{failed: map[string]bool{}} }

// stop notes why the run stops; only the first reason counts.
func (t *tally) stop(why string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped != "" {
		return false
	}
	t.stopped = why
	return true
}

// why is empty while all is well.
func (t *tally) why() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopped
}

// fail notes host and returns how many hosts have failed.
func (t *tally) fail(host string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed[host] = true
	return len(t.failed)
}

func (t *tally) failedOn(host string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed[host]
}

// all reports whether every one of hosts failed.
func (t *tally) all(hosts []string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range hosts {
		if !t.failed[h] {
			return false
		}
	}
	return len(hosts) > 0
}
