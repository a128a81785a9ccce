package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/stack"
	"github.com/sloth-runner/sloth/state/values"
)

// stateAccess opens the store when a script first uses it, and never before.
type stateAccess struct {
	app   *app
	dir   string // of the script
	flags *runFlags
	what  string
	check bool // writes go to a layer that is thrown away
	stack string
	from  *stateAccess // whose store it is; nil: its own

	once  sync.Once
	err   error
	store state.Store
	vals  *values.Values
}

// lockPatience is how long a person waits for another process's state.
const lockPatience = 30 * time.Second

func (s *stateAccess) open() {
	if s.from != nil {
		s.from.once.Do(s.from.open)
		s.store, s.err = s.from.store, s.from.err
	} else if place, err := s.app.findState(s.dir); err != nil {
		s.err = err
	} else {
		s.store = s.app.openStore(place, s.what, s.flags.waitLock)
	}
	if s.err != nil {
		return
	}
	s.vals = values.New(s.store, s.stack)
	s.vals.Who = s.app.whoLocks(s.what)
	if s.check {
		s.vals = values.Plan(s.vals)
	}
}

// share gives another access to the same store and stack; with check its writes
// are thrown away.
func (s *stateAccess) share(check bool) *stateAccess {
	return &stateAccess{app: s.app, dir: s.dir, flags: s.flags, what: s.what, check: check, stack: s.stack, from: s}
}

// stacks are those of the store.
func (s *stateAccess) stacks() (*stack.Stacks, error) {
	s.once.Do(s.open)
	if s.err != nil {
		return nil, s.err
	}
	all := stack.New(s.store)
	all.Who = s.app.whoLocks(s.what)
	return all, nil
}

// whoLocks is what others read who wait for a lock of this process.
func (a *app) whoLocks(what string) string {
	return fmt.Sprintf("%s, pid %d, %s", what, os.Getpid(), me())
}

// do performs one operation of the state module, and one that has a name only
// once.
func (s *stateAccess) do(ctx context.Context, call, op string, args []any) ([]any, error) {
	s.once.Do(s.open)
	if s.err != nil {
		return nil, s.err
	}
	var out []any
	var err error
	if call == "" || s.check {
		out, err = s.vals.Do(ctx, op, args)
	} else {
		out, err = s.vals.DoOnce(ctx, call, op, args)
	}
	return out, hintInside(err)
}

func (s *stateAccess) close() {
	s.once.Do(func() {})
	if s.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.vals.Close(ctx); err != nil {
		fmt.Fprintln(s.app.stderr, "sloth: give back locks:", err)
	}
	if s.from != nil {
		return
	}
	if err := s.store.Close(); err != nil {
		fmt.Fprintln(s.app.stderr, "sloth: close the state:", err)
	}
}
