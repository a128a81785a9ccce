package jsonschema

import (
	"encoding/json"
	"testing"
)

// FuzzCheck looks for schemas and values that end the program.
func FuzzCheck(f *testing.F) {
	for schema, value := range map[string]string{
		`{"type":["object"],"required":["a"],"properties":{"a":{"$ref":"#/x/y"}},"x":{"y":{"minimum":1,"multipleOf":0.5}}}`:                  `{"a":2}`,
		`{"$id":"http://a/b","$defs":{"c":{"$anchor":"d","items":[true,{"$dynamicRef":"#e"}]},"f":{"$dynamicAnchor":"e"}},"$ref":"#d"}`:      `[1,[2]]`,
		`{"$schema":"http://json-schema.org/draft-07/schema#","dependencies":{"a":["b"],"c":{"not":{}}},"if":{"const":{}},"then":false}`:     `{"a":1}`,
		`{"patternProperties":{"^x":{"format":"date-time"}},"unevaluatedProperties":false,"contains":{"enum":[null]},"unevaluatedItems":{}}`: `{"x1":"2026-01-01T00:00:00Z","y":[null]}`,
	} {
		f.Add(schema, value, true)
		f.Add(schema, value, false)
	}
	f.Fuzz(func(t *testing.T, schema, value string, tables bool) {
		if !json.Valid([]byte(schema)) || !json.Valid([]byte(value)) {
			return
		}
		s, err := Compile(read(t, []byte(schema)), Options{Tables: tables})
		if err != nil {
			return
		}
		_, _ = s.Check(read(t, []byte(value)))
	})
}
