package values

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"
)

// giveBack limits the way back of a lock.
const giveBack = 10 * time.Second

// WithLock runs fn while nobody else holds the lock, and waits for it up to
// wait. The lock is renewed; should it be lost all the same, fn's context is
// cancelled before the lease ends, with a LostError as its cause, which is then
// the error of WithLock.
func (v *Values) WithLock(ctx context.Context, name string, wait time.Duration, fn func(context.Context) error) error {
	lease := v.lease
	if lease == 0 {
		lease = Lease
	}
	token := rand.Text()
	if _, err := v.Do(ctx, "lock", []any{name, wait.Seconds(), token, lease.Seconds()}); err != nil {
		return err
	}
	// Waiting is not part of the lease: begin it anew.
	taken := time.Now()
	if ok, err := v.Renew(ctx, name, token, lease); err != nil || !ok {
		return errors.Join(&LostError{name}, err)
	}
	inside, cancel := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { v.hold(inside, cancel, name, token, lease, taken.Add(lease)) })
	err := fn(inside)
	cause := context.Cause(inside) // a loss after the end of fn does not count
	cancel(nil)
	renewing.Wait()
	var lost *LostError
	if errors.As(cause, &lost) {
		if err != nil && !errors.Is(err, context.Canceled) {
			return errors.Join(lost, err)
		}
		return lost
	}
	after, done := context.WithTimeout(context.WithoutCancel(ctx), giveBack)
	defer done()
	if _, bad := v.release(after, &arguments{}, name, token); bad != nil && err == nil {
		err = fmt.Errorf("give back the lock %q: %w; it ends by itself after %s", name, bad, lease)
	}
	return err
}

// hold renews the lock until ctx is done. It cancels ctx when the lock is lost,
// or was not renewed a while before its end.
func (v *Values) hold(ctx context.Context, cancel context.CancelCauseFunc, name, token string, lease time.Duration, end time.Time) {
	next := lease / 3
	for {
		if pause(ctx, next) != nil {
			return
		}
		last, stop := context.WithDeadline(ctx, end.Add(-lease/6))
		asked := time.Now()
		held, err := v.Renew(last, name, token, lease)
		tooLate := last.Err() != nil
		stop()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && held:
			end, next = asked.Add(lease), lease/3
		case err == nil || tooLate:
			cancel(&LostError{name})
			return
		default:
			next = min(time.Second, lease/10)
		}
	}
}
