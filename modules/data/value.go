package data

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/sloth-runner/sloth/modules"
)

// plainer turns what Lua gave into what the writers know: nil, bool, int64,
// float64, string, []any and map[string]any.
type plainer struct {
	secret bool // a secret was among it
}

func (p *plainer) value(v any, path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s is nested deeper than %d levels", cmp.Or(path, "the value"), maxDepth)
	}
	switch v := v.(type) {
	case nil, bool, int64, string:
		return v, nil
	case int:
		return int64(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%s is %v, which cannot be written", cmp.Or(path, "the value"), v)
		}
		return v, nil
	case modules.Secret:
		p.secret = true
		return v.Reveal(), nil
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			item, err := p.value(e, path+"["+strconv.Itoa(i+1)+"]", depth+1)
			if err != nil {
				return nil, err
			}
			out[i] = item
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			item, err := p.value(e, join(path, k), depth+1)
			if err != nil {
				return nil, err
			}
			out[k] = item
		}
		return out, nil
	case map[any]any:
		if list, ok := holed(v); ok {
			return p.value(list, path, depth)
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			key := fmt.Sprint(k)
			if _, twice := out[key]; twice {
				return nil, fmt.Errorf("%s has the key %s as text and as a number", cmp.Or(path, "the table"), key)
			}
			item, err := p.value(e, join(path, key), depth+1)
			if err != nil {
				return nil, err
			}
			out[key] = item
		}
		return out, nil
	case modules.Callback:
		return nil, fmt.Errorf("%s is a function, which cannot be written", cmp.Or(path, "the value"))
	}
	return nil, fmt.Errorf("%s is a %T, which cannot be written", cmp.Or(path, "the value"), v)
}

// holed makes a list of a table with the keys 1..n of which some are missing:
// those were null.
func holed(m map[any]any) ([]any, bool) {
	top := int64(0)
	for k := range m {
		i, ok := k.(int64)
		if !ok || i < 1 || i > int64(4*len(m)+16) {
			return nil, false
		}
		top = max(top, i)
	}
	list := make([]any, top)
	for k, v := range m {
		list[k.(int64)-1] = v
	}
	return list, true
}

// write makes text of a value; text that holds a secret is one.
func write(v any, to func(any) (string, error)) ([]any, error) {
	var p plainer
	plain, err := p.value(v, "", 0)
	if err != nil {
		return nil, err
	}
	text, err := to(plain)
	if err != nil {
		return nil, err
	}
	if p.secret {
		return []any{modules.NewSecret(text)}, nil
	}
	return []any{text}, nil
}

// read makes a value of text; what comes out of a secret are secrets.
func read(ctx context.Context, t modules.Text, from func(string) (any, error)) ([]any, error) {
	text := t.Reveal()
	if len(text) > maxText {
		return nil, fmt.Errorf("the text is larger than %d MiB", maxText>>20)
	}
	v, err := from(text)
	if err != nil {
		return nil, err
	}
	if t.IsSecret() {
		v = Hide(ctx, v)
	}
	return []any{v}, nil
}

// minHidden is the size of the shortest part of a secret that is hidden by
// itself, in bytes.
const minHidden = 4

// Hide makes secrets of all texts and numbers in a value.
func Hide(ctx context.Context, v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = Hide(ctx, e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = Hide(ctx, e)
		}
		return out
	}
	// Short ones and numbers are part of too much else to be looked for.
	if text, ok := v.(string); ok && len(text) >= minHidden {
		return modules.MakeSecret(ctx, text)
	}
	return modules.NewSecret(fmt.Sprint(v))
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func keys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// whole is a number as Lua and JSON both mean it: int64 where it has no
// fraction and every digit is kept, else float64.
func whole(f float64) any {
	if f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
		return int64(f)
	}
	return f
}
