package etcd

import (
	"context"
	"math/bits"
	"sync"
	"time"

	client "go.etcd.io/etcd/client/v3"
)

// leases are what lets entries expire. The cluster counts whole seconds, from
// two on, so there are two kinds:
//
// Whole seconds up to ownUpTo, as locks have them, get a lease of their own,
// and the cluster alone decides when it ends: clocks of controllers that
// differ never hand a lock out twice.
//
// All others carry their time of expiry, which whoever reads them obeys; their
// lease ends later and cleans up. Entries of a similar length share one.
type leases struct {
	mu     sync.Mutex
	shared map[int]shared // by the length of life in seconds, as a power of two
}

type shared struct {
	id   client.LeaseID
	ends time.Time
}

const (
	ownFrom = 2 * time.Second
	ownUpTo = 2 * time.Minute
)

// lease returns the lease of an entry that lives for ttl, and how it expires.
func (s *Store) lease(ctx context.Context, c *client.Client, ttl time.Duration) (id client.LeaseID, how byte, err error) {
	if ttl == 0 {
		return client.NoLease, never, nil
	}
	if ttl%time.Second == 0 && ttl >= ownFrom && ttl <= ownUpTo {
		r, err := c.Grant(ctx, int64(ttl/time.Second))
		if err != nil {
			return 0, 0, err
		}
		if r.TTL == int64(ttl/time.Second) {
			return r.ID, byLease, nil
		}
		return r.ID, byClock, nil // a cluster with slow elections makes it longer
	}
	l := &s.leases
	class := bits.Len64(uint64(ttl / time.Second))
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if have := l.shared[class]; have.ends.Sub(now) > ttl {
		return have.id, byClock, nil
	}
	seconds := int64(1)<<class + int64(1)<<class/4 + 2
	r, err := c.Grant(ctx, seconds)
	if err != nil {
		return 0, 0, err
	}
	l.shared[class] = shared{r.ID, now.Add(time.Duration(r.TTL) * time.Second)}
	return r.ID, byClock, nil
}

// forget drops shared leases, one of which turned out to be gone.
func (l *leases) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.shared)
}
