package dsl

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// What the methods of builders accept, read from Lua values. The errors speak
// of the value alone; the caller adds method and place.

// errNil is the error of an argument that is nil where none is allowed.
type errNil struct{ arg int }

func (e errNil) Error() string { return "got nil: " + vague }

func describe(v lua.LValue) string {
	switch v := v.(type) {
	case *lua.LNilType:
		return "nil"
	case lua.LBool:
		return v.String()
	case lua.LNumber:
		return "the number " + v.String()
	case lua.LString:
		if len(v) > 40 {
			return "text"
		}
		return strconv.Quote(string(v))
	case *lua.LUserData:
		switch v.Value.(type) {
		case *Task:
			return "a task"
		case *flow:
			return "a workflow"
		}
	}
	return "a " + v.Type().String()
}

func readText(v lua.LValue, arg int) (string, error) {
	switch v := v.(type) {
	case lua.LString:
		return string(v), nil
	case lua.LNumber:
		return v.String(), nil
	case *lua.LNilType:
		return "", errNil{arg}
	}
	return "", fmt.Errorf("needs text, not %s", describe(v))
}

func readName(v lua.LValue, arg int) (string, error) {
	s, ok := v.(lua.LString)
	switch {
	case v == lua.LNil:
		return "", errNil{arg}
	case !ok:
		return "", fmt.Errorf("needs a name, not %s", describe(v))
	case strings.TrimSpace(string(s)) == "":
		return "", errors.New("needs a name, not an empty text")
	case strings.ContainsAny(string(s), "\x00\n\r"):
		return "", errors.New("needs a name of one line")
	}
	return string(s), nil
}

// readTexts takes texts and lists of texts, in any mixture.
func readTexts(args []lua.LValue) ([]string, error) {
	if len(args) == 0 {
		return nil, errNil{0}
	}
	var out []string
	for i, v := range args {
		t, ok := v.(*lua.LTable)
		if !ok {
			s, err := readText(v, i)
			if err != nil {
				if _, isNil := v.(*lua.LNilType); isNil {
					return nil, err
				}
				return nil, fmt.Errorf("needs text or a list of texts, not %s", describe(v))
			}
			out = append(out, s)
			continue
		}
		list, err := listOf(t)
		if err != nil {
			return nil, err
		}
		for j, item := range list {
			s, err := readText(item, 0)
			if err != nil {
				return nil, fmt.Errorf("item %d is %s, not text", j+1, describe(item))
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// eachSorted goes through a table in an order that depends on its keys alone, so
// that messages do.
func eachSorted(t *lua.LTable, f func(k, v lua.LValue)) {
	var keys []lua.LValue
	t.ForEach(func(k, _ lua.LValue) { keys = append(keys, k) })
	sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
	for _, k := range keys {
		f(k, t.RawGet(k))
	}
}

// listOf is a table's items 1..n; a hole or a named key is an error.
func listOf(t *lua.LTable) ([]lua.LValue, error) {
	n := t.MaxN()
	var named []string
	t.ForEach(func(k, _ lua.LValue) {
		if i, ok := k.(lua.LNumber); !ok || i < 1 || float64(i) != math.Trunc(float64(i)) {
			named = append(named, k.String())
		} else if int(i) > n {
			n = int(i)
		}
	})
	if len(named) > 0 {
		sort.Strings(named)
		return nil, fmt.Errorf("needs a list, and %q is a named key", named[0])
	}
	if n > t.Len()+1000 {
		return nil, errors.New("needs a list without holes")
	}
	out := make([]lua.LValue, n)
	for i := range out {
		if out[i] = t.RawGetInt(i + 1); out[i] == lua.LNil {
			return nil, fmt.Errorf("item %d is nil: %s", i+1, vague)
		}
	}
	return out, nil
}

const durationHint = `write seconds, or text such as "90s", "5m", "1h30m"`

// readDuration takes seconds, "90", "5m" or "1h30m".
func readDuration(v lua.LValue) (time.Duration, error) {
	var seconds float64
	switch v := v.(type) {
	case *lua.LNilType:
		return 0, errNil{0}
	case lua.LNumber:
		seconds = float64(v)
	case lua.LString:
		n, err := strconv.ParseFloat(strings.TrimSpace(string(v)), 64)
		if err != nil {
			d, err := time.ParseDuration(strings.TrimSpace(string(v)))
			if err != nil || d < 0 {
				return 0, fmt.Errorf("%s is no duration; %s", describe(v), durationHint)
			}
			return d, nil
		}
		seconds = n
	default:
		return 0, fmt.Errorf("needs a duration, not %s; %s", describe(v), durationHint)
	}
	if math.IsNaN(seconds) || seconds < 0 || seconds > 1e9 {
		return 0, fmt.Errorf("%s is no duration; %s", describe(v), durationHint)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

func readCount(v lua.LValue) (int, error) {
	n, ok := v.(lua.LNumber)
	if s, isText := v.(lua.LString); isText {
		f, err := strconv.ParseFloat(string(s), 64)
		n, ok = lua.LNumber(f), err == nil
	}
	if v == lua.LNil {
		return 0, errNil{0}
	}
	if !ok || float64(n) != math.Trunc(float64(n)) || n < 0 || n > 1e6 {
		return 0, fmt.Errorf("needs a whole number, not %s", describe(v))
	}
	return int(n), nil
}

// readFlag is true without an argument.
func readFlag(args []lua.LValue) (bool, error) {
	if len(args) == 0 {
		return true, nil
	}
	switch v := args[0].(type) {
	case lua.LBool:
		return bool(v), nil
	case *lua.LNilType:
		return false, errNil{0}
	}
	return false, fmt.Errorf("needs true or false, not %s", describe(args[0]))
}

// strategies are the ways in which the wait between attempts grows.
var strategies = []string{"fixed", "linear", "exponential"}

func readStrategy(v lua.LValue) (string, error) {
	s, ok := v.(lua.LString)
	if !ok {
		return "", fmt.Errorf("needs a strategy (%s), not %s", strings.Join(strategies, ", "), describe(v))
	}
	for _, known := range strategies {
		if string(s) == known {
			return known, nil
		}
	}
	if s == "constant" {
		return "fixed", nil
	}
	return "", fmt.Errorf("there is no strategy %q%s", string(s), hint(string(s), strategies))
}

// readSerial takes a number of hosts, "25%", or a list of those.
func readSerial(v lua.LValue) ([]string, error) {
	items := []lua.LValue{v}
	if t, ok := v.(*lua.LTable); ok {
		var err error
		if items, err = listOf(t); err != nil {
			return nil, err
		}
	}
	var out []string
	for _, item := range items {
		s, err := readPortion(item)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, errors.New("needs a number of hosts or a part such as \"25%\", not an empty list")
	}
	return out, nil
}

// readPortion is a number of hosts from 1, or a part of them such as "25%".
func readPortion(v lua.LValue) (string, error) {
	text, err := readText(v, 0)
	if err != nil {
		if v == lua.LNil {
			return "", err
		}
		return "", fmt.Errorf("needs a number of hosts or a part such as \"25%%\", not %s", describe(v))
	}
	number, part := strings.CutSuffix(strings.TrimSpace(text), "%")
	n, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil, n <= 0, math.IsInf(n, 0), !part && n != math.Trunc(n), part && n > 100:
		return "", fmt.Errorf("needs a number of hosts or a part such as \"25%%\", not %s", describe(v))
	}
	return strings.TrimSpace(text), nil
}

func readFunction(v lua.LValue) (*lua.LFunction, error) {
	switch v := v.(type) {
	case *lua.LFunction:
		return v, nil
	case *lua.LNilType:
		return nil, errNil{0}
	}
	return nil, fmt.Errorf("needs a function, not %s", describe(v))
}

// readEnv takes a table of variables.
func readEnv(v lua.LValue) (map[string]string, error) {
	t, ok := v.(*lua.LTable)
	if !ok {
		if v == lua.LNil {
			return nil, errNil{0}
		}
		return nil, fmt.Errorf("needs a table of variables, not %s", describe(v))
	}
	out := map[string]string{}
	var err error
	eachSorted(t, func(k, v lua.LValue) {
		name, isText := k.(lua.LString)
		switch {
		case err != nil:
		case !isText || name == "" || strings.ContainsAny(string(name), "=\x00"):
			err = fmt.Errorf("%s is no name of a variable", describe(k))
		default:
			switch v.(type) {
			case lua.LString, lua.LNumber, lua.LBool:
				if strings.ContainsRune(v.String(), 0) {
					err = fmt.Errorf("%s holds a zero byte", name)
				}
				out[string(name)] = v.String()
			default:
				err = fmt.Errorf("%s is %s, not text", name, describe(v))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
