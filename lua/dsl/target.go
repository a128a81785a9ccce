package dsl

import (
	"errors"
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// readTarget takes what delegate_to takes: patterns, lists of them, a
// function, or {group=, strategy=, spread=}.
func readTarget(args []lua.LValue) (Target, error) {
	t := Target{Set: true}
	if len(args) == 0 {
		return t, errNil{0}
	}
	if len(args) == 1 {
		switch v := args[0].(type) {
		case *lua.LFunction:
			t.Func = v
			return t, nil
		case *lua.LTable:
			if v.RawGetInt(1) == lua.LNil && v.RawGetString("group") != lua.LNil {
				return readGroup(v)
			}
		}
	}
	patterns, err := readTexts(args)
	if err != nil {
		var isNil errNil
		if errors.As(err, &isNil) {
			return t, err
		}
		return t, fmt.Errorf("%w; it takes a host, group or pattern, a list of them, a function, or {group=, strategy=, spread=}", err)
	}
	for _, p := range patterns {
		if strings.TrimSpace(p) == "" {
			return t, errors.New("needs a host, group or pattern, not an empty text")
		}
	}
	if len(patterns) == 0 {
		return t, errors.New("got an empty list: name at least one host, group or pattern")
	}
	t.Pattern = strings.Join(patterns, ",")
	return t, nil
}

var groupKeys = []string{"group", "strategy", "spread"}

func readGroup(v *lua.LTable) (t Target, err error) {
	t.Set, t.Spread = true, 1
	if t.Group, err = readName(v.RawGetString("group"), 0); err != nil {
		return t, fmt.Errorf("group %w", err)
	}
	if s := v.RawGetString("strategy"); s != lua.LNil {
		if t.Strategy, err = readName(s, 0); err != nil {
			return t, fmt.Errorf("strategy %w", err)
		}
	}
	if s := v.RawGetString("spread"); s != lua.LNil {
		if t.Spread, err = readCount(s); err != nil || t.Spread == 0 {
			return t, fmt.Errorf("spread needs the number of hosts to pick, not %s", describe(s))
		}
	}
	eachSorted(v, func(k, _ lua.LValue) {
		if s, ok := k.(lua.LString); err == nil && (!ok || !contains(groupKeys, string(s))) {
			err = fmt.Errorf("has no key %s%s", describe(k), hint(k.String(), groupKeys))
		}
	})
	return t, err
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
