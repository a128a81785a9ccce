package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/data/jsonschema"
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
	s, err := jsonschema.Compile(plainSchema, jsonschema.Options{Tables: true})
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	wrong, err := s.Check(plainValue)
	switch {
	case err != nil:
		return fmt.Errorf("schema: %w", err)
	case len(wrong) == 0:
		return nil
	case p.secret:
		return Mismatch("it does not fit the schema")
	}
	return Mismatch(strings.Join(lines(wrong), "; "))
}

const maxComplaints = 20

func lines(wrong []jsonschema.Complaint) []string {
	var all []string
	for _, c := range wrong {
		all = append(all, cmp.Or(c.Path, "the value")+": "+c.Text)
	}
	sort.Strings(all)
	all = slices.Compact(all)
	if more := len(all) - maxComplaints; more > 0 {
		all = append(all[:maxComplaints], fmt.Sprintf("and %d more", more))
	}
	return all
}
