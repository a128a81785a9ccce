package jsonschema

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestComplaints(t *testing.T) {
	for _, c := range []struct{ schema, value, want string }{
		{`{"type":"integer"}`, `"80"`, `: got string, want integer`},
		{`{"type":["integer","null"]}`, `true`, `: got boolean, want integer or null`},
		{`{"properties":{"servers":{"items":{"properties":{"port":{"maximum":9}}}}}}`, `{"servers":[{"port":1},{"port":10}]}`, `servers[2].port: maximum: got 10, want 9`},
		{`{"required":["a","b"]}`, `{}`, `: missing properties 'a', 'b'`},
		{`{"additionalProperties":false,"properties":{"a":true}}`, `{"a":1,"b":2,"c":3}`, `: additional properties 'b', 'c' not allowed`},
		{`{"properties":{"a":false}}`, `{"a":1}`, `a: nothing is allowed here`},
		{`{"enum":["a",1,null]}`, `"b"`, `: value must be one of 'a', 1, null`},
		{`{"const":"it's"}`, `"b"`, `: value must be 'it's'`},
		{`{"anyOf":[{"type":"string"},{"type":"null"}]}`, `1`, `: got number, want string|: got number, want null`},
		{`{"oneOf":[{"type":"integer"},{"minimum":1}]}`, `1`, `: it fits the schemas 1 and 2 of 'oneOf', and must fit one`},
		{`{"not":{"type":"integer"}}`, `1`, `: it fits what 'not' forbids`},
		{`{"pattern":"^a"}`, `"b\n"`, `: 'b\n' does not match pattern '^a'`},
		{`{"uniqueItems":true}`, `[1,{"a":[1]},2,{"a":[1]}]`, `: items at 2 and 4 are equal`},
		{`{"contains":{"const":1},"minContains":2}`, `[1,2]`, `: contains: 1 items fit, want 2 or more`},
		{`{"multipleOf":0.1}`, `0.35`, `: multipleOf: got 0.35, want 0.1`},
		{`{"multipleOf":0.1}`, `0.3`, ``},
		{`{"dependentRequired":{"a":["b"]}}`, `{"a":1}`, `: properties 'b' required, if 'a' exists`},
		{`{"propertyNames":{"maxLength":1}}`, `{"ab":1}`, `: invalid propertyName 'ab'`},
		{`{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}`, `{"a":1,"b":1}`, `b: nothing is allowed here`},
		{`{"$defs":{"p":{"minimum":1}},"properties":{"a":{"$ref":"#/$defs/p"}}}`, `{"a":0}`, `a: minimum: got 0, want 1`},
	} {
		s, err := Compile(read(t, []byte(c.schema)), Options{})
		if err != nil {
			t.Errorf("%s: %v", c.schema, err)
			continue
		}
		wrong, err := s.Check(read(t, []byte(c.value)))
		var got []string
		for _, w := range wrong {
			got = append(got, w.Path+": "+w.Text)
		}
		if g := strings.Join(got, "|"); err != nil || g != c.want {
			t.Errorf("%s of %s:\n got %q, %v\nwant %q", c.schema, c.value, g, err, c.want)
		}
	}
}

func TestBadSchemas(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"nonsense"}`:                             `type: 'nonsense' is none of string, number, integer, boolean, object, array and null`,
		`{"properties":{"port":{"type":1}}}`:              `properties.port.type: 1 is none of string, number, integer, boolean, object, array and null`,
		`{"properties":[1]}`:                              `properties: it must be a table, not a list`,
		`{"properties":{"a":"x"}}`:                        `properties.a: a schema is a table, true or false, not 'x'`,
		`{"required":"a"}`:                                `required: it must be a list of names, not 'a'`,
		`{"required":[1]}`:                                `required: it must be a list of names, not a list`,
		`{"minLength":-1}`:                                `minLength: it must be a whole number from 0, not -1`,
		`{"minLength":1.5}`:                               `minLength: it must be a whole number from 0, not 1.5`,
		`{"minimum":"1"}`:                                 `minimum: it must be a number, not '1'`,
		`{"multipleOf":0}`:                                `multipleOf: it must be a number above 0, not 0`,
		`{"enum":"a"}`:                                    `enum: it must be a list, not 'a'`,
		`{"uniqueItems":"yes"}`:                           `uniqueItems: it must be true or false, not 'yes'`,
		`{"allOf":[]}`:                                    `allOf: it must be a list of schemas, not a list`,
		`{"anyOf":[{"not":3}]}`:                           `anyOf[1].not: a schema is a table, true or false, not 3`,
		`{"pattern":"("}`:                                 "pattern: error parsing regexp: missing closing ): `(`",
		`{"patternProperties":{"(":true}}`:                "patternProperties: error parsing regexp: missing closing ): `(`",
		`{"$ref":"#/$defs/none"}`:                         `$ref: "#/$defs/none": there is no "$defs"`,
		`{"$ref":"#none"}`:                                `$ref: "#none": there is no anchor "none"`,
		`{"items":{"$ref":"https://example.com/a.json"}}`: `items.$ref: "https://example.com/a.json" is not in this schema, and nothing else is loaded`,
		`{"$ref":"file:///etc/passwd"}`:                   `$ref: "file:///etc/passwd" is not in this schema, and nothing else is loaded`,
		`{"$schema":"http://json-schema.org/draft-04/schema#"}`: `$schema = "http://json-schema.org/draft-04/schema#": known are "http://json-schema.org/draft-07/schema#" and "https://json-schema.org/draft/2020-12/schema"`,
		`{"$defs":{"a":{"$id":"x"},"b":{"$id":"x"}}}`:           `$defs.b.$id: "x" is there twice`,
		`3`:  `the schema: a schema is a table, true or false, not 3`,
		`[]`: `the schema: a schema is a table, true or false, not a list`,
	} {
		if _, err := Compile(read(t, []byte(schema)), Options{}); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", schema, err, want)
		}
	}
}

// TestHostileSchemas holds schemas that would run for ever.
func TestHostileSchemas(t *testing.T) {
	var doubling strings.Builder
	doubling.WriteString(`{"$defs":{"d0":{"type":"string"}`)
	for i := 1; i < 60; i++ {
		fmt.Fprintf(&doubling, `,"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}`, i, i-1, i-1)
	}
	doubling.WriteString(`},"$ref":"#/$defs/d59"}`)
	for schema, want := range map[string]string{
		`{"$ref":"#"}`: "the schema refers to itself without end",
		`{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"anyOf":[{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"}`: "the schema refers to itself without end",
		doubling.String(): "checking it takes ", // more than 1000000 steps, or longer than 10s on a slow machine
	} {
		s, err := Compile(read(t, []byte(schema)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := s.Check("x"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %s", schema, err, want)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%.60s took %s", schema, d)
		}
	}
	deep := any(true)
	for range maxDepth + 2 {
		deep = map[string]any{"not": deep}
	}
	if _, err := Compile(deep, Options{}); err == nil || !strings.Contains(err.Error(), "nested deeper than 200 levels") {
		t.Errorf("a deep schema: %v", err)
	}
	s, err := Compile(map[string]any{"items": map[string]any{"$ref": "#"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	list := any(int64(1))
	for range 100 {
		list = []any{list}
	}
	if wrong, err := s.Check(list); err != nil || wrong != nil {
		t.Errorf("a schema that follows its value: %v, %v", wrong, err)
	}
}

func TestEmptyTables(t *testing.T) {
	empty := map[string]any{}
	schema := map[string]any{
		"required": empty, "enum": []any{map[string]any{"a": empty}},
		"properties": map[string]any{"a": map[string]any{"$ref": "#/$defs/list"}}, "$defs": map[string]any{"list": map[string]any{"type": "array"}},
	}
	s, err := Compile(schema, Options{Tables: true})
	if err != nil {
		t.Fatal(err)
	}
	if wrong, err := s.Check(map[string]any{"a": empty}); err != nil || wrong != nil {
		t.Errorf("got %v, %v", wrong, err)
	}
	strict, err := Compile(map[string]any{"type": "array"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if wrong, err := strict.Check(empty); err != nil || len(wrong) != 1 {
		t.Errorf("outside Lua: %v, %v", wrong, err)
	}
}

func TestFormats(t *testing.T) {
	for name, c := range map[string]struct{ good, bad []string }{
		"date":                  {[]string{"2026-01-31"}, []string{"2026-02-30", "26-01-01", ""}},
		"time":                  {[]string{"12:00:00Z", "12:00:00.5+02:00", "23:59:60Z"}, []string{"12:00", "12:00:00", "24:00:00Z", "12:00:60Z"}},
		"date-time":             {[]string{"2026-01-31T12:00:00Z", "2026-01-31t12:00:00z"}, []string{"2026-01-31 12:00:00Z", "2026-13-01T00:00:00Z"}},
		"duration":              {[]string{"P1DT2H", "PT5M", "P2W", "P1Y2M3D"}, []string{"P", "PT", "1D", "P1H", "P1DT"}},
		"email":                 {[]string{"a.b+c@example.com", `"a b"@example.com`, "a@[127.0.0.1]"}, []string{"a", "a@", ".a@b.c", "a..b@c.d", "a b@c.d", "a@-b"}},
		"hostname":              {[]string{"web-01.example.com", "a"}, []string{"-a", "a-", "a_b", "", "a..b", strings.Repeat("a", 64)}},
		"ipv4":                  {[]string{"127.0.0.1"}, []string{"256.0.0.1", "1.2.3", "::1", "01.2.3.4"}},
		"ipv6":                  {[]string{"::1", "2001:db8::1"}, []string{"1.2.3.4", "fe80::1%eth0", ":::"}},
		"uri":                   {[]string{"https://example.com/a?b#c", "urn:x:y"}, []string{"/a", "https://a b", "a"}},
		"uri-reference":         {[]string{"/a", "#x"}, []string{"a b", `\\x`}},
		"uri-template":          {[]string{"/a/{b}"}, []string{"/a/{b", "a}"}},
		"uuid":                  {[]string{"123e4567-e89b-12d3-a456-426614174000"}, []string{"123e4567e89b12d3a456426614174000"}},
		"regex":                 {[]string{"^a$"}, []string{"("}},
		"json-pointer":          {[]string{"", "/a/~0~1"}, []string{"a", "/~2"}},
		"relative-json-pointer": {[]string{"0", "1/a", "2#"}, []string{"", "/a", "01"}},
		"semver":                {[]string{"1.2.3", "1.0.0-rc.1+x"}, []string{"1.2", "01.2.3"}},
		"no-such-format":        {[]string{"anything"}, nil},
	} {
		for _, s := range c.good {
			if why := format(name, s); why != "" {
				t.Errorf("%s: %q is refused: %s", name, s, why)
			}
		}
		for _, s := range c.bad {
			if format(name, s) == "" {
				t.Errorf("%s: %q is taken", name, s)
			}
		}
	}
}
