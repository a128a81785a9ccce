package runner

import (
	"sync"

	"github.com/sloth-runner/sloth/runner/event"
)

// outcome is what the run as a whole comes to.
type outcome struct {
	mu          sync.Mutex
	failed      bool
	timeout     bool
	unreachable bool
	unknown     bool
	locked      bool
	cancelled   bool
	maxFail     bool
	interrupted bool
}

// lock counts a failure that was somebody else's lock.
func (o *outcome) lock() { o.mu.Lock(); o.locked = true; o.mu.Unlock() }

// fail counts a status that was not ignored.
func (o *outcome) fail(s event.Status) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch s {
	case event.Failed, event.Timeout:
		o.failed = true
		o.timeout = o.timeout || s == event.Timeout
	case event.Unreachable:
		o.unreachable = true
	case event.Unknown:
		o.unknown = true
	case event.Cancelled:
		o.cancelled = true // the reason for cancelling counts, where there is one
	default: // a host made it up
		o.unknown = true
	}
}

func (o *outcome) tooMany() { o.mu.Lock(); o.maxFail = true; o.mu.Unlock() }

func (o *outcome) interrupt() { o.mu.Lock(); o.interrupted = true; o.mu.Unlock() }

func (o *outcome) ok() bool { s, _ := o.verdict(); return s == event.Success }

// verdict picks the worst: what people must look at first.
func (o *outcome) verdict() (event.Status, int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.interrupted:
		return event.Cancelled, 130
	case o.unknown:
		return event.Unknown, 7
	case o.maxFail:
		return event.Failed, 5
	case o.failed && o.timeout:
		return event.Timeout, 2
	case o.failed:
		return event.Failed, 2
	case o.unreachable:
		return event.Unreachable, 4
	case o.locked:
		return event.Failed, 6
	case o.cancelled:
		return event.Cancelled, 2
	}
	return event.Success, 0
}
