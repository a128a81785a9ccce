package template

import (
	"encoding/json"
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
