package template

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// plainMap copies vars: templates may change what they are given. Numbers become
// the kinds both engines know.
func plainMap(vars map[string]any) map[string]any {
	m := make(map[string]any, len(vars))
	for k, v := range vars {
		m[k] = plain(v)
	}
	return m
}

func plain(v any) any {
	switch v := v.(type) {
	case int64:
		return int(v)
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return int(i)
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
	case map[string]any:
		return plainMap(v)
	case map[any]any:
		m := make(map[any]any, len(v))
		for k, e := range v {
			m[plain(k)] = plain(e)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = plain(e)
		}
		return list
	}
	return v
}

// simple is the plain Go value behind v.
func simple(v *exec.Value) any {
	if v == nil || v.IsNil() {
		return nil
	}
	switch x := v.Interface().(type) {
	case string, bool, int, float64, map[string]any, []any:
		return x
	}
	return textKeys(v.ToGoSimpleType(true))
}

func text(v any) string { return exec.AsValue(v).String() }

func number(v any, otherwise int) int {
	if v == nil {
		return otherwise
	}
	return exec.AsValue(v).Integer()
}

func truth(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return slices.Contains([]string{"yes", "on", "1", "true", "y", "t"}, strings.ToLower(v))
	case int:
		return v == 1
	case float64:
		return v == 1
	}
	return false
}

func items(v any) ([]any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []any:
		return v, nil
	case string:
		return nil, fmt.Errorf("a list is needed, not the text %q", v)
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Slice && rv.Kind() != reflect.Array {
		return nil, fmt.Errorf("a list is needed, not %T", v)
	}
	list := make([]any, rv.Len())
	for i := range list {
		list[i] = rv.Index(i).Interface()
	}
	return list, nil
}

func holds(list []any, v any) bool {
	return slices.ContainsFunc(list, func(e any) bool { return exec.AsValue(e).EqualValueTo(exec.AsValue(v)) })
}

func dict(v any) (map[string]any, error) {
	switch v := v.(type) {
	case map[string]any:
		return v, nil
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[text(k)] = e
		}
		return m, nil
	}
	return nil, fmt.Errorf("a dictionary is needed, not %T", v)
}

// textKeys makes every key text, as JSON needs.
func textKeys(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[text(k)] = textKeys(e)
		}
		return m
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = textKeys(e)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = textKeys(e)
		}
		return list
	}
	return v
}

func truthy(v any) bool { return v != nil && exec.AsValue(v).IsTrue() }
