package jsonschema

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	google "github.com/google/jsonschema-go/jsonschema"
)

// read decodes as the module does: whole numbers are int64.
func read(t testing.TB, raw []byte) any {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return numbers(v)
}

func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, _ := v.Float64()
		if f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
			return int64(f)
		}
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

// elsewhere are cases of the official suite that need a schema from elsewhere.
// Compile must refuse each of them.
var elsewhere = []string{
	"remote ref, containing refs itself",
	"validate definition against metaschema",
	"strict-tree schema, guards against misspelled properties",
	"tests for implementation dynamic anchor and reference link",
	"$ref and $dynamicAnchor are independent of order - $defs first",
	"$ref and $dynamicAnchor are independent of order - $ref first",
	"$ref to $dynamicRef finds detached $dynamicAnchor",
}

// TestSuite runs the official test suite as the module jsonschema-go carries it.
func TestSuite(t *testing.T) {
	var _ google.Schema // keeps the module that brings the suite
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/jsonschema-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "jsonschema", "testdata")
	for draft, name := range map[string]string{"draft7": draft7, "draft2020-12": draft20} {
		files, err := filepath.Glob(filepath.Join(dir, draft, "*.json"))
		if err != nil || len(files) < 30 {
			t.Fatalf("%s: %d files, %v", draft, len(files), err)
		}
		for _, file := range files {
			if filepath.Base(file) == "refRemote.json" {
				continue // nothing is loaded from elsewhere
			}
			t.Run(draft+"/"+strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) { suiteFile(t, file, name) })
		}
	}
}

func suiteFile(t *testing.T, file, draft string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var groups []struct {
		Description string
		Schema      json.RawMessage
		Tests       []struct {
			Description string
			Data        json.RawMessage
			Valid       bool
		}
	}
	if err := json.Unmarshal(raw, &groups); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		schema := read(t, g.Schema)
		if m, ok := schema.(map[string]any); ok && m["$schema"] == nil {
			m["$schema"] = draft
		}
		s, err := Compile(schema, Options{})
		if slices.Contains(elsewhere, g.Description) {
			if err == nil || !strings.Contains(err.Error(), "nothing else is loaded") {
				t.Errorf("%s: got %v", g.Description, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", g.Description, err)
			continue
		}
		for _, c := range g.Tests {
			wrong, err := s.Check(read(t, c.Data))
			if err != nil || (len(wrong) == 0) != c.Valid {
				t.Errorf("%s: %s: valid is %v, got %v, %v", g.Description, c.Description, c.Valid, wrong, err)
			}
		}
	}
}
