package data

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

var validateFunc = modules.Func{
	Name: "validate", Summary: "Check a value against a JSON Schema.",
	Example: `local ok, message = data.validate({ port = 80 }, { properties = { port = { type = "integer" } } })`,
	Returns: "ok, message",
	New:     func() any { return &validate{} },
}

type validate struct {
	Value  any `lua:"value" pos:"1" doc:"What to check"`
	Schema any `lua:"schema,required" pos:"2" doc:"The schema, as a table or as JSON text"`
}

// Query answers true, or false and all that is wrong.
func (v *validate) Query(context.Context, facts.Viewer) ([]any, error) {
	err := Validate(v.Value, v.Schema)
	var wrong Mismatch
	switch {
	case errors.As(err, &wrong):
		return []any{false, wrong.Error()}, nil
	case err != nil:
		return nil, err
	}
	return []any{true}, nil
}

// Mismatch says in one line all that a value has against its schema.
type Mismatch string

func (m Mismatch) Error() string { return string(m) }

// Validate checks a value as Lua gives it against a JSON Schema, a table or JSON
// text. A value that does not fit is a Mismatch, a schema that is none another
// error. References lead nowhere outside the schema.
func Validate(value, schema any) error {
	if text, ok := schema.(string); ok {
		var err error
		if schema, err = decodeJSON(text); err != nil {
			return fmt.Errorf("schema: %w", err)
		}
	}
	var p plainer
	plainSchema, err := p.value(schema, "", 0)
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	plainValue, err := p.value(value, "", 0)
	if err != nil {
		return fmt.Errorf("value: %w", err)
	}
	plainSchema = arrays(plainSchema)
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{})
	c.AssertFormat()
	const name = "schema.json"
	if err := c.AddResource(name, plainSchema); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	s, err := c.Compile(name)
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	err = s.Validate(emptyLists(plainValue, plainSchema, 0))
	var invalid *jsonschema.ValidationError
	if errors.As(err, &invalid) {
		if p.secret {
			return Mismatch("it does not fit the schema")
		}
		return Mismatch(strings.Join(complaints(invalid), "; "))
	}
	return err
}

// arrays are the keywords of a schema whose empty Lua table is a list.
func arrays(schema any) any {
	m, ok := schema.(map[string]any)
	if !ok {
		return schema
	}
	for k, v := range m {
		inner, isMap := v.(map[string]any)
		switch k {
		case "required", "enum", "examples":
			if isMap && len(inner) == 0 {
				m[k] = []any{}
			}
		case "properties", "$defs", "definitions", "patternProperties":
			for _, s := range inner {
				arrays(s)
			}
		default:
			arrays(v)
		}
	}
	return schema
}

// emptyLists makes a list of an empty table where the schema wants one.
func emptyLists(v, schema any, depth int) any {
	s, _ := schema.(map[string]any)
	if s == nil || depth > maxDepth {
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 && s["type"] == "array" {
			return []any{}
		}
		props, _ := s["properties"].(map[string]any)
		for k, e := range v {
			if p, ok := props[k]; ok {
				v[k] = emptyLists(e, p, depth+1)
			} else {
				v[k] = emptyLists(e, s["additionalProperties"], depth+1)
			}
		}
	case []any:
		for i := range v {
			v[i] = emptyLists(v[i], s["items"], depth+1)
		}
	}
	return v
}

const maxComplaints = 20

var english = message.NewPrinter(language.English)

// complaints are the innermost causes, each with where it is.
func complaints(e *jsonschema.ValidationError) []string {
	var all []string
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		for _, c := range e.Causes {
			walk(c)
		}
		if len(e.Causes) == 0 {
			at := strings.Join(e.InstanceLocation, ".")
			all = append(all, or(at, "the value")+": "+e.ErrorKind.LocalizedString(english))
		}
	}
	walk(e)
	sort.Strings(all)
	if more := len(all) - maxComplaints; more > 0 {
		all = append(all[:maxComplaints], fmt.Sprintf("and %d more", more))
	}
	return all
}
