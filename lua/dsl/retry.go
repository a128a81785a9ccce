package dsl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
)

// attempts is what retry was told.
type attempts struct {
	times    int
	delay    time.Duration
	strategy string
}

var (
	retryOptions = []string{"delay", "strategy", "backoff"}
	retryTable   = []string{"times", "attempts", "delay", "strategy", "backoff"}
)

// retry(n, fn [, {delay=, strategy=}]), or retry({times=, delay=, backoff=}, fn),
// calls fn up to n times, until it neither raises nor returns false, and returns
// what it returned last. A plan tries once; what does not work then is told, and
// the plan goes on as if it had.
func retry(L *lua.LState) int {
	a, err := readAttempts(L)
	if err != nil {
		engine.Raise(L, fmt.Errorf("retry %w", err))
	}
	fn, err := readFunction(L.Get(2))
	if err != nil {
		engine.Raise(L, fmt.Errorf("retry %w", err))
	}
	planning := checking(engine.Context(L))
	for attempt := 1; ; attempt++ {
		rets, err := engine.Try(L, fn)
		if err == nil && !refused(rets) {
			return push(L, rets)
		}
		ctx := engine.Context(L)
		if cause := context.Cause(ctx); cause != nil {
			engine.Raise(L, cause)
		}
		why := "it returned false"
		if err != nil {
			why = err.Error()
		}
		switch {
		case planning:
			warn(ctx, "retry: not planned, for it did not work the first time: "+why)
			return push(L, []lua.LValue{plannedResult(L)})
		case attempt == a.times && err != nil:
			raiseLoad(L, err)
		case attempt == a.times:
			return push(L, rets)
		}
		wait := Backoff(a.strategy, a.delay, attempt)
		err = engine.Block(L, func(inner context.Context) error {
			warn(ctx, fmt.Sprintf("attempt %d of %d failed, next in %s: %s", attempt, a.times, wait.Round(time.Millisecond), why))
			return sleep(inner, wait)
		})
		if err != nil {
			engine.Raise(L, err)
		}
	}
}

func push(L *lua.LState, values []lua.LValue) int {
	for _, v := range values {
		L.Push(v)
	}
	return len(values)
}

func warn(ctx context.Context, message string) {
	if e := bind.EnvOf(ctx); e != nil && e.Call.Log != nil && !e.Call.NoLog {
		e.Call.Log("warn", message, nil)
	}
}

// plannedResult is what a call returns that a plan did not make.
func plannedResult(L *lua.LState) lua.LValue {
	return bind.ToLua(L, map[string]any{"success": true, "changed": false, "exit_code": int64(0), "stdout": "", "stderr": "", "planned": true})
}

func readAttempts(L *lua.LState) (attempts, error) {
	a := attempts{times: 3, delay: time.Second, strategy: "fixed"}
	if t, ok := L.Get(1).(*lua.LTable); ok {
		if L.Get(3) != lua.LNil {
			return a, errors.New("takes its options in one table: retry({times=, delay=, backoff=}, fn)")
		}
		return a, a.read(t, retryTable)
	}
	n, err := readCount(L.Get(1))
	if err != nil || n < 1 {
		return a, fmt.Errorf("needs how often to try, from 1, not %s", describe(L.Get(1)))
	}
	a.times = n
	switch o := L.Get(3).(type) {
	case *lua.LNilType:
	case *lua.LTable:
		return a, a.read(o, retryOptions)
	default:
		return a, fmt.Errorf("needs a table of options, not %s", describe(o))
	}
	return a, nil
}

// read fills a from a table that may have the given keys.
func (a *attempts) read(t *lua.LTable, keys []string) (err error) {
	given := map[string]string{}
	eachSorted(t, func(k, v lua.LValue) {
		if err != nil {
			return
		}
		key, isText := k.(lua.LString)
		if !isText || !contains(keys, string(key)) {
			err = fmt.Errorf("has no option %s%s", describe(k), hint(k.String(), keys))
			return
		}
		field := map[string]string{"attempts": "times", "backoff": "strategy"}[string(key)]
		if field == "" {
			field = string(key)
		}
		if other := given[field]; other != "" {
			err = fmt.Errorf("got both %s and %s, which are the same", other, string(key))
			return
		}
		given[field] = string(key)
		err = a.set(field, v)
	})
	return err
}

func (a *attempts) set(field string, v lua.LValue) (err error) {
	switch field {
	case "times":
		if a.times, err = readCount(v); err != nil || a.times < 1 {
			return fmt.Errorf("times must be how often to try, from 1, not %s", describe(v))
		}
		return nil
	case "delay":
		a.delay, err = readDuration(v)
	default:
		a.strategy, err = readStrategy(v)
	}
	if err != nil {
		return fmt.Errorf("%s %w", field, err)
	}
	return nil
}

// refused reports whether returns say failure: false, nil and a message, or a
// result table without success.
func refused(rets []lua.LValue) bool {
	if len(rets) == 0 {
		return false
	}
	switch v := rets[0].(type) {
	case lua.LBool:
		return !bool(v)
	case *lua.LNilType:
		return len(rets) > 1 && rets[1] != lua.LNil
	case *lua.LTable:
		return v.RawGetString("success") == lua.LFalse
	}
	return false
}

const (
	maxBackoff = 60 * time.Second
	jitterPart = 5 // up to a fifth is added
)

// Backoff is the wait after a failed attempt, counted from 1: base, or growing
// by the strategy, at most a minute, with up to a fifth of jitter on top so that
// many hosts do not come back at the same moment.
func Backoff(strategy string, base time.Duration, attempt int) time.Duration {
	d := base
	switch strategy {
	case "linear":
		d = base * time.Duration(min(attempt, 10_000))
	case "exponential":
		d = base << min(attempt-1, 20)
	}
	limit := max(maxBackoff, base)
	if d > limit || d < 0 {
		return limit
	}
	if d >= jitterPart {
		d += rand.N(d / jitterPart)
	}
	return min(d, limit)
}
