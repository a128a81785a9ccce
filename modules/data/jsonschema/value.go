package jsonschema

import (
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case int64:
		return "integer"
	case float64:
		if v == math.Trunc(v) {
			return "integer"
		}
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// count is the value of a keyword that Compile found to be a whole number.
func (n *node) count(k string) (int, bool) {
	f, ok := float(n.keys[k])
	return int(min(f, math.MaxInt32)), ok
}

func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		if utf8.RuneCountInString(v) > 100 {
			v = string([]rune(v)[:100]) + "…"
		}
		return quote(v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprint(v)
}

func quote(s string) string {
	s = strconv.Quote(s)
	return "'" + strings.ReplaceAll(s[1:len(s)-1], `\"`, `"`) + "'"
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = quote(n)
	}
	return strings.Join(out, ", ")
}

func equal(a, b any) bool {
	switch a.(type) {
	case []any, map[string]any:
		return typeOf(a) == typeOf(b) && canon(a) == canon(b)
	}
	fa, na := float(a)
	fb, nb := float(b)
	if na && nb {
		return fa == fb
	}
	return typeOf(a) == typeOf(b) && a == b
}

// canon is the same text for equal values, and for no others.
func canon(v any) string {
	var b strings.Builder
	write(&b, v)
	return b.String()
}

func write(b *strings.Builder, v any) {
	switch v := v.(type) {
	case string:
		b.WriteString(strconv.Quote(v))
	case []any:
		b.WriteByte('[')
		for _, e := range v {
			write(b, e)
			b.WriteByte(',')
		}
		b.WriteByte(']')
	case map[string]any:
		b.WriteByte('{')
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b.WriteString(strconv.Quote(k))
			b.WriteByte(':')
			write(b, v[k])
			b.WriteByte(',')
		}
		b.WriteByte('}')
	default:
		if f, ok := float(v); ok {
			b.WriteString(strconv.FormatFloat(f+0, 'g', -1, 64))
			return
		}
		fmt.Fprint(b, v)
	}
}

func (e *evaluation) number(v any) {
	f, _ := float(v)
	for _, k := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"} {
		limit, ok := float(e.n.keys[k])
		if !ok {
			continue
		}
		bad := map[string]bool{"minimum": f < limit, "maximum": f > limit, "exclusiveMinimum": f <= limit, "exclusiveMaximum": f >= limit}
		if bad[k] {
			e.say("%s: got %v, want %v", k, v, e.n.keys[k])
		}
	}
	if of := e.n.keys["multipleOf"]; of != nil {
		a, b := rat(v), rat(of)
		if a != nil && b != nil && !a.Quo(a, b).IsInt() {
			e.say("multipleOf: got %v, want %v", v, of)
		}
	}
}

// rat is a number by its decimal digits, so that 0.3 is a multiple of 0.1.
func rat(v any) *big.Rat {
	r, _ := new(big.Rat).SetString(fmt.Sprint(v))
	return r
}

func (e *evaluation) text(s string) {
	n := utf8.RuneCountInString(s)
	if limit, ok := e.n.count("minLength"); ok && n < limit {
		e.say("minLength: got %d, want %d", n, limit)
	}
	if limit, ok := e.n.count("maxLength"); ok && n > limit {
		e.say("maxLength: got %d, want %d", n, limit)
	}
	if p, ok := e.n.keys["pattern"].(string); ok && !e.patterns[p].MatchString(s) {
		e.say("%s does not match pattern %s", show(s), quote(p))
	}
	if f, ok := e.n.keys["format"].(string); ok {
		if why := format(f, s); why != "" {
			e.say("%s is not valid %s: %s", show(s), f, why)
		}
	}
}

func (e *evaluation) array(v []any) {
	n := e.n
	if limit, ok := n.count("minItems"); ok && len(v) < limit {
		e.say("minItems: got %d, want %d", len(v), limit)
	}
	if limit, ok := n.count("maxItems"); ok && len(v) > limit {
		e.say("maxItems: got %d, want %d", len(v), limit)
	}
	if n.keys["uniqueItems"] == true {
		first := map[string]int{}
		for i, item := range v {
			key := canon(item)
			if was, twice := first[key]; twice {
				e.say("items at %d and %d are equal", was, i+1)
				break
			}
			first[key] = i + 1
		}
	}
	tuple, rest := n.lists["prefixItems"], n.kids["items"]
	if list := n.lists["items"]; list != nil {
		tuple, rest = list, n.kids["additionalItems"]
	}
	for i := range v {
		switch {
		case i < len(tuple):
			e.item(tuple[i], v, i)
			e.seen.first = max(e.seen.first, i+1)
		case rest != nil:
			e.item(rest, v, i)
			e.seen.first = len(v)
		}
	}
	e.contains(v)
	if s := n.kids["unevaluatedItems"]; s != nil && !e.seen.all {
		for i := e.seen.first; i < len(v); i++ {
			if !e.seen.items[i] {
				e.item(s, v, i)
			}
		}
		e.seen.first = len(v)
	}
}

func (e *evaluation) item(s *node, v []any, i int) bool {
	_, wrong := e.eval(s, v[i], &place{up: e.at, index: i + 1}, e.scope)
	e.wrong = take(e.wrong, wrong)
	return len(wrong) == 0
}

func (e *evaluation) contains(v []any) {
	s := e.n.kids["contains"]
	if s == nil {
		return
	}
	least, ok := e.n.count("minContains")
	if !ok {
		least = 1
	}
	matched := 0
	for i, item := range v {
		if _, wrong := e.eval(s, item, &place{up: e.at, index: i + 1}, e.scope); len(wrong) == 0 {
			matched++
			if e.tracks {
				e.seen.item(i)
			}
		}
	}
	if matched < least {
		e.say("contains: %d items fit, want %d or more", matched, least)
	}
	if most, ok := e.n.count("maxContains"); ok && matched > most {
		e.say("contains: %d items fit, want %d or less", matched, most)
	}
}

func (e *evaluation) object(v map[string]any) {
	n := e.n
	if limit, ok := n.count("minProperties"); ok && len(v) < limit {
		e.say("minProperties: got %d, want %d", len(v), limit)
	}
	if limit, ok := n.count("maxProperties"); ok && len(v) > limit {
		e.say("maxProperties: got %d, want %d", len(v), limit)
	}
	switch missing := missing(v, n.keys["required"]); len(missing) {
	case 0:
	case 1:
		e.say("missing property %s", quoted(missing))
	default:
		e.say("missing properties %s", quoted(missing))
	}
	e.dependent(v)
	names := slices.Sorted(maps.Keys(v))
	patterns, _ := n.keys["patternProperties"].(map[string]any)
	var extra []string
	for _, k := range names {
		if s := n.kids["propertyNames"]; s != nil {
			if _, wrong := e.eval(s, k, &place{up: e.at, key: k}, e.scope); len(wrong) > 0 {
				e.say("invalid propertyName %s", quote(k))
			}
		}
		known := false
		if s := n.kids["properties/"+k]; s != nil {
			e.property(s, v, k)
			known = true
		}
		for p := range patterns {
			if e.patterns[p].MatchString(k) {
				e.property(n.kids["patternProperties/"+p], v, k)
				known = true
			}
		}
		switch s := n.kids["additionalProperties"]; {
		case known || s == nil:
		case s.never:
			extra = append(extra, k)
		default:
			e.property(s, v, k)
			known = true
		}
		if known && e.tracks {
			e.seen.prop(k)
		}
	}
	if extra != nil {
		e.say("additional properties %s not allowed", quoted(extra))
	}
	if s := n.kids["unevaluatedProperties"]; s != nil && !e.seen.all {
		for _, k := range names {
			if !e.seen.props[k] {
				e.property(s, v, k)
			}
		}
		e.seen.all = true
	}
}

func (e *evaluation) property(s *node, v map[string]any, k string) {
	_, wrong := e.eval(s, v[k], &place{up: e.at, key: k}, e.scope)
	e.wrong = take(e.wrong, wrong)
}

// dependent is what must hold once a property is there.
func (e *evaluation) dependent(v map[string]any) {
	for _, k := range []string{"dependentRequired", "dependentSchemas", "dependencies"} {
		m, _ := e.n.keys[k].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if _, there := v[name]; !there {
				continue
			}
			if s := e.n.kids[k+"/"+name]; s != nil {
				e.same(s, v)
			} else if missing := missing(v, m[name]); missing != nil {
				e.say("properties %s required, if %s exists", quoted(missing), quote(name))
			}
		}
	}
}

func missing(v map[string]any, required any) []string {
	list, _ := required.([]any)
	var out []string
	for _, k := range list {
		if _, ok := v[k.(string)]; !ok {
			out = append(out, k.(string))
		}
	}
	return out
}
