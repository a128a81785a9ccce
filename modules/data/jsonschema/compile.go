package jsonschema

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Drafts by the address in $schema.
const (
	draft7  = "http://json-schema.org/draft-07/schema"
	draft20 = "https://json-schema.org/draft/2020-12/schema"
)

// Compile reads a schema, and says where it is none.
func Compile(doc any, o Options) (*Schema, error) {
	c := compiler{Schema: &Schema{patterns: map[string]*regexp.Regexp{}, tables: o.Tables}, resources: map[string]*resource{}}
	if m, ok := doc.(map[string]any); ok && m["$schema"] != nil {
		name, _ := m["$schema"].(string)
		switch strings.TrimSuffix(name, "#") {
		case draft7, "https" + strings.TrimPrefix(draft7, "http"):
			c.seven = true
		case draft20:
		default:
			return nil, fmt.Errorf("$schema = %q: known are %q and %q", name, draft7+"#", draft20)
		}
	}
	root, err := c.node(doc, nil, "", 0)
	if err != nil {
		return nil, err
	}
	c.root = root
	for len(c.refs) > 0 {
		n := c.refs[0]
		c.refs = c.refs[1:]
		if err := c.link(n); err != nil {
			return nil, err
		}
	}
	return c.Schema, nil
}

type compiler struct {
	*Schema
	seven     bool
	resources map[string]*resource
	refs      []*node // whose references are not resolved yet
}

// node reads one subschema. home is the resource it stands in, nil at the top.
func (c *compiler) node(raw any, home *resource, at string, depth int) (*node, error) {
	n := &node{at: at, home: home, kids: map[string]*node{}, lists: map[string][]*node{}}
	if depth > maxDepth {
		return nil, n.errorf("", "nested deeper than %d levels", maxDepth)
	}
	switch raw := raw.(type) {
	case bool:
		n.never = !raw
	case map[string]any:
		n.keys = raw
	case []any:
		if len(raw) > 0 || !c.tables {
			return nil, n.errorf("", "a schema is a table, true or false, not a list")
		}
	default:
		return nil, n.errorf("", "a schema is a table, true or false, not %s", show(raw))
	}
	if c.seven && n.keys["$ref"] != nil {
		// What stands beside a $ref means nothing in draft 7.
		n.keys = map[string]any{"$ref": n.keys["$ref"], "definitions": n.keys["definitions"], "$defs": n.keys["$defs"]}
	}
	if err := c.name(n); err != nil {
		return nil, err
	}
	for _, k := range slices.Sorted(maps.Keys(n.keys)) {
		if n.keys[k] == nil && k != "const" || c.seven && newer(k) {
			delete(n.keys, k)
			continue
		}
		if err := c.keyword(n, k, depth); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// newer tells the keywords that draft 7 does not know.
func newer(k string) bool {
	switch k {
	case "prefixItems", "minContains", "maxContains", "dependentRequired", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties", "$dynamicRef":
		return true
	}
	return false
}

// name enters the resource and the anchors that n is.
func (c *compiler) name(n *node) error {
	for _, k := range []string{"$id", "$anchor", "$dynamicAnchor", "$ref", "$dynamicRef"} {
		if _, ok := n.keys[k].(string); !ok && n.keys[k] != nil {
			return n.errorf(k, "it must be text, not %s", show(n.keys[k]))
		}
	}
	id, _ := n.keys["$id"].(string)
	anchor, _ := n.keys["$anchor"].(string)
	if c.seven && strings.HasPrefix(id, "#") {
		id, anchor = "", id[1:]
	}
	if id != "" || n.home == nil {
		base := ""
		if n.home != nil {
			base = n.home.uri
		}
		u, err := join(base, id)
		if err != nil {
			return n.errorf("$id", "%v", err)
		}
		u.Fragment = ""
		n.home = &resource{uri: u.String(), root: n, anchors: map[string]*node{}, moving: map[string]*node{}}
		if c.resources[n.home.uri] != nil {
			return n.errorf("$id", "%q is there twice", id)
		}
		c.resources[n.home.uri] = n.home
	}
	if anchor != "" {
		n.home.anchors[anchor] = n
	}
	if moving, _ := n.keys["$dynamicAnchor"].(string); moving != "" {
		n.home.anchors[moving], n.home.moving[moving] = n, n
	}
	if n.keys["$ref"] != nil || n.keys["$dynamicRef"] != nil {
		c.refs = append(c.refs, n)
	}
	return nil
}

func join(base, ref string) (*url.URL, error) {
	b, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	return b.Parse(ref)
}

// keyword checks one keyword and reads the schemas in it.
func (c *compiler) keyword(n *node, k string, depth int) error {
	v := n.keys[k]
	kid := func(key, at string, raw any) error {
		s, err := c.node(raw, n.home, under(n.at, at), depth+1)
		n.kids[key] = s
		return err
	}
	switch k {
	case "unevaluatedProperties", "unevaluatedItems":
		c.tracks = true
		return kid(k, k, v)
	case "additionalProperties", "additionalItems", "contains", "not", "if", "then", "else", "propertyNames":
		return kid(k, k, v)
	case "items":
		if list, ok := v.([]any); ok && len(list) > 0 {
			return c.list(n, k, list, depth)
		}
		return kid(k, k, v)
	case "allOf", "anyOf", "oneOf", "prefixItems":
		list, ok := v.([]any)
		if !ok || len(list) == 0 {
			return n.errorf(k, "it must be a list of schemas, not %s", show(v))
		}
		return c.list(n, k, list, depth)
	case "properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies":
		m, err := c.table(n, k)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if k == "patternProperties" {
				if err := c.pattern(n, k, name); err != nil {
					return err
				}
			}
			if list, ok := m[name].([]any); ok && k == "dependencies" {
				if _, err := c.texts(n, k, list); err != nil {
					return err
				}
				continue
			}
			if err := kid(k+"/"+name, k+"."+name, m[name]); err != nil {
				return err
			}
		}
		return nil
	}
	return c.plain(n, k)
}

func (c *compiler) list(n *node, k string, list []any, depth int) error {
	for i, raw := range list {
		s, err := c.node(raw, n.home, fmt.Sprintf("%s[%d]", under(n.at, k), i+1), depth+1)
		if err != nil {
			return err
		}
		n.lists[k] = append(n.lists[k], s)
	}
	return nil
}

// plain checks a keyword that holds no schema.
func (c *compiler) plain(n *node, k string) error {
	v := n.keys[k]
	switch k {
	case "type":
		types, ok := v.([]any)
		if !ok {
			types = []any{v}
		}
		for _, t := range types {
			name, _ := t.(string)
			if !slices.Contains([]string{"string", "number", "integer", "boolean", "object", "array", "null"}, name) {
				return n.errorf(k, "%s is none of string, number, integer, boolean, object, array and null", show(t))
			}
		}
		n.keys[k] = types
	case "required":
		list, err := c.texts(n, k, v)
		if err != nil {
			return err
		}
		n.keys[k] = list
	case "dependentRequired":
		m, err := c.table(n, k)
		if err != nil {
			return err
		}
		for name, v := range m {
			if m[name], err = c.texts(n, k, v); err != nil {
				return err
			}
		}
	case "enum":
		list, ok := c.asList(v)
		if !ok {
			return n.errorf(k, "it must be a list, not %s", show(v))
		}
		n.keys[k] = list
	case "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains":
		f, ok := float(v)
		if !ok || f < 0 || f != math.Trunc(f) {
			return n.errorf(k, "it must be a whole number from 0, not %s", show(v))
		}
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf":
		f, ok := float(v)
		if !ok || k == "multipleOf" && f <= 0 {
			return n.errorf(k, "it must be a number%s, not %s", map[bool]string{true: " above 0"}[k == "multipleOf"], show(v))
		}
	case "uniqueItems":
		if _, ok := v.(bool); !ok {
			return n.errorf(k, "it must be true or false, not %s", show(v))
		}
	case "format":
		if _, ok := v.(string); !ok {
			return n.errorf(k, "it must be text, not %s", show(v))
		}
	case "pattern":
		text, ok := v.(string)
		if !ok {
			return n.errorf(k, "it must be text, not %s", show(v))
		}
		return c.pattern(n, k, text)
	}
	return nil
}

func (c *compiler) pattern(n *node, k, text string) error {
	if c.patterns[text] != nil {
		return nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return n.errorf(k, "%v", err)
	}
	c.patterns[text] = re
	return nil
}

func (c *compiler) asList(v any) ([]any, bool) {
	if m, ok := v.(map[string]any); ok && c.tables && len(m) == 0 {
		return []any{}, true
	}
	list, ok := v.([]any)
	return list, ok
}

func (c *compiler) table(n *node, k string) (map[string]any, error) {
	if list, ok := n.keys[k].([]any); ok && c.tables && len(list) == 0 {
		return nil, nil
	}
	m, ok := n.keys[k].(map[string]any)
	if !ok {
		return nil, n.errorf(k, "it must be a table, not %s", show(n.keys[k]))
	}
	return m, nil
}

func (c *compiler) texts(n *node, k string, v any) ([]any, error) {
	list, ok := c.asList(v)
	for _, e := range list {
		if _, text := e.(string); !text {
			ok = false
		}
	}
	if !ok {
		return nil, n.errorf(k, "it must be a list of names, not %s", show(v))
	}
	return list, nil
}

// link finds what the references of n lead to.
func (c *compiler) link(n *node) error {
	var err error
	if ref, ok := n.keys["$ref"].(string); ok {
		if n.ref, _, err = c.resolve(n, "$ref", ref); err != nil {
			return err
		}
	}
	if ref, ok := n.keys["$dynamicRef"].(string); ok {
		if n.dynamic, n.anchor, err = c.resolve(n, "$dynamicRef", ref); err != nil {
			return err
		}
		if n.dynamic.home.moving[n.anchor] != n.dynamic {
			n.anchor = ""
		}
	}
	return nil
}

func (c *compiler) resolve(n *node, k, ref string) (target *node, anchor string, err error) {
	u, err := join(n.home.uri, ref)
	if err != nil {
		return nil, "", n.errorf(k, "%v", err)
	}
	fragment := u.Fragment
	u.Fragment, u.RawFragment = "", ""
	r := c.resources[u.String()]
	switch {
	case r == nil:
		return nil, "", n.errorf(k, "%q is not in this schema, and nothing else is loaded", ref)
	case fragment == "":
		return r.root, "", nil
	case strings.HasPrefix(fragment, "/"):
		target, err = c.pointer(r, n, k, fragment)
		return target, "", err
	case r.anchors[fragment] == nil:
		return nil, "", n.errorf(k, "%q: there is no anchor %q", ref, fragment)
	}
	return r.anchors[fragment], fragment, nil
}

// pointer follows a JSON pointer. What it leads to need not stand where schemas
// stand, and is then read as one.
func (c *compiler) pointer(r *resource, from *node, k, fragment string) (*node, error) {
	n, raw, rest := r.root, any(r.root.keys), ""
	for _, token := range strings.Split(fragment, "/")[1:] {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		var ok bool
		switch t := raw.(type) {
		case map[string]any:
			raw, ok = t[token]
		case []any:
			var i int
			i, err := strconv.Atoi(token)
			if ok = err == nil && i >= 0 && i < len(t); ok {
				raw = t[i]
			}
		}
		if !ok {
			return nil, from.errorf(k, "%q: there is no %q", "#"+fragment, token)
		}
		rest = strings.TrimPrefix(rest+"/"+token, "/")
		if s := n.below(rest); s != nil {
			n, rest = s, ""
			if !isBool(raw) {
				raw = any(s.keys)
			}
		}
	}
	if rest == "" {
		return n, nil
	}
	s, err := c.node(raw, n.home, under(n.at, strings.ReplaceAll(rest, "/", ".")), 0)
	n.kids[rest] = s
	return s, err
}

func isBool(v any) bool { _, ok := v.(bool); return ok }

// below is the subschema at a path of keys, if one stands there.
func (n *node) below(path string) *node {
	if s := n.kids[path]; s != nil {
		return s
	}
	k, index, ok := strings.Cut(path, "/")
	if i, err := strconv.Atoi(index); ok && err == nil && i >= 0 && i < len(n.lists[k]) {
		return n.lists[k][i]
	}
	return nil
}
