package data

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

type parseYAML struct {
	Text modules.Text `lua:"text,required,primary" alias:"yaml" pos:"1" doc:"YAML text"`
	All  bool         `lua:"all" doc:"Gives a list of all documents in the text, instead of its only one"`
}

// Query reads the text.
func (p *parseYAML) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	return read(ctx, p.Text, func(text string) (any, error) {
		docs, err := documents(text)
		if err != nil {
			return nil, err
		}
		list := make([]any, len(docs))
		r := yamlReader{left: maxNodes}
		for i, d := range docs {
			if list[i], err = r.value(d, 0); err != nil {
				return nil, err
			}
		}
		switch {
		case p.All:
			return list, nil
		case len(list) > 1:
			return nil, fmt.Errorf("the text holds %d documents; say all = true to get a list of them", len(list))
		case len(list) == 0:
			return nil, nil
		}
		return list[0], nil
	})
}

type toYAML struct {
	Value  any `lua:"value,primary" pos:"1" doc:"What to write"`
	Indent int `lua:"indent" doc:"Blanks for each level"`
}

// Query writes the value.
func (t *toYAML) Query(context.Context, facts.Viewer) ([]any, error) {
	return write(t.Value, func(v any) (string, error) { return encodeYAML(v, t.Indent) })
}

func encodeYAML(v any, indent int) (string, error) {
	if indent < 1 || indent > 9 {
		return "", fmt.Errorf("indent = %d: it must be between 1 and 9", indent)
	}
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(indent)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return b.String(), enc.Close()
}

type yamlToJSON struct {
	Text   modules.Text `lua:"text,required,primary" alias:"yaml" pos:"1" doc:"YAML text"`
	Indent int          `lua:"indent" doc:"Blanks for each level; 0 writes one line"`
}

// Query turns the text into JSON.
func (y *yamlToJSON) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	return read(ctx, y.Text, func(text string) (any, error) {
		docs, err := documents(text)
		if err != nil {
			return nil, err
		}
		if len(docs) > 1 {
			return nil, fmt.Errorf("the text holds %d documents, JSON has one", len(docs))
		}
		if len(docs) == 0 {
			return "null", nil
		}
		var b strings.Builder
		r := yamlReader{left: maxNodes}
		if err := r.json(&b, docs[0], 0); err != nil {
			return nil, err
		}
		if y.Indent > 0 {
			return encodeIndent(b.String(), y.Indent)
		}
		return b.String(), nil
	})
}

func encodeIndent(text string, indent int) (string, error) {
	if indent > 16 {
		return "", fmt.Errorf("indent = %d: it must be between 0 and 16", indent)
	}
	return encodeJSON(json.RawMessage(text), indent)
}

type jsonToYAML struct {
	Text   modules.Text `lua:"text,required,primary" alias:"json" pos:"1" doc:"JSON text"`
	Indent int          `lua:"indent" doc:"Blanks for each level"`
}

// Query turns the text into YAML.
func (j *jsonToYAML) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	return read(ctx, j.Text, func(text string) (any, error) {
		if _, err := decodeJSON(text); err != nil {
			return nil, err
		}
		n, err := jsonNode(json.NewDecoder(strings.NewReader(text)))
		if err != nil {
			return nil, err
		}
		return encodeYAML(n, j.Indent)
	})
}

// jsonNode reads JSON as a YAML node, which keeps the order of keys.
func jsonNode(dec *json.Decoder) (*yaml.Node, error) {
	dec.UseNumber()
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	n := &yaml.Node{}
	switch t := t.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if t == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for dec.More() {
			child, err := jsonNode(dec)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err = dec.Token() // the closing bracket
		return n, err
	case json.Number:
		v, _ := fromJSON(t).(float64)
		if i, ok := fromJSON(t).(int64); ok {
			return n, n.Encode(i)
		}
		return n, n.Encode(v)
	default:
		return n, n.Encode(t)
	}
}

// documents parses text into YAML's own tree, which is as large as the text:
// aliases are not followed yet.
func documents(text string) (docs []*yaml.Node, err error) {
	// The parser is known to panic on some broken texts.
	defer func() {
		if p := recover(); p != nil {
			docs, err = nil, fmt.Errorf("this is no YAML: %v", p)
		}
	}()
	if err := nesting(text); err != nil {
		return nil, err
	}
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
		}
		docs = append(docs, &n)
	}
}

// nesting refuses what would nest the parser too deeply: open brackets, and
// "- - - -" on one line.
func nesting(text string) error {
	depth := 0
	line := 1
	dashes := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		case '\n':
			line++
			dashes = 0
		case '-', '?':
			if i+1 < len(text) && text[i+1] == ' ' {
				dashes++
			}
		}
		if depth > 10*maxDepth || dashes > 10*maxDepth {
			return fmt.Errorf("line %d: nested deeper than %d levels", line, maxDepth)
		}
	}
	return nil
}

// yamlReader turns nodes into values, and follows no more aliases than left
// allows: a few lines of YAML can name each other into billions.
type yamlReader struct{ left int }

func (r *yamlReader) enter(n *yaml.Node, depth int) error {
	if r.left--; r.left < 0 {
		return fmt.Errorf("line %d: with all its aliases the text holds more than %d values", n.Line, maxNodes)
	}
	if depth > maxDepth {
		return fmt.Errorf("line %d: nested deeper than %d levels", n.Line, maxDepth)
	}
	return nil
}

func (r *yamlReader) value(n *yaml.Node, depth int) (any, error) {
	if err := r.enter(n, depth); err != nil {
		return nil, err
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return r.value(n.Content[0], depth)
	case yaml.AliasNode:
		return r.value(n.Alias, depth+1)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			v, err := r.value(c, depth+1)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case yaml.MappingNode:
		out := map[string]any{}
		err := r.pairs(n, depth, func(key string, v *yaml.Node) error {
			value, err := r.value(v, depth+1)
			out[key] = value
			return err
		})
		return out, err
	}
	return scalar(n)
}

// pairs calls each key once, those that "<<" merges in after a mapping's own.
func (r *yamlReader) pairs(n *yaml.Node, depth int, each func(string, *yaml.Node) error) error {
	return r.own(n, depth, map[string]int{}, each)
}

func (r *yamlReader) own(n *yaml.Node, depth int, seen map[string]int, each func(string, *yaml.Node) error) error {
	if err := r.enter(n, depth); err != nil {
		return err
	}
	if n.Kind == yaml.AliasNode {
		return r.own(n.Alias, depth+1, seen, each)
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: only a mapping can be merged with <<", n.Line)
	}
	here := map[string]bool{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Tag == "!!merge" {
			if v.Kind == yaml.SequenceNode {
				merges = append(merges, v.Content...)
			} else {
				merges = append(merges, v)
			}
			continue
		}
		key, err := r.key(k)
		if err != nil {
			return err
		}
		if here[key] {
			return fmt.Errorf("line %d: the key %q is there twice, first on line %d", k.Line, key, seen[key])
		}
		here[key] = true
		if _, merged := seen[key]; merged {
			continue // a nearer mapping says something else
		}
		seen[key] = k.Line
		if err := each(key, v); err != nil {
			return err
		}
	}
	for _, m := range merges {
		if err := r.own(m, depth+1, seen, each); err != nil {
			return err
		}
	}
	return nil
}

func (r *yamlReader) key(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return "", fmt.Errorf("line %d: a key must be plain text", n.Line)
	}
	return n.Value, nil
}

func scalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		return b, decode(n, &b)
	case "!!int":
		var i int64
		if n.Decode(&i) == nil && i >= -1<<53 && i <= 1<<53 {
			return i, nil
		}
		var f float64
		return f, decode(n, &f)
	case "!!float":
		var f float64
		err := decode(n, &f)
		return whole(f), err
	case "!!binary":
		var s string
		return s, decode(n, &s)
	}
	return n.Value, nil // text, and dates as they are written
}

func decode[T any](n *yaml.Node, into *T) error {
	if err := n.Decode(into); err != nil {
		return fmt.Errorf("line %d: %q is no %s", n.Line, n.Value, strings.TrimPrefix(n.ShortTag(), "!!"))
	}
	return nil
}

// json writes a node as JSON, keys in their order.
func (r *yamlReader) json(b *strings.Builder, n *yaml.Node, depth int) error {
	if err := r.enter(n, depth); err != nil {
		return err
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return r.json(b, n.Content[0], depth)
	case yaml.AliasNode:
		return r.json(b, n.Alias, depth+1)
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := r.json(b, c, depth+1); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case yaml.MappingNode:
		first := true
		b.WriteByte('{')
		err := r.pairs(n, depth, func(key string, v *yaml.Node) error {
			if !first {
				b.WriteByte(',')
			}
			first = false
			text, err := encodeJSON(key, 0)
			if err != nil {
				return err
			}
			b.WriteString(text + ":")
			return r.json(b, v, depth+1)
		})
		b.WriteByte('}')
		return err
	}
	v, err := scalar(n)
	if err != nil {
		return err
	}
	if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return fmt.Errorf("line %d: JSON has no %s", n.Line, n.Value)
	}
	text, err := encodeJSON(v, 0)
	b.WriteString(text)
	return err
}
