package jsonschema

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Check answers all that v has against the schema, nothing when it fits. An
// error means that it could not be told.
func (s *Schema) Check(v any) ([]Complaint, error) {
	c := checker{Schema: s, end: time.Now().Add(maxTime)}
	_, wrong := c.eval(s.root, v, &place{}, nil)
	return wrong, c.err
}

type checker struct {
	*Schema
	steps int
	end   time.Time
	open  []frame
	err   error
}

// frame is a subschema that is being checked against a value.
type frame struct {
	n  *node
	at *place
}

// seen is which parts of a value some schema looked at.
type seen struct {
	all   bool
	props map[string]bool
	items map[int]bool
	first int // so many items from the beginning
}

func (s *seen) add(o seen) {
	s.all = s.all || o.all
	s.first = max(s.first, o.first)
	for k := range o.props {
		s.prop(k)
	}
	for i := range o.items {
		s.item(i)
	}
}

func (s *seen) prop(k string) {
	if s.props == nil {
		s.props = map[string]bool{}
	}
	s.props[k] = true
}

func (s *seen) item(i int) {
	if s.items == nil {
		s.items = map[int]bool{}
	}
	s.items[i] = true
}

func (c *checker) stop(err error) (seen, []Complaint) {
	if c.err == nil {
		c.err = err
	}
	return seen{}, []Complaint{{}}
}

// eval checks v against n. scope is the resources that led here.
func (c *checker) eval(n *node, v any, at *place, scope []*resource) (seen, []Complaint) {
	if c.err != nil {
		return seen{}, []Complaint{{}}
	}
	if c.steps++; c.steps > maxSteps {
		return c.stop(fmt.Errorf("checking it takes more than %d steps", maxSteps))
	}
	if c.steps%1024 == 0 && time.Now().After(c.end) {
		return c.stop(fmt.Errorf("checking it takes longer than %s", maxTime))
	}
	for i := len(c.open) - 1; i >= 0 && c.open[i].at == at; i-- {
		if c.open[i].n == n {
			return c.stop(errors.New("the schema refers to itself without end"))
		}
	}
	c.open = append(c.open, frame{n, at})
	defer func() { c.open = c.open[:len(c.open)-1] }()
	if len(scope) == 0 || scope[len(scope)-1] != n.home {
		scope = append(slices.Clip(scope), n.home)
	}
	e := &evaluation{checker: c, n: n, at: at, scope: scope}
	if n.never {
		e.say("nothing is allowed here")
		return e.seen, e.wrong
	}
	if n.keys == nil {
		return e.seen, nil
	}
	v = c.list(n, v)
	e.types(v)
	e.combine(v)
	switch v := v.(type) {
	case string:
		e.text(v)
	case int64, float64:
		e.number(v)
	case []any:
		e.array(v)
	case map[string]any:
		e.object(v)
	}
	return e.seen, e.wrong
}

// list makes a list of an empty table where only a list will do.
func (c *checker) list(n *node, v any) any {
	if m, ok := v.(map[string]any); !ok || len(m) > 0 || !c.tables {
		return v
	}
	types, _ := n.keys["type"].([]any)
	if slices.Contains(types, any("array")) && !slices.Contains(types, any("object")) {
		return []any{}
	}
	return v
}

// evaluation is one subschema against one value.
type evaluation struct {
	*checker
	n     *node
	at    *place
	scope []*resource
	seen  seen
	wrong []Complaint
}

// take adds what another schema or an inner value had to say. Nobody reads
// hundreds of complaints, and combinations of schemas could make millions.
func take(all, more []Complaint) []Complaint {
	return append(all, more[:min(len(more), max(maxKept-len(all), 0))]...)
}

func (e *evaluation) say(format string, args ...any) {
	e.wrong = append(e.wrong, Complaint{Path: e.at.String(), Text: fmt.Sprintf(format, args...)})
}

// same checks the same value against another schema, and takes over what it
// says and saw.
func (e *evaluation) same(n *node, v any) bool {
	s, wrong := e.eval(n, v, e.at, e.scope)
	e.wrong = take(e.wrong, wrong)
	if len(wrong) == 0 {
		e.seen.add(s)
	}
	return len(wrong) == 0
}

// fits only tells, and keeps what was seen.
func (e *evaluation) fits(n *node, v any) (bool, []Complaint) {
	s, wrong := e.eval(n, v, e.at, e.scope)
	if len(wrong) == 0 {
		e.seen.add(s)
	}
	return len(wrong) == 0, wrong
}

func (e *evaluation) types(v any) {
	types, ok := e.n.keys["type"].([]any)
	if !ok {
		return
	}
	got := typeOf(v)
	var want []string
	for _, t := range types {
		name := t.(string)
		if name == got || name == "number" && got == "integer" {
			return
		}
		want = append(want, name)
	}
	if got == "integer" {
		got = "number"
	}
	e.say("got %s, want %s", got, strings.Join(want, " or "))
}

// combine is what holds for values of all types.
func (e *evaluation) combine(v any) {
	n := e.n
	if want, ok := n.keys["const"]; ok && !equal(v, want) {
		e.say("value must be %s", show(want))
	}
	if list, ok := n.keys["enum"].([]any); ok && !slices.ContainsFunc(list, func(w any) bool { return equal(v, w) }) {
		var want []string
		for _, w := range list {
			want = append(want, show(w))
		}
		e.say("value must be one of %s", strings.Join(want, ", "))
	}
	if n.ref != nil {
		e.same(n.ref, v)
	}
	if n.dynamic != nil {
		e.same(e.moved(), v)
	}
	for _, s := range n.lists["allOf"] {
		e.same(s, v)
	}
	e.anyOf(v)
	e.oneOf(v)
	if s := n.kids["not"]; s != nil {
		if _, wrong := e.eval(s, v, e.at, e.scope); len(wrong) == 0 {
			e.say("it fits what 'not' forbids")
		}
	}
	if s := n.kids["if"]; s != nil {
		branch := "else"
		if ok, _ := e.fits(s, v); ok {
			branch = "then"
		}
		if s := n.kids[branch]; s != nil {
			e.same(s, v)
		}
	}
}

// moved is what $dynamicRef leads to: of the schemas that led here, the first
// with that anchor.
func (e *evaluation) moved() *node {
	if e.n.anchor != "" {
		for _, r := range e.scope {
			if s := r.moving[e.n.anchor]; s != nil {
				return s
			}
		}
	}
	return e.n.dynamic
}

func (e *evaluation) anyOf(v any) {
	var all []Complaint
	matched := false
	for _, s := range e.n.lists["anyOf"] {
		ok, wrong := e.fits(s, v)
		matched = matched || ok
		if matched && !e.tracks {
			return
		}
		all = take(all, wrong)
	}
	if !matched {
		e.wrong = take(e.wrong, all)
	}
}

func (e *evaluation) oneOf(v any) {
	var all []Complaint
	var matched []int
	for i, s := range e.n.lists["oneOf"] {
		ok, wrong := e.fits(s, v)
		if ok {
			matched = append(matched, i+1)
		}
		all = take(all, wrong)
	}
	switch {
	case len(matched) > 1:
		e.say("it fits the schemas %d and %d of 'oneOf', and must fit one", matched[0], matched[1])
	case len(matched) == 0:
		e.wrong = take(e.wrong, all)
	}
}
