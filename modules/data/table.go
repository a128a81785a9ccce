package data

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

var tableFuncs = []modules.Func{
	{
		Name: "deep_merge", Aliases: []string{"merge"}, Summary: "Merge tables into a new one; a later one wins, tables in them are merged too.",
		Example: `local all = data.deep_merge({ a = { x = 1 } }, { a = { y = 2 } })`, Returns: "table",
		New: func() any { return &merge{Lists: "replace"} },
	},
	{
		Name: "flatten", Summary: "Turn nested tables into one with keys such as \"db.port\".",
		Example: `local flat = data.flatten({ db = { port = 5432 } })`, Returns: "table",
		New: func() any { return &flatten{Separator: "."} },
	},
	{
		Name: "unflatten", Summary: "Undo flatten.",
		Example: `local nested = data.unflatten({ ["db.port"] = 5432 })`, Returns: "table",
		New: func() any { return &unflatten{Separator: "."} },
	},
	{
		Name: "get_path", Summary: "Find a value deep in a table.",
		Example: `local port = data.get_path({ db = { ports = { 5432 } } }, "db.ports[1]", 0)`, Returns: "the value, or the default",
		New: func() any { return &getPath{} },
	},
	{
		Name: "set_path", Summary: "Copy a table with one value deep in it set; nil removes it.",
		Example: `local changed = data.set_path({ db = {} }, "db.port", 5432)`, Returns: "the changed copy",
		New: func() any { return &setPath{} },
	},
}

type merge struct {
	Base  any    `lua:"base,required" pos:"1" doc:"Table to begin with"`
	Over  any    `lua:"over" pos:"2" doc:"Table whose values win"`
	More  any    `lua:"more" pos:"3" doc:"One more table, which wins over both"`
	Most  any    `lua:"most" pos:"4" doc:"And one more"`
	Lists string `lua:"lists" pos:"5" enum:"replace,append" doc:"What happens where both have a list"`
}

// Query merges from left to right.
func (m *merge) Query(context.Context, facts.Viewer) ([]any, error) {
	out, err := table("base", m.Base)
	if err != nil {
		return nil, err
	}
	for i, t := range []any{m.Over, m.More, m.Most} {
		if t == nil {
			continue
		}
		over, err := table([]string{"over", "more", "most"}[i], t)
		if err != nil {
			return nil, err
		}
		out = merged(out, over, m.Lists == "append", 0)
	}
	return []any{out}, nil
}

// table is an argument that must be a table with names.
func table(name string, v any) (map[string]any, error) {
	switch v := v.(type) {
	case map[string]any:
		return v, nil
	case map[any]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[fmt.Sprint(k)] = e
		}
		return out, nil
	case []any:
		if len(v) == 0 {
			return map[string]any{}, nil
		}
		return nil, fmt.Errorf("%s must be a table with names, not a list", name)
	}
	return nil, fmt.Errorf("%s must be a table", name)
}

func merged(a, b map[string]any, appending bool, depth int) map[string]any {
	out := make(map[string]any, len(a)+len(b))
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		switch was := out[k].(type) {
		case map[string]any:
			if now, ok := v.(map[string]any); ok && depth < maxDepth {
				v = merged(was, now, appending, depth+1)
			}
		case []any:
			if now, ok := v.([]any); ok && appending {
				v = append(append([]any{}, was...), now...)
			}
		}
		out[k] = v
	}
	return out
}

type flatten struct {
	Value     any    `lua:"value,required,primary" pos:"1" doc:"Nested table"`
	Separator string `lua:"separator" alias:"sep" pos:"2" doc:"What stands between the parts of a key"`
}

// Query flattens the table; items of lists get their number as a part.
func (f *flatten) Query(context.Context, facts.Viewer) ([]any, error) {
	if f.Separator == "" {
		return nil, errors.New("separator must not be empty")
	}
	out := map[string]any{}
	var walk func(prefix string, v any, depth int) error
	walk = func(prefix string, v any, depth int) error {
		if depth > maxDepth {
			return fmt.Errorf("nested deeper than %d levels", maxDepth)
		}
		each := func(key string, v any) error {
			if prefix != "" {
				key = prefix + f.Separator + key
			}
			return walk(key, v, depth+1)
		}
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				if err := each(k, e); err != nil {
					return err
				}
			}
			if len(v) > 0 || prefix == "" {
				return nil
			}
		case map[any]any:
			for k, e := range v {
				if err := each(fmt.Sprint(k), e); err != nil {
					return err
				}
			}
			return nil
		case []any:
			for i, e := range v {
				if err := each(strconv.Itoa(i+1), e); err != nil {
					return err
				}
			}
			if len(v) > 0 || prefix == "" {
				return nil
			}
		default:
			if prefix == "" {
				return errors.New("value must be a table")
			}
		}
		out[prefix] = v
		return nil
	}
	return []any{out}, walk("", f.Value, 0)
}

type unflatten struct {
	Value     any    `lua:"value,required,primary" pos:"1" doc:"Table with keys such as \"db.port\""`
	Separator string `lua:"separator" alias:"sep" pos:"2" doc:"What stands between the parts of a key"`
}

// Query nests the table again; parts 1..n make a list.
func (u *unflatten) Query(context.Context, facts.Viewer) ([]any, error) {
	if u.Separator == "" {
		return nil, errors.New("separator must not be empty")
	}
	in, err := table("value", u.Value)
	if err != nil {
		return nil, err
	}
	root := map[string]any{}
	for _, key := range keys(in) {
		parts := strings.Split(key, u.Separator)
		if len(parts) > maxDepth {
			return nil, fmt.Errorf("%.40q has more than %d parts", key, maxDepth)
		}
		at := root
		for i, p := range parts[:len(parts)-1] {
			next, ok := at[p].(branch)
			if !ok {
				if _, taken := at[p]; taken {
					return nil, fmt.Errorf("%q is below %q, which is a value", key, strings.Join(parts[:i+1], u.Separator))
				}
				next = branch{}
				at[p] = next
			}
			at = next
		}
		last := parts[len(parts)-1]
		if _, taken := at[last].(branch); taken {
			return nil, fmt.Errorf("%q is a value, and there are others below it", key)
		}
		at[last] = in[key]
	}
	return []any{lists(branch(root))}, nil
}

// branch is a table that unflatten made, as opposed to a value of the input.
type branch map[string]any

// lists turns branches with the keys 1..n into lists.
func lists(v any) any {
	b, ok := v.(branch)
	if !ok {
		return v
	}
	list := make([]any, len(b))
	for i := range list {
		e, ok := b[strconv.Itoa(i+1)]
		if !ok {
			list = nil
			break
		}
		list[i] = lists(e)
	}
	if len(list) > 0 {
		return list
	}
	out := make(map[string]any, len(b))
	for k, e := range b {
		out[k] = lists(e)
	}
	return out
}

type getPath struct {
	Value   any `lua:"value" pos:"1" doc:"Table to look into"`
	Path    any `lua:"path,required" pos:"2" doc:"Such as \"db.ports[1]\", or a list of keys"`
	Default any `lua:"default" pos:"3" doc:"Given when there is nothing"`
}

// Query follows the path.
func (g *getPath) Query(context.Context, facts.Viewer) ([]any, error) {
	v, err := Find(g.Value, g.Path)
	if v == nil {
		v = g.Default
	}
	return []any{v}, err
}

// Find follows a path such as "db.ports[1]", or a list of keys, into a value as
// Lua gives it. What is not there is nil; only a broken path is an error.
func Find(v, path any) (any, error) {
	steps, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	for _, s := range steps {
		v = child(v, s)
	}
	return v, nil
}

func child(v any, key string) any {
	switch v := v.(type) {
	case map[string]any:
		return v[key]
	case map[any]any:
		if n, err := strconv.ParseInt(key, 10, 64); err == nil {
			if e, ok := v[n]; ok {
				return e
			}
		}
		return v[key]
	case []any:
		if n, err := strconv.Atoi(key); err == nil && n >= 1 && n <= len(v) {
			return v[n-1]
		}
	}
	return nil
}

// parsePath splits "a.b[1]['c.d']" into its keys.
func parsePath(path any) ([]string, error) {
	switch p := path.(type) {
	case []any:
		steps := make([]string, len(p))
		for i, e := range p {
			steps[i] = fmt.Sprint(e)
		}
		return steps, nil
	case int64:
		return []string{strconv.FormatInt(p, 10)}, nil
	case string:
		return splitPath(p)
	}
	return nil, errors.New("path must be text such as \"db.ports[1]\", or a list of keys")
}

func splitPath(path string) ([]string, error) {
	var steps []string
	rest := path
	for rest != "" {
		if rest[0] == '[' {
			end := strings.IndexByte(rest, ']')
			if len(rest) > 1 && (rest[1] == '"' || rest[1] == '\'') {
				if end = strings.Index(rest, rest[1:2]+"]"); end <= 1 {
					return nil, fmt.Errorf("path %q: a bracket is not closed", path)
				}
				steps = append(steps, rest[2:end])
				end++
			} else {
				if end < 0 {
					return nil, fmt.Errorf("path %q: a bracket is not closed", path)
				}
				steps = append(steps, rest[1:end])
			}
			rest = strings.TrimPrefix(rest[end+1:], ".")
		} else {
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			if end == 0 {
				return nil, fmt.Errorf("path %q: there is a key missing", path)
			}
			steps = append(steps, rest[:end])
			if rest = rest[end:]; strings.HasPrefix(rest, ".") {
				if rest = rest[1:]; rest == "" {
					return nil, fmt.Errorf("path %q: there is a key missing", path)
				}
			}
		}
		if len(steps) > maxDepth {
			return nil, fmt.Errorf("path %.40q has more than %d keys", path, maxDepth)
		}
	}
	return steps, nil
}

type setPath struct {
	Value any `lua:"value,required" pos:"1" doc:"Table to copy"`
	Path  any `lua:"path,required" pos:"2" doc:"Such as \"db.ports[1]\", or a list of keys; tables on the way are made"`
	To    any `lua:"to" alias:"new" pos:"3" doc:"The new value; nil removes the old one"`
}

// Query gives a copy with the value set.
func (s *setPath) Query(context.Context, facts.Viewer) ([]any, error) {
	steps, err := parsePath(s.Path)
	if err != nil {
		return nil, err
	}
	if len(steps) == 0 {
		return nil, errors.New("path is empty")
	}
	if len(steps) > maxDepth {
		return nil, fmt.Errorf("path has more than %d keys", maxDepth)
	}
	out, err := set(s.Value, steps, s.To)
	if err != nil {
		return nil, fmt.Errorf("path %v: %w", s.Path, err)
	}
	return []any{out}, nil
}

func set(v any, steps []string, to any) (any, error) {
	if len(steps) == 0 {
		return to, nil
	}
	key := steps[0]
	next, err := set(child(v, key), steps[1:], to)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case []any:
		n, err := strconv.Atoi(key)
		switch {
		case err == nil && n >= 1 && n <= len(v):
			out := append([]any{}, v...)
			if out[n-1] = next; next == nil {
				out = append(out[:n-1], out[n:]...)
			}
			return out, nil
		case err == nil && n == len(v)+1:
			return append(append([]any{}, v...), next), nil
		}
		return nil, fmt.Errorf("%s is no place in a list of %d", key, len(v))
	case map[any]any:
		out := make(map[any]any, len(v)+1)
		for k, e := range v {
			out[k] = e
		}
		var at any = key
		if n, err := strconv.ParseInt(key, 10, 64); err == nil {
			at = n
		}
		if out[at] = next; next == nil {
			delete(out, at)
		}
		return out, nil
	case nil, map[string]any:
		m, _ := v.(map[string]any)
		if key == "1" && len(m) == 0 {
			return []any{next}, nil // an empty table may become a list
		}
		out := make(map[string]any, len(m)+1)
		for k, e := range m {
			out[k] = e
		}
		if out[key] = next; next == nil {
			delete(out, key)
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s would be below a value that is no table", key)
}
