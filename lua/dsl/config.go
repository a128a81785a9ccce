package dsl

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/modules/spec"
)

var configKeys = map[string]func(c *Config, v lua.LValue) error{
	"timeout":            func(c *Config, v lua.LValue) (err error) { c.Timeout, err = readDuration(v); return err },
	"max_parallel_tasks": func(c *Config, v lua.LValue) (err error) { c.MaxParallelTasks, err = readCount(v); return err },
	"environment":        func(c *Config, v lua.LValue) (err error) { c.Environment, err = readText(v, 0); return err },
	"retry_policy":       readRetryPolicy,
	"fail_fast": func(c *Config, v lua.LValue) (err error) {
		c.FailFast, err = readFlag([]lua.LValue{v})
		return err
	},
	"hosts": func(c *Config, v lua.LValue) error {
		t, err := readTarget([]lua.LValue{v})
		if err == nil && (t.Func != nil || t.Group != "") {
			err = fmt.Errorf("needs a pattern or a list of them, not %s", describe(v))
		}
		c.Hosts = t.Pattern
		return err
	},
	"serial": func(c *Config, v lua.LValue) (err error) { c.Serial, err = readSerial(v); return err },
	"max_fail": func(c *Config, v lua.LValue) error {
		// None may fail: that is a limit too.
		if n, ok := v.(lua.LNumber); ok && n == 0 {
			c.MaxFail = "0"
			return nil
		}
		text, err := readPortion(v)
		c.MaxFail = text
		return err
	},
	"strategy": func(c *Config, v lua.LValue) error {
		switch text := lua.LVAsString(v); text {
		case "free", "linear":
			c.Strategy = text
			return nil
		default:
			return fmt.Errorf(`needs "free" or "linear", not %s`, describe(v))
		}
	},
}

// ConfigKeys names the keys of a workflow's config, sorted.
func ConfigKeys() []string {
	var names []string
	for k := range configKeys {
		names = append(names, k)
	}
	sort.Strings(names)
	return names
}

func setConfig(s *setter, f *flow) error {
	t, ok := s.arg(0).(*lua.LTable)
	if !ok {
		if s.arg(0) == lua.LNil {
			return errNil{0}
		}
		return fmt.Errorf("needs a table, not %s", describe(s.arg(0)))
	}
	return readConfig(t, &f.Config)
}

// readConfig reads all keys it can, and returns what is wrong with the others.
func readConfig(t *lua.LTable, c *Config) error {
	var bad []string
	known := ConfigKeys()
	for _, key := range known {
		v := t.RawGetString(key)
		if v == lua.LNil {
			continue
		}
		if err := configKeys[key](c, v); err != nil {
			bad = append(bad, key+" "+err.Error())
		}
	}
	t.ForEach(func(k, v lua.LValue) {
		key, isText := k.(lua.LString)
		if !isText {
			bad = append(bad, fmt.Sprintf("%s is no name", describe(k)))
			return
		}
		if contains(known, string(key)) {
			return
		}
		if near := spec.Nearest(string(key), known); near != "" {
			bad = append(bad, fmt.Sprintf("unknown key %q; did you mean %q?", string(key), near))
			return
		}
		data, err := bind.ToGo(v)
		if err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", key, err))
			return
		}
		if c.Extra == nil {
			c.Extra = map[string]any{}
		}
		c.Extra[string(key)] = data
	})
	if len(bad) > 0 {
		sort.Strings(bad)
		return errors.New(strings.Join(bad, "; "))
	}
	return nil
}

// readRetryPolicy takes a number of retries, a strategy, or a table of both.
func readRetryPolicy(c *Config, v lua.LValue) (err error) {
	c.Backoff = "fixed"
	switch v := v.(type) {
	case lua.LNumber:
		c.Retries, err = readCount(v)
	case lua.LString:
		c.Backoff, err = readStrategy(v)
		c.Retries = 3
	case *lua.LTable:
		keys := []string{"retries", "max_retries", "attempts", "max_attempts", "strategy", "backoff"}
		eachSorted(v, func(k, item lua.LValue) {
			if err != nil {
				return
			}
			switch k.String() {
			case "retries", "max_retries":
				c.Retries, err = readCount(item)
			case "attempts", "max_attempts":
				var n int
				if n, err = readCount(item); err == nil && n > 0 {
					c.Retries = n - 1
				}
			case "strategy", "backoff":
				c.Backoff, err = readStrategy(item)
			default:
				err = fmt.Errorf("has no key %s%s", describe(k), hint(k.String(), keys))
				return
			}
			if err != nil {
				err = fmt.Errorf("%s %w", k.String(), err)
			}
		})
	default:
		err = fmt.Errorf("needs a number of retries, a strategy or a table, not %s", describe(v))
	}
	return err
}
