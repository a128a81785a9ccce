package template

import (
	"errors"
	"slices"
)

func within(small, large any) (bool, error) {
	a, err := items(small)
	if err != nil {
		return false, err
	}
	b, err := items(large)
	if err != nil {
		return false, err
	}
	for _, v := range a {
		if !holds(b, v) {
			return false, nil
		}
	}
	return true, nil
}

func combine(in any, args []any, kw map[string]any) (any, error) {
	out, err := dict(in)
	if err != nil {
		return nil, err
	}
	for _, a := range args {
		m, err := dict(a)
		if err != nil {
			return nil, err
		}
		out = merged(out, m, truthy(kw["recursive"]))
	}
	return out, nil
}

func merged(a, b map[string]any, deep bool) map[string]any {
	out := make(map[string]any, len(a)+len(b))
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		x, ok1 := out[k].(map[string]any)
		y, ok2 := v.(map[string]any)
		if deep && ok1 && ok2 {
			v = merged(x, y, true)
		}
		out[k] = v
	}
	return out
}

func keyNames(kw map[string]any) (string, string) {
	key, value := "key", "value"
	if k, ok := kw["key_name"].(string); ok {
		key = k
	}
	if v, ok := kw["value_name"].(string); ok {
		value = v
	}
	return key, value
}

func dictItems(in any, _ []any, kw map[string]any) (any, error) {
	m, err := dict(in)
	if err != nil {
		return nil, err
	}
	key, value := keyNames(kw)
	list := []any{}
	for _, k := range sortedKeys(m) {
		list = append(list, map[string]any{key: k, value: m[k]})
	}
	return list, nil
}

func itemsDict(in any, _ []any, kw map[string]any) (any, error) {
	list, err := items(in)
	if err != nil {
		return nil, err
	}
	key, value := keyNames(kw)
	out := make(map[string]any, len(list))
	for _, e := range list {
		m, err := dict(e)
		if err != nil {
			return nil, err
		}
		out[text(m[key])] = m[value]
	}
	return out, nil
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func flatten(in any, args []any, kw map[string]any) (any, error) {
	levels := -1
	if len(args) > 0 {
		levels = number(args[0], -1)
	}
	if v, ok := kw["levels"]; ok {
		levels = number(v, -1)
	}
	list, err := items(in)
	if err != nil {
		return nil, err
	}
	return flat([]any{}, list, levels), nil
}

func flat(out, list []any, levels int) []any {
	for _, e := range list {
		if sub, ok := e.([]any); ok && levels != 0 {
			out = flat(out, sub, levels-1)
		} else if e != nil {
			out = append(out, e)
		}
	}
	return out
}

// sets reads the two lists of a set filter.
func sets(in any, args []any) (a, b []any, err error) {
	if len(args) == 0 {
		return nil, nil, errors.New("a second list is needed")
	}
	if a, err = items(in); err != nil {
		return nil, nil, err
	}
	b, err = items(args[0])
	return a, b, err
}

func pick(from []any, keep func(any) bool) []any {
	out := []any{}
	for _, v := range from {
		if keep(v) && !holds(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func union(in any, args []any, _ map[string]any) (any, error) {
	a, b, err := sets(in, args)
	if err != nil {
		return nil, err
	}
	return pick(append(slices.Clone(a), b...), func(any) bool { return true }), nil
}

func intersect(in any, args []any, _ map[string]any) (any, error) {
	a, b, err := sets(in, args)
	if err != nil {
		return nil, err
	}
	return pick(a, func(v any) bool { return holds(b, v) }), nil
}

func difference(in any, args []any, _ map[string]any) (any, error) {
	a, b, err := sets(in, args)
	if err != nil {
		return nil, err
	}
	return pick(a, func(v any) bool { return !holds(b, v) }), nil
}
