package inventory

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// document is a parsed YAML or JSON file. Types are those of YAML 1.1, as
// Ansible reads it.
type document struct {
	file  *file
	root  *yaml.Node // nil when the file is empty
	probs *problems

	values   map[*yaml.Node]any // of nodes that have an anchor
	open     map[*yaml.Node]bool
	visits   int // nodes visited, those behind an alias every time
	weights  map[*yaml.Node]int
	exploded bool
}

// parseDocument reads the one document of a file. An error is a *Problem.
func parseDocument(f *file, probs *problems) (*document, error) {
	d := &document{file: f, probs: probs}
	data := bytes.TrimPrefix(f.data, []byte("\xef\xbb\xbf"))
	if t := bytes.TrimLeft(data, " \t\r\n"); len(t) > 0 && (t[0] == '{' || t[0] == '[') && json.Valid(data) {
		d.root = parseJSON(data)
		return d, nil
	}
	root, err := decodeYAML(data)
	if err != nil {
		return nil, d.syntaxProblem(data, err)
	}
	d.root = root
	if bytes.IndexByte(data, '&') >= 0 && root != nil {
		d.checkAnchors(root, map[string]int{})
	}
	return d, nil
}

// checkAnchors refuses two anchors of one name, as Ansible does: an alias
// between them means another value than one behind both.
func (d *document) checkAnchors(n *yaml.Node, lines map[string]int) {
	if n.Anchor != "" && n.Kind != yaml.AliasNode {
		if first := lines[n.Anchor]; first != 0 {
			d.fail(n, fmt.Sprintf("the first one is in line %d; give this one another name", first), "the anchor &%s is defined twice", n.Anchor)
			return
		}
		lines[n.Anchor] = n.Line
	}
	for _, c := range n.Content {
		d.checkAnchors(c, lines)
	}
}

var errSecondDocument = errors.New("the file holds more than one YAML document")

func decodeYAML(data []byte) (root *yaml.Node, err error) {
	// A parser of foreign bytes that panics must not take the program along.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		return &second, errSecondDocument
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], nil
}

func (d *document) at(line, col int) pos { return pos{d.file, int32(line), int32(col)} }

// offset is the position of the byte at i.
func (d *document) offset(data []byte, i int) pos {
	start := lineStart(data, i)
	return d.at(bytes.Count(data[:start], []byte("\n"))+1, utf8.RuneCount(data[start:i])+1)
}

func (d *document) pos(n *yaml.Node) pos { return d.at(n.Line, n.Column) }

func (d *document) fail(n *yaml.Node, hint, format string, args ...any) {
	d.probs.add(d.pos(n).problem(hint, format, args...))
}

// maxVisits bounds what aliases may expand to, beyond what the file's size
// explains.
const maxVisits = 1_000_000

// visit counts n and says whether going on is allowed.
func (d *document) visit(n *yaml.Node, weight int) bool {
	if d.exploded {
		return false
	}
	if d.visits += weight; d.visits > len(d.file.data)+maxVisits {
		d.exploded = true
		d.fail(n, "this looks like an alias bomb; write the values out", "aliases in this file stand for more than %d values", maxVisits)
		return false
	}
	return true
}

// resolve follows an alias.
func (d *document) resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// pair is an entry of a map.
type pair struct {
	key, value *yaml.Node
	name       string // the key as text
	raw        any    // the key as a value
}

// pairs gives the entries of a map, those merged in with << first. It reports
// duplicate keys and keys that are not scalars.
func (d *document) pairs(n *yaml.Node) []pair {
	n = d.resolve(n)
	if n.Anchor == "" {
		return d.entries(n)
	}
	if d.open[n] {
		d.failLoop(n)
		return nil
	}
	d.enter(n)
	defer delete(d.open, n)
	return d.entries(n)
}

func (d *document) failLoop(n *yaml.Node) {
	d.fail(n, "write the value out", "the value &%s contains itself", n.Anchor)
}

func (d *document) entries(n *yaml.Node) []pair {
	if !d.visit(n, 1) {
		return nil
	}
	var merged []pair
	own := make([]pair, 0, len(n.Content)/2)
	seen := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if isMerge(k) {
			merged = append(merged, d.merge(v)...)
			continue
		}
		raw, ok := d.key(k)
		if !ok {
			continue
		}
		p := pair{key: k, value: v, name: keyText(raw), raw: raw}
		id := p.name
		if _, text := raw.(string); !text {
			id = fmt.Sprintf("\x00%T %s", raw, id) // 1 and "1" are two keys
		}
		if first := seen[id]; first != nil {
			d.fail(k, fmt.Sprintf("the first one is in line %d; join them, or remove one", first.Line), "duplicate key %q", p.name)
			continue
		}
		seen[id] = k
		own = append(own, p)
		if !d.visit(k, 1) {
			return nil
		}
	}
	if len(merged) == 0 {
		return own
	}
	return join(merged, own)
}

// join lays own over merged, keeping the order in which names came first.
func join(merged, own []pair) []pair {
	at := map[any]int{}
	var out []pair
	for _, list := range [][]pair{merged, own} {
		for _, p := range list {
			if i, ok := at[p.raw]; ok {
				out[i] = p
				continue
			}
			at[p.raw] = len(out)
			out = append(out, p)
		}
	}
	return out
}

func isMerge(k *yaml.Node) bool {
	return k.Kind == yaml.ScalarNode && k.Value == "<<" && k.Style&^yaml.FlowStyle == 0
}

// merge gives what << brings in: a map, or a list of maps of which the first
// wins.
func (d *document) merge(v *yaml.Node) []pair {
	n := d.resolve(v)
	switch n.Kind {
	case yaml.MappingNode:
		return d.pairs(n)
	case yaml.SequenceNode:
		var out []pair
		for i := len(n.Content) - 1; i >= 0; i-- {
			if m := d.resolve(n.Content[i]); m.Kind == yaml.MappingNode {
				out = append(out, d.pairs(m)...)
			} else {
				d.fail(n.Content[i], "name a map: <<: *defaults", "<< cannot merge %s", kindName(m))
			}
		}
		return out
	}
	d.fail(v, "name a map: <<: *defaults", "<< cannot merge %s", kindName(n))
	return nil
}

func (d *document) key(k *yaml.Node) (any, bool) {
	n := d.resolve(k)
	if n.Kind != yaml.ScalarNode {
		d.fail(k, "is a quote missing around {{ … }}?", "a key must be a name, not %s", kindName(n))
		return nil, false
	}
	v, ok := d.scalar(n)
	if e, is := v.(Encrypted); is {
		if n.Style&yaml.TaggedStyle == 0 || n.Tag == "!!str" {
			return e.plain, true // the keys of an encrypted file are no secrets
		}
		d.fail(k, "", "a key cannot be a %s value", e.kind)
		return nil, false
	}
	return v, ok
}

func (d *document) enter(n *yaml.Node) {
	if d.open == nil {
		d.open = map[*yaml.Node]bool{}
	}
	d.open[n] = true
}

// value turns a node into a value. Nodes behind an alias are converted once
// and shared, but count every time.
func (d *document) value(n *yaml.Node) any {
	if n.Kind == yaml.AliasNode {
		n = d.resolve(n)
		if v, ok := d.values[n]; ok {
			d.visit(n, d.weights[n])
			return v
		}
	}
	if n.Anchor == "" {
		return d.convert(n)
	}
	if d.open[n] {
		d.failLoop(n)
		return nil
	}
	before := d.visits
	d.enter(n)
	v := d.convert(n)
	delete(d.open, n)
	if d.values == nil {
		d.values, d.weights = map[*yaml.Node]any{}, map[*yaml.Node]int{}
	}
	d.values[n], d.weights[n] = v, d.visits-before
	return v
}

func (d *document) convert(n *yaml.Node) any {
	if n.Kind != yaml.MappingNode && !d.visit(n, 1) {
		return nil
	}
	if n.Style&yaml.TaggedStyle != 0 && n.Kind != yaml.ScalarNode {
		switch n.Tag {
		case "!!map", "!!seq":
		case "!unsafe":
			return unsafe(d.collection(n))
		default:
			d.failTag(n)
			return nil
		}
	}
	return d.collection(n)
}

func (d *document) collection(n *yaml.Node) any {
	switch n.Kind {
	case yaml.ScalarNode:
		v, _ := d.scalar(n)
		return v
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			out = append(out, d.value(c))
		}
		return out
	case yaml.MappingNode:
		list := d.entries(n)
		out := &dict{keys: make([]any, 0, len(list)), vals: make([]any, 0, len(list))}
		for _, p := range list {
			out.keys = append(out.keys, p.raw)
			out.vals = append(out.vals, d.value(p.value))
		}
		return out
	}
	return nil
}

func (d *document) failTag(n *yaml.Node) {
	d.fail(n, "the tags sloth knows are !vault, !secret, !unsafe and the standard ones such as !!str", "unknown tag %s", n.Tag)
}

// scalar gives a scalar its type.
func (d *document) scalar(n *yaml.Node) (any, bool) {
	if n.Style&yaml.TaggedStyle == 0 {
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			return d.text(n.Value), true
		}
		if d.probs != nil {
			if text := reserved(n.Value); text != "" {
				d.fail(n, "put it in quotes", "%s", text)
				return nil, false
			}
		}
		return d.text(resolvePlain(n.Value)), true
	}
	var v any
	ok := true
	switch n.Tag {
	case "!vault", "!vault-encrypted":
		v = d.encrypted(n, "vault")
	case "!secret":
		v = d.encrypted(n, "secret")
	case "!unsafe":
		v = unsafeText(n.Value)
	case "!!str":
		v = d.text(n.Value)
	case "!!null":
		v = nil
	case "!!bool":
		v, ok = yamlBools[strings.ToLower(n.Value)]
	case "!!int":
		v, ok = yamlInt(n.Value)
	case "!!float":
		if v, ok = yamlFloat(n.Value); !ok {
			if v, ok = yamlInt(n.Value); ok {
				v, ok = asFloat(v)
			}
		}
	case "!!timestamp":
		v, ok = yamlTime(n.Value)
	case "!!binary":
		b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(n.Value), ""))
		v, ok = string(b), err == nil
	default:
		d.failTag(n)
		return nil, false
	}
	if !ok && d.probs != nil {
		d.fail(n, "", "%q is no value of type %s", n.Value, n.Tag)
	}
	return v, ok
}

// encrypted makes the value of !vault and !secret.
func (d *document) encrypted(n *yaml.Node, tag string) any {
	text := n.Value
	if tag == "secret" {
		text = strings.TrimSpace(text)
	}
	late := d.file != nil && d.file.late
	e, err := d.file.sealed(tag, text, late)
	if err != nil {
		p := d.pos(n).problem("", "the !%s value cannot be opened: %v", tag, err)
		p.Excerpt = "" // somebody may have written the secret itself
		d.probs.add(p)
	}
	return e
}

// text is a scalar's value; texts of an encrypted file are secrets.
func (d *document) text(v any) any {
	s, ok := v.(string)
	if !ok || d.file == nil || !d.file.hidden {
		return v
	}
	return Encrypted{kind: "vault", plain: s, open: true}
}

// learn tells of the texts in v.
func (f *file) learn(v any) {
	switch v := v.(type) {
	case Encrypted:
		f.secrets.Learn(v.plain)
	case []any:
		for _, item := range v {
			f.learn(item)
		}
	case *dict:
		for _, item := range v.vals {
			f.learn(item)
		}
	}
}

// kindName names what a node is, with its article.
func kindName(n *yaml.Node) string {
	if n == nil {
		return "nothing"
	}
	switch n.Kind {
	case yaml.MappingNode:
		if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!map" {
			break
		}
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return kindName(n.Alias)
	case yaml.ScalarNode:
		if n.Style&yaml.TaggedStyle == 0 {
			if n.Style&^yaml.FlowStyle != 0 {
				return "text"
			}
			return describe(resolvePlain(n.Value))
		}
		switch n.Tag { // as JSON's values are
		case "!!int", "!!float", "!!bool", "!!null":
			if v, ok := (&document{}).scalar(n); ok {
				return describe(v)
			}
		}
	}
	return "a value tagged " + n.Tag
}
