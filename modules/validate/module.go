// Package validate is the module validate: checks of values that answer ok and
// a message, and never raise over what they are asked to check.
package validate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/data"
	"github.com/sloth-runner/sloth/modules/log"
)

const returns = "ok, message"

// Module describes the module validate.
func Module() modules.Module {
	return modules.Module{
		Name:    "validate",
		Summary: "Check values; every function gives true, or false and what is wrong.",
		Funcs: []modules.Func{
			{
				Name: "required", Summary: "Check that a table has all of these keys, and no empty text there.",
				Example: `local ok, message = validate.required({ host = "a" }, { "host" })`, Returns: returns,
				New: func() any { return &required{} },
			},
			{
				Name: "type", Summary: "Check the type of a value.",
				Example: `local ok, message = validate.type(8080, "integer")`, Returns: returns,
				New: func() any { return &kind{} },
			},
			{
				Name: "range", Summary: "Check that a number is neither too small nor too large.",
				Example: `local ok, message = validate.range(8080, 1, 65535)`, Returns: returns,
				New: func() any { return &between{} },
			},
			{
				Name: "matches", Summary: "Check that a text matches a regular expression (RE2).",
				Example: `local ok, message = validate.matches("web-01", "^web-[0-9]+$")`, Returns: returns,
				New: func() any { return &matches{} },
			},
			{
				Name: "one_of", Summary: "Check that a value is one of a list.",
				Example: `local ok, message = validate.one_of("prod", { "dev", "prod" })`, Returns: returns,
				New: func() any { return &oneOf{} },
			},
			{
				Name: "schema", Summary: "Check a value against a JSON Schema.",
				Example: `local ok, message = validate.schema({ port = 80 }, { required = { "port" } })`, Returns: returns,
				New: func() any { return &schema{} },
			},
		},
	}
}

// verdict is what every check returns.
func verdict(problem string) []any {
	if problem == "" {
		return []any{true}
	}
	return []any{false, problem}
}

func name(given string) string {
	if given == "" {
		return "the value"
	}
	return given
}

type required struct {
	Value any      `lua:"value,primary" alias:"table" pos:"1" doc:"Table to look into"`
	Keys  []string `lua:"keys,required" pos:"2" doc:"Keys, or paths such as \"db.host\""`
}

// Query names everything that is missing.
func (r *required) Query(context.Context, facts.Viewer) ([]any, error) {
	var missing []string
	for _, k := range r.Keys {
		v, err := data.Find(r.Value, []any{k})
		if err == nil && v == nil {
			v, err = data.Find(r.Value, k)
		}
		if err != nil {
			return nil, err
		}
		if text, ok := v.(string); v == nil || ok && strings.TrimSpace(text) == "" {
			missing = append(missing, k)
		}
	}
	if missing == nil {
		return verdict(""), nil
	}
	return verdict("missing: " + strings.Join(missing, ", ")), nil
}

type kind struct {
	Value any    `lua:"value,primary" pos:"1" doc:"Value to look at"`
	Type  string `lua:"type,required" pos:"2" enum:"string,number,integer,boolean,table,list,function,secret,nil" doc:"What it has to be"`
	Name  string `lua:"name" pos:"3" doc:"What the message calls it"`
}

// Query compares the types. An empty table is a list too, and a number without
// a fraction is an integer.
func (k *kind) Query(context.Context, facts.Viewer) ([]any, error) {
	is := typeOf(k.Value)
	empty, isMap := k.Value.(map[string]any)
	switch {
	case is == k.Type,
		k.Type == "number" && is == "integer",
		k.Type == "table" && is == "list",
		k.Type == "list" && isMap && len(empty) == 0:
		return verdict(""), nil
	}
	return verdict(fmt.Sprintf("%s must be %s, not %s", name(k.Name), article(k.Type), article(is))), nil
}

func article(kind string) string {
	switch kind {
	case "nil":
		return kind
	case "integer":
		return "an integer"
	}
	return "a " + kind
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case string:
		return "string"
	case bool:
		return "boolean"
	case int64, int:
		return "integer"
	case float64:
		if v == math.Trunc(v) && !math.IsInf(v, 0) {
			return "integer"
		}
		return "number"
	case []any:
		return "list"
	case modules.Callback:
		return "function"
	case modules.Secret:
		return "secret"
	}
	return "table"
}

type between struct {
	Value any      `lua:"value,primary" pos:"1" doc:"Number to look at"`
	Min   *float64 `lua:"min" pos:"2" doc:"Smallest that is right"`
	Max   *float64 `lua:"max" pos:"3" doc:"Largest that is right"`
	Name  string   `lua:"name" pos:"4" doc:"What the message calls it"`
}

// Query compares; text is no number.
func (b *between) Query(context.Context, facts.Viewer) ([]any, error) {
	var n float64
	switch v := b.Value.(type) {
	case int64:
		n = float64(v)
	case float64:
		n = v
	default:
		return verdict(fmt.Sprintf("%s must be a number, not %s", name(b.Name), article(typeOf(b.Value)))), nil
	}
	switch {
	case math.IsNaN(n):
		return verdict(name(b.Name) + " is not a number"), nil
	case b.Min != nil && n < *b.Min:
		return verdict(fmt.Sprintf("%s is %v, and must be at least %v", name(b.Name), log.Text(b.Value), *b.Min)), nil
	case b.Max != nil && n > *b.Max:
		return verdict(fmt.Sprintf("%s is %v, and must be at most %v", name(b.Name), log.Text(b.Value), *b.Max)), nil
	}
	return verdict(""), nil
}

type matches struct {
	Value   any    `lua:"value,primary" alias:"text" pos:"1" doc:"Text to look at"`
	Pattern string `lua:"pattern,required" pos:"2" doc:"Regular expression"`
	Name    string `lua:"name" pos:"3" doc:"What the message calls it"`
}

// Query matches anywhere in the text; ^ and $ tie the pattern to its ends.
func (m *matches) Query(context.Context, facts.Viewer) ([]any, error) {
	re, err := regexp.Compile(m.Pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	text, shown := "", ""
	switch v := m.Value.(type) {
	case string:
		text, shown = v, fmt.Sprintf(" %.100q", v)
	case modules.Secret:
		text = v.Reveal()
	case int64, float64:
		text = log.Text(v)
		shown = " " + text
	default:
		return verdict(fmt.Sprintf("%s must be a string, not %s", name(m.Name), article(typeOf(m.Value)))), nil
	}
	if re.MatchString(text) {
		return verdict(""), nil
	}
	return verdict(fmt.Sprintf("%s%s does not match %s", name(m.Name), shown, m.Pattern)), nil
}

type oneOf struct {
	Value  any    `lua:"value,primary" pos:"1" doc:"Value to look at"`
	Values []any  `lua:"values,required" pos:"2" doc:"What it may be"`
	Name   string `lua:"name" pos:"3" doc:"What the message calls it"`
}

// Query compares texts, numbers and booleans.
func (o *oneOf) Query(context.Context, facts.Viewer) ([]any, error) {
	is := flat(o.Value)
	known := make([]string, len(o.Values))
	for i, v := range o.Values {
		if is != nil && is == flat(v) {
			return verdict(""), nil
		}
		known[i] = log.Text(v)
	}
	return verdict(fmt.Sprintf("%s is %.100s, and must be one of %s", name(o.Name), log.Text(o.Value), strings.Join(known, ", "))), nil
}

// flat is v in a form that == can compare, or nil.
func flat(v any) any {
	switch v := v.(type) {
	case string, bool, float64:
		return v
	case int64:
		return float64(v)
	case modules.Secret:
		return v.Reveal()
	}
	return nil
}

type schema struct {
	Value  any `lua:"value" pos:"1" doc:"What to check"`
	Schema any `lua:"schema,required" pos:"2" doc:"The schema, as a table or as JSON text"`
}

// Query checks; a schema that is none raises.
func (s *schema) Query(context.Context, facts.Viewer) ([]any, error) {
	err := data.Validate(s.Value, s.Schema)
	var wrong data.Mismatch
	if errors.As(err, &wrong) {
		return verdict(wrong.Error()), nil
	}
	return verdict(""), err
}
