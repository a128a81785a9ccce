package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/state/badger"
	"github.com/sloth-runner/sloth/state/values"
)

// stateAccess opens the store when a script first uses it, and never before.
type stateAccess struct {
	app   *app
	dir   string // of the script
	flags *runFlags
	what  string
	check bool // writes go to a layer that is thrown away

	once  sync.Once
	err   error
	store *badger.Store
	vals  *values.Values
}

// lockPatience is how long a person waits for another process's state.
const lockPatience = 30 * time.Second

func (s *stateAccess) open() {
	home, err := stateHome()
	if err != nil {
		s.err = err
		return
	}
	wait := s.flags.waitLock
	if wait == 0 && s.app.canAsk() {
		wait = lockPatience
	}
	s.store = badger.New(badger.Options{
		Dir: filepath.Join(home, "db"), What: s.what, WaitLock: wait,
		Notice: func(m string) { fmt.Fprintln(s.app.stderr, "sloth:", m) },
	})
	stack := s.flags.stack
	if stack == "" {
		stack = "default@" + s.dir
	}
	s.vals = values.New(s.store, stack)
	s.vals.Who = fmt.Sprintf("%s, pid %d, %s", s.what, os.Getpid(), me())
	if s.check {
		s.vals = values.Plan(s.vals)
	}
}

// do performs one operation of the state module.
func (s *stateAccess) do(ctx context.Context, op string, args []any) ([]any, error) {
	s.once.Do(s.open)
	if s.err != nil {
		return nil, s.err
	}
	return s.vals.Do(ctx, op, args)
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
	if err := s.store.Close(); err != nil {
		fmt.Fprintln(s.app.stderr, "sloth: close the state:", err)
	}
}
