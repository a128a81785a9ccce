package statemod

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

const (
	// lease is how long the controller keeps a lock that nobody renews, retry
	// how soon a renewal that failed is tried again.
	lease = 30 * time.Second
	retry = time.Second
	// giveBack limits the way back of a lock.
	giveBack = 10 * time.Second
)

type lock struct {
	safe
	Name    string        `lua:"name,required,primary" pos:"1" doc:"Name of the lock"`
	Timeout time.Duration `lua:"timeout" pos:"2" doc:"How long to wait for it, in seconds or text such as \"5m\""`
}

func (f *lock) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "lock", f.Name, f.Timeout.Seconds())
}

type tryLock struct {
	safe
	Name string `lua:"name,required,primary" pos:"1" doc:"Name of the lock"`
}

func (f *tryLock) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "try_lock", f.Name)
}

type unlock struct {
	safe
	Name string `lua:"name,required,primary" pos:"1" doc:"Name of the lock"`
}

func (f *unlock) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "unlock", f.Name)
}

type withLock struct {
	safe
	Name    string           `lua:"name,required" pos:"1" doc:"Name of the lock"`
	Fn      modules.Callback `lua:"fn,required" pos:"2" doc:"What to run; it is ended when the lock is lost"`
	Timeout time.Duration    `lua:"timeout" pos:"3" doc:"How long to wait for the lock, in seconds or text such as \"5m\""`

	// lease is shorter in tests.
	lease time.Duration
}

// Run holds the lock under a token of its own: calls of one run exclude each
// other too, and a call repeated after a cut link takes the lock only once.
func (f *withLock) Run(ctx context.Context, c modules.Call) ([]any, error) {
	if f.lease == 0 {
		f.lease = lease
	}
	token := rand.Text()
	taken := time.Now() // the lease ends no earlier than counted from here
	if _, err := ask(ctx, c, "lock", f.Name, f.Timeout.Seconds(), token, f.lease.Seconds()); err != nil {
		return nil, err
	}
	// The wait is not part of the lease: begin it anew.
	if waited := time.Since(taken); waited > f.lease/4 {
		taken = time.Now()
		if ok, err := f.renew(ctx, c, token); err != nil || !ok {
			return nil, errors.Join(lost(f.Name), err)
		}
	}
	inside, cancel := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { f.hold(inside, cancel, c, token, taken.Add(f.lease)) })
	out, err := f.Fn(inside)
	// Only a loss that came before the end of fn counts.
	cause := context.Cause(inside)
	cancel(nil)
	renewing.Wait()
	if cause != nil && ctx.Err() == nil {
		err = errors.Join(cause, without(err, inside.Err()))
	}
	after, done := context.WithTimeout(context.WithoutCancel(ctx), giveBack)
	defer done()
	if _, bad := ask(after, c, "unlock", f.Name, token); bad != nil && err == nil {
		err = fmt.Errorf("give back the lock %q: %w; it ends by itself after %s", f.Name, bad, f.lease)
	}
	return out, err
}

// without drops an error that only says that fn was ended.
func without(err, cancelled error) error {
	if errors.Is(err, cancelled) {
		return nil
	}
	return err
}

func lost(name string) error {
	return fmt.Errorf("the lock %q was lost: it was not renewed in time, and somebody else may have it now", name)
}

func (f *withLock) renew(ctx context.Context, c modules.Call, token string) (bool, error) {
	out, err := ask(ctx, c, "renew", f.Name, token, f.lease.Seconds())
	if err != nil || len(out) == 0 {
		return false, err
	}
	return out[0] == true, nil
}

// hold renews the lock until ctx is done, and cancels it when the lock is lost
// or was not renewed a while before its end.
func (f *withLock) hold(ctx context.Context, cancel context.CancelCauseFunc, c modules.Call, token string, end time.Time) {
	next := f.lease / 3
	for {
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		safety := f.lease / 6
		last, stop := context.WithDeadlineCause(ctx, end.Add(-safety), lost(f.Name))
		asked := time.Now()
		held, err := f.renew(last, c, token)
		tooLate := context.Cause(last)
		stop()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && held:
			end, next = asked.Add(f.lease), f.lease/3
		case err == nil || tooLate != nil:
			cancel(lost(f.Name))
			return
		default:
			next = min(retry, f.lease/10)
		}
	}
}
