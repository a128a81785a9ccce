package inventory

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// parseJSON turns valid JSON into nodes, so that the rest of the package sees
// one kind of document. JSON is not quite YAML: it may be indented with tabs,
// and its escapes differ.
func parseJSON(data []byte) *yaml.Node {
	p := &jsonParser{data: data, line: 1}
	return p.value()
}

type jsonParser struct {
	data      []byte
	at        int
	line      int
	lineStart int
}

// space skips what stands between tokens.
func (p *jsonParser) space() {
	for p.at < len(p.data) && strings.IndexByte(" \t\r\n,:", p.data[p.at]) >= 0 {
		if p.data[p.at] == '\n' {
			p.line++
			p.lineStart = p.at + 1
		}
		p.at++
	}
}

func (p *jsonParser) value() *yaml.Node {
	p.space()
	n := &yaml.Node{Line: p.line, Column: utf8.RuneCount(p.data[p.lineStart:p.at]) + 1}
	switch c := p.data[p.at]; c {
	case '{', '[':
		p.at++
		n.Kind = yaml.SequenceNode
		end := byte(']')
		if c == '{' {
			n.Kind, end = yaml.MappingNode, '}'
		}
		for p.space(); p.data[p.at] != end; p.space() {
			n.Content = append(n.Content, p.value())
		}
		p.at++
		return hooked(n)
	case '"':
		start := p.at
		for p.at++; p.data[p.at] != '"'; p.at++ {
			if p.data[p.at] == '\\' {
				p.at++
			}
		}
		p.at++
		n.Kind, n.Style = yaml.ScalarNode, yaml.DoubleQuotedStyle
		_ = json.Unmarshal(p.data[start:p.at], &n.Value) // valid, as all of it is
	default:
		start := p.at
		for p.at < len(p.data) && strings.IndexByte(" \t\r\n,:]}", p.data[p.at]) < 0 {
			p.at++
		}
		n.Kind, n.Style, n.Value = yaml.ScalarNode, yaml.TaggedStyle, string(p.data[start:p.at])
		switch {
		case n.Value == "null":
			n.Tag = "!!null"
		case c == 't' || c == 'f':
			n.Tag = "!!bool"
		case strings.ContainsAny(n.Value, ".eE"):
			n.Tag = "!!float"
		default:
			n.Tag = "!!int"
		}
	}
	return n
}

// hooked turns the maps by which Ansible writes its own types into JSON back
// into those types.
func hooked(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 || n.Content[1].Kind != yaml.ScalarNode {
		return n
	}
	tag := map[string]string{"__ansible_vault": "!vault", "__ansible_unsafe": "!unsafe"}[n.Content[0].Value]
	if tag == "" {
		return n
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Style: yaml.TaggedStyle, Tag: tag, Value: n.Content[1].Value, Line: n.Line, Column: n.Column}
}
