package master

import (
	"net"
	"sync"
	"time"
)

// rate lets so many through for each key, and then one at a time.
type rate struct {
	burst float64
	per   time.Duration // one more is allowed after this
	most  int           // keys remembered; beyond that all new ones share one

	mu   sync.Mutex
	keys map[string]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func (r *rate) allow(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil {
		r.keys = map[string]*bucket{}
	}
	b := r.keys[key]
	if b == nil {
		if len(r.keys) >= r.most {
			for k, old := range r.keys {
				if now.Sub(old.at) > time.Duration(r.burst)*r.per {
					delete(r.keys, k)
				}
			}
		}
		if len(r.keys) >= r.most {
			key = ""
			b = r.keys[key]
		}
		if b == nil {
			b = &bucket{left: r.burst, at: now}
			r.keys[key] = b
		}
	}
	b.left = min(r.burst, b.left+float64(now.Sub(b.at))/float64(r.per))
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}
