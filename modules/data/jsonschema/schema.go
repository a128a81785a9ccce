// Package jsonschema checks values against JSON Schema, drafts 7 and 2020-12.
// It does no work before its first use, knows no meta-schemas and loads nothing:
// a reference that leads out of the schema is an error. Patterns are RE2, and
// formats are asserted.
//
// Values and schemas are nil, bool, int64, float64, string, []any and
// map[string]any.
package jsonschema

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Limits against schemas and values that others wrote.
const (
	maxDepth = 200       // levels of subschemas
	maxSteps = 1_000_000 // pairs of a subschema and a value that one check looks at
	maxTime  = 10 * time.Second
	maxKept  = 100 // complaints
)

// Options say how a schema is read.
type Options struct {
	// Tables says that schema and value come from Lua, where an empty table may
	// be an empty list.
	Tables bool
}

// Schema is a schema that is ready to check values.
type Schema struct {
	root     *node
	patterns map[string]*regexp.Regexp
	tables   bool
	tracks   bool // something asks which parts of a value were looked at
}

// node is one subschema.
type node struct {
	at    string // where it stands, for messages: "properties.port"
	keys  map[string]any
	never bool // the schema false
	kids  map[string]*node
	lists map[string][]*node
	home  *resource
	// ref and dynamic are what $ref and $dynamicRef lead to; anchor is the name
	// by which dynamic is looked for again in the schemas that led here.
	ref, dynamic *node
	anchor       string
}

// resource is what one $id names.
type resource struct {
	uri     string
	root    *node
	anchors map[string]*node
	moving  map[string]*node // by $dynamicAnchor
}

// Complaint is one thing that a value has against its schema.
type Complaint struct {
	Path string // "servers[2].port"; empty for the value itself
	Text string
}

// place is where a value stands within the value that is checked.
type place struct {
	up    *place
	key   string
	index int // from 1; 0: key says it
}

func (p *place) String() string {
	var parts []string
	for ; p != nil && p.up != nil; p = p.up {
		switch {
		case p.index > 0:
			parts = append(parts, "["+strconv.Itoa(p.index)+"]")
		case p.up.up == nil:
			parts = append(parts, p.key)
		default:
			parts = append(parts, "."+p.key)
		}
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString(parts[i])
	}
	return b.String()
}

func (n *node) errorf(key, format string, args ...any) error {
	at := n.at
	if key != "" {
		at = under(at, key)
	}
	if at == "" {
		at = "the schema"
	}
	return fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...))
}

func under(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}
