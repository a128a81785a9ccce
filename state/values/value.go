package values

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/state"
)

// MaxKey is the length of a key or lock name in bytes. Values are limited by
// state.MaxValue in their encoded form.
const MaxKey = 512

// maxNesting is how deep tables in a value may nest.
const maxNesting = 128

// normal brings a value into the one form it is kept in: int64 for every whole
// number up to 2^53, float64 for others, an empty table as an empty list.
func normal(v any, path string, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("%s is nested deeper than %d tables", path, maxNesting)
	}
	switch t := v.(type) {
	case nil, bool, string:
		return v, nil
	case []byte:
		return string(t), nil
	case []any:
		out := make([]any, len(t))
		for i, item := range t {
			var err error
			if out[i], err = normal(item, fmt.Sprintf("%s[%d]", path, i+1), depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		if len(t) == 0 {
			return []any{}, nil
		}
		out := make(map[string]any, len(t))
		for k, item := range t {
			var err error
			if out[k], err = normal(item, path+"."+k, depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[any]any:
		return normalMixed(t, path, depth)
	}
	r := reflect.ValueOf(v)
	switch {
	case r.CanInt():
		return wholeOr(float64(r.Int()), r.Int()), nil
	case r.CanUint():
		if u := r.Uint(); u <= math.MaxInt64 {
			return wholeOr(float64(u), int64(u)), nil
		}
		return float64(r.Uint()), nil
	case r.CanFloat():
		f := r.Float()
		if math.IsNaN(f) {
			return nil, fmt.Errorf("%s is not a number (NaN)", path)
		}
		if f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
			return int64(f), nil
		}
		return f, nil
	}
	if _, secret := v.(interface{ Reveal() string }); secret {
		return nil, fmt.Errorf("%s is a secret, and state keeps everything in plain text; keep it with sloth secret set, and read it with secret(NAME)", path)
	}
	return nil, fmt.Errorf("%s is a %s; state keeps text, numbers, booleans and tables of those", path, kind(v))
}

// wholeOr keeps what Lua's numbers can hold exactly as a whole number.
func wholeOr(f float64, n int64) any {
	if math.Abs(f) <= 1<<53 {
		return n
	}
	return f
}

func normalMixed(t map[any]any, path string, depth int) (any, error) {
	if len(t) == 0 {
		return []any{}, nil
	}
	out := make(map[any]any, len(t))
	for k, item := range t {
		key, err := normal(k, path+"'s key", depth)
		if err != nil {
			return nil, err
		}
		switch key.(type) {
		case string, bool, int64, float64:
		default:
			return nil, fmt.Errorf("%s has a %s as a key", path, kind(key))
		}
		if out[key], err = normal(item, fmt.Sprintf("%s.%v", path, key), depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// kind names the type of v as Lua people know it.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "nil"
	case bool:
		return "boolean"
	case string:
		return "text"
	case int64, float64:
		return "number"
	case []any, map[string]any, map[any]any:
		return "table"
	case interface{ Reveal() string }:
		return "secret"
	}
	if reflect.ValueOf(v).Kind() == reflect.Func {
		return "function"
	}
	return fmt.Sprintf("%T", v)
}

// aKind is kind with its article.
func aKind(v any) string {
	switch k := kind(v); k {
	case "nil", "text":
		return k
	default:
		return "a " + k
	}
}

func encode(key string, v any) ([]byte, error) {
	data, err := packed.Marshal(v)
	if err == nil && len(data) > state.MaxValue {
		err = &state.SizeError{What: "value", Key: short(key), Size: len(data), Limit: state.MaxValue}
	}
	return data, err
}

func decode(e state.Entry, key string) (any, error) {
	var v any
	if err := packed.Unmarshal(e.Value, &v); err != nil {
		return nil, fmt.Errorf("the stored value of %q cannot be read: %w", short(key), err)
	}
	return normal(v, "value", 0)
}

func short(key string) string {
	if len(key) > 60 {
		return key[:60] + "…"
	}
	return key
}

func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the %s is empty", what)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("the %s %q holds a zero byte", what, short(name))
	case len(name) > MaxKey:
		return fmt.Errorf("the %s %q has %d bytes, which is over the limit of %d", what, short(name), len(name), MaxKey)
	}
	return nil
}

// arguments reads the arguments of one operation. They may be a stranger's.
type arguments struct {
	op   string
	list []any
	err  error
	call string // the name of a call that is made once; empty: any other
}

func (a *arguments) at(i int) any {
	if i < len(a.list) {
		return a.list[i]
	}
	return nil
}

func (a *arguments) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

func (a *arguments) name(i int, what string) string {
	s, ok := a.at(i).(string)
	if !ok {
		a.fail(fmt.Errorf("the %s must be text, not %s", what, kind(a.at(i))))
		return ""
	}
	if err := checkName(what, s); err != nil {
		a.fail(err)
	}
	return s
}

func (a *arguments) text(i int, what, otherwise string) string {
	if a.at(i) == nil {
		return otherwise
	}
	s, ok := a.at(i).(string)
	if !ok {
		a.fail(fmt.Errorf("the %s must be text, not %s", what, kind(a.at(i))))
	}
	if len(s) > MaxKey {
		a.fail(fmt.Errorf("the %s has %d bytes, which is over the limit of %d", what, len(s), MaxKey))
	}
	return s
}

func (a *arguments) value(i int) any {
	v, err := normal(a.at(i), "the value", 0)
	if err != nil {
		a.fail(err)
	}
	return v
}

func (a *arguments) number(i int, what string, otherwise any) any {
	if a.at(i) == nil {
		return otherwise
	}
	v, err := normal(a.at(i), "the "+what, 0)
	if err != nil {
		a.fail(err)
		return otherwise
	}
	switch v.(type) {
	case int64, float64:
		return v
	}
	a.fail(fmt.Errorf("the %s must be a number, not %s", what, kind(v)))
	return otherwise
}

// maxSeconds keeps times within what a time.Duration holds.
const maxSeconds = 1e9

var errSeconds = errors.New("a time is from 0 to 1000000000 seconds")

func (a *arguments) seconds(i int, what string, otherwise float64) float64 {
	f := 0.0
	switch n := a.number(i, what, otherwise).(type) {
	case int64:
		f = float64(n)
	case float64:
		f = n
	}
	if f < 0 || f > maxSeconds {
		a.fail(fmt.Errorf("the %s: %w", what, errSeconds))
		return otherwise
	}
	return f
}
