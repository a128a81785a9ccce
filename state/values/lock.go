package values

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/sloth-runner/sloth/state"
)

const (
	// Lease is how long a lock lives after it was taken or renewed last.
	Lease = 30 * time.Second
	// RenewEvery is how often whoever holds a lock renews it.
	RenewEvery = Lease / 3
	// DefaultWait is how long lock waits when it is not told.
	DefaultWait = 5 * time.Minute

	lockPollFirst = 20 * time.Millisecond
	lockPollLast  = 400 * time.Millisecond
)

// LockedError says that a lock was not to be had in time.
type LockedError struct {
	Name   string
	Who    string // who holds it, as they say
	Since  time.Time
	Waited time.Duration
}

func (e *LockedError) Error() string {
	by := ""
	if e.Who != "" {
		by = " by " + e.Who
	}
	return fmt.Sprintf("the lock %q is held%s since %s; gave up after %s", e.Name, by, e.Since.Format(time.TimeOnly), e.Waited.Round(time.Millisecond))
}

// A lock is an entry with a time to live: {token, who, since}. A token given
// by the caller makes taking it again harmless, so that a call may be repeated.

// take takes a lock if it is free or already held with this token.
func (v *Values) take(ctx context.Context, name, token string, lease time.Duration) (bool, map[string]any, error) {
	for {
		e, err := v.store.Get(ctx, v.locks+name)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return false, nil, err
		}
		record := map[string]any{"token": token, "who": v.Who, "since": time.Now().UnixMilli()}
		if err == nil {
			is, err := decode(e, name)
			if err != nil {
				return false, nil, err
			}
			held, _ := is.(map[string]any)
			if held["token"] != token {
				return false, held, nil
			}
			record = held
		}
		data, err := encode(name, record)
		if err != nil {
			return false, nil, err
		}
		_, err = v.store.Put(ctx, v.locks+name, data, lease, e.Revision)
		// Where the outcome is not known, the token that is there next tells it.
		if !errors.Is(err, state.ErrConflict) && !errors.Is(err, state.ErrUnknown) {
			return err == nil, record, err
		}
	}
}

// request is what lock and try_lock were asked for.
type request struct {
	name, token string
	lease       time.Duration
	ours        bool // the token is ours to keep and renew
}

func (a *arguments) request(nameAt, tokenAt, leaseAt int) request {
	r := request{name: a.name(nameAt, "name"), token: a.text(tokenAt, "token", ""), lease: ttl(a.seconds(leaseAt, "lease", Lease.Seconds()))}
	if r.token == "" {
		r.ours, r.token, r.lease = true, rand.Text(), Lease
		if a.call != "" {
			r.token = "call " + a.call // a repeated call holds the same lock
		}
	}
	if r.lease == 0 {
		r.lease = Lease
	}
	return r
}

// tryLock takes name, token, lease.
func (v *Values) tryLock(ctx context.Context, a *arguments) ([]any, error) {
	r := a.request(0, 1, 2)
	if a.err != nil {
		return nil, a.err
	}
	got, _, err := v.take(ctx, r.name, r.token, r.lease)
	if got && r.ours {
		v.keep(ctx, r.name, r.token)
	}
	return []any{got}, err
}

// lock takes name, how long to wait, token, lease. Not getting it is an error:
// a script that does not look at the answer would go on without it.
func (v *Values) lock(ctx context.Context, a *arguments) ([]any, error) {
	r, wait := a.request(0, 2, 3), ttl(a.seconds(1, "timeout", DefaultWait.Seconds()))
	if a.err != nil {
		return nil, a.err
	}
	start := time.Now()
	for poll := lockPollFirst; ; poll = min(poll*3/2, lockPollLast) {
		freed := v.whenFreed()
		got, holder, err := v.take(ctx, r.name, r.token, r.lease)
		if err != nil {
			return nil, err
		}
		if got {
			if r.ours {
				v.keep(ctx, r.name, r.token)
			}
			return []any{true}, nil
		}
		waited := time.Since(start)
		if waited >= wait {
			who, _ := holder["who"].(string)
			since, _ := holder["since"].(int64)
			return nil, &LockedError{Name: r.name, Who: who, Since: time.UnixMilli(since), Waited: waited}
		}
		if err := v.awaitFreed(ctx, freed, min(poll, wait-waited)); err != nil {
			return nil, err
		}
	}
}

func (v *Values) whenFreed() chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.freed
}

// awaitFreed waits until this process gave a lock back, or d has passed: other
// processes have no way to tell us.
func (v *Values) awaitFreed(ctx context.Context, freed chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-freed:
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// unlock takes name and token, and returns whether the lock was held so.
func (v *Values) unlock(ctx context.Context, a *arguments) ([]any, error) {
	name, token := a.name(0, "name"), a.text(1, "token", "")
	if a.err != nil {
		return nil, a.err
	}
	if token == "" {
		if token = v.heldToken(name); token == "" {
			return []any{false}, nil
		}
	}
	was, err := v.release(ctx, a, name, token)
	return []any{was}, err
}

func (v *Values) heldToken(name string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.held[name]
}

func (v *Values) release(ctx context.Context, a *arguments, name, token string) (was bool, err error) {
	for {
		var e state.Entry
		if e, was, err = v.holds(ctx, name, token); err != nil || !was {
			break
		}
		err = v.write(ctx, a, true, state.Op{Kind: state.OpDelete, Key: e.Key, If: e.Revision})
		// Where the outcome is not known, what is there next tells it.
		unknown := a.call == "" && errors.Is(err, state.ErrUnknown)
		if !errors.Is(err, state.ErrConflict) && !unknown {
			break
		}
	}
	if err == nil {
		v.forget(name, token)
		v.mu.Lock()
		close(v.freed)
		v.freed = make(chan struct{})
		v.mu.Unlock()
	}
	return was, err
}

// holds reports whether token holds the lock.
func (v *Values) holds(ctx context.Context, name, token string) (state.Entry, bool, error) {
	e, err := v.store.Get(ctx, v.locks+name)
	if errors.Is(err, state.ErrNotFound) {
		return e, false, nil
	}
	if err != nil {
		return e, false, err
	}
	is, err := decode(e, name)
	held, _ := is.(map[string]any)
	return e, held["token"] == token, err
}

// renew takes name, token, lease, and returns whether the lock is still held.
// One that was lost is not taken again: somebody else may have had it.
func (v *Values) renew(ctx context.Context, a *arguments) ([]any, error) {
	name, token, lease := a.name(0, "name"), a.name(1, "token"), ttl(a.seconds(2, "lease", Lease.Seconds()))
	if a.err != nil {
		return nil, a.err
	}
	ok, err := v.Renew(ctx, name, token, lease)
	return []any{ok}, err
}

// Renew gives a lock that is held with token another lease, and reports
// whether it was still held.
func (v *Values) Renew(ctx context.Context, name, token string, lease time.Duration) (bool, error) {
	for {
		e, was, err := v.holds(ctx, name, token)
		if err != nil || !was {
			return false, err
		}
		_, err = v.store.Put(ctx, v.locks+name, e.Value, lease, e.Revision)
		if !errors.Is(err, state.ErrConflict) && !errors.Is(err, state.ErrUnknown) {
			return err == nil, err
		}
	}
}

// keep remembers a lock taken without a token, and sees that it is renewed
// until unlock or Close. The renewing outlives the call whose ctx this is.
func (v *Values) keep(ctx context.Context, name, token string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held[name] = token
	if v.stop == nil {
		ctx, v.stop = context.WithCancel(context.WithoutCancel(ctx))
		v.renewing.Go(func() { v.renewHeld(ctx) })
	}
}

func (v *Values) renewHeld(ctx context.Context) {
	t := time.NewTicker(RenewEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			v.renewOnce(ctx)
		}
	}
}

func (v *Values) renewOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, RenewEvery)
	defer cancel()
	for name, token := range v.allHeld() {
		// What fails is tried again at the next turn; the lease outlives two.
		if ok, err := v.Renew(ctx, name, token, Lease); err == nil && !ok {
			v.forget(name, token)
		}
	}
}

func (v *Values) allHeld() map[string]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.held)
}

func (v *Values) forget(name, token string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.held[name] == token {
		delete(v.held, name)
	}
}

// Close gives back the locks that were taken without a token. The store stays
// open.
func (v *Values) Close(ctx context.Context) error {
	v.mu.Lock()
	stop := v.stop
	v.stop = nil
	v.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	v.renewing.Wait()
	var errs []error
	for name, token := range v.allHeld() {
		if _, err := v.release(ctx, &arguments{}, name, token); err != nil {
			errs = append(errs, fmt.Errorf("give back the lock %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
