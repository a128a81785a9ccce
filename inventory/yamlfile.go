package inventory

import (
	"strings"

	"gopkg.in/yaml.v3"
)

// yamlSource reads an inventory in Ansible's YAML schema: groups at the top,
// each a map of hosts, children and vars.
type yamlSource struct {
	*document
	inv   *hostData
	warn  func(string)
	depth int
}

// maxNesting bounds groups inside groups; a loop of aliases has no end.
const maxNesting = 500

func (s *yamlSource) parse() {
	for _, p := range s.pairs(s.root) {
		s.group(p)
	}
}

// group reads one group and returns it; nil when it is none.
func (s *yamlSource) group(p pair) *group {
	name, ok := p.raw.(string)
	if !ok || name == "" {
		s.fail(p.key, "put it in quotes", "a group's name must be text, got %s", describe(p.raw))
		return nil
	}
	n := s.resolve(p.value)
	if !s.isMap(n) && !isNull(n) {
		hint := "a group holds hosts:, children: and vars:"
		if n.Kind == yaml.SequenceNode {
			hint = "write hosts: below it, and each host as \"name:\" instead of \"- name\""
		}
		s.fail(p.value, hint, "group %q must be a map, got %s", name, kindName(n))
		return nil
	}
	g := s.inv.addGroup(name, s.pos(p.key))
	if isNull(n) {
		return g
	}
	if s.depth++; s.depth > maxNesting {
		s.fail(p.key, "", "groups are nested more than %d deep", maxNesting)
		s.depth--
		return g
	}
	defer func() { s.depth-- }()
	for _, section := range s.pairs(n) {
		switch section.name {
		case "hosts":
			for _, h := range s.section(section, name) {
				s.host(h, g)
			}
		case "children":
			for _, c := range s.section(section, name) {
				if child := s.group(c); child != nil {
					s.inv.addChild(g, child, s.pos(c.key))
				}
			}
		case "vars":
			for _, v := range s.section(section, name) {
				s.probs.addProblem(g.set(s.variable(v)))
			}
		default:
			s.warnKey(section, name)
		}
	}
	return g
}

func (s *yamlSource) isMap(n *yaml.Node) bool {
	return n.Kind == yaml.MappingNode && (n.Style&yaml.TaggedStyle == 0 || n.Tag == "!!map")
}

func isNull(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode {
		return false
	}
	if n.Style&yaml.TaggedStyle != 0 {
		return n.Tag == "!!null"
	}
	return n.Style&^yaml.FlowStyle == 0 && resolvePlain(n.Value) == nil
}

// section gives the entries of hosts, children or vars. One name alone may be
// written without a map.
func (s *yamlSource) section(p pair, group string) []pair {
	n := s.resolve(p.value)
	switch {
	case isNull(n):
		return nil
	case s.isMap(n):
		return s.pairs(n)
	case n.Kind == yaml.ScalarNode && p.name != "vars":
		if v, ok := s.scalar(n); ok {
			if text, ok := v.(string); ok {
				return []pair{{key: n, value: &yaml.Node{Kind: yaml.ScalarNode, Line: n.Line, Column: n.Column}, name: text, raw: text}}
			}
		}
	}
	hint := map[string]string{
		"hosts":    "write each host as \"name:\", without a dash",
		"children": "write each group as \"name:\", without a dash",
		"vars":     "write each variable as \"name: value\"",
	}[p.name]
	s.fail(p.value, hint, "%s of group %q must be a map, got %s", p.name, group, kindName(n))
	return nil
}

func (s *yamlSource) host(p pair, g *group) {
	pattern, ok := p.raw.(string)
	if !ok || pattern == "" {
		s.fail(p.key, "put it in quotes", "a host's name must be text, got %s", describe(p.raw))
		return
	}
	names, port, err := expandHosts(pattern)
	if err != nil {
		s.fail(p.key, "", "host %q: %v", pattern, err)
		return
	}
	if len(s.inv.hostList)+len(names) > maxHosts {
		s.fail(p.key, "", "the inventory has more than %d hosts", maxHosts)
		return
	}
	at := s.pos(p.key)
	var vars []variable
	switch n := s.resolve(p.value); {
	case s.isMap(n):
		for _, v := range s.pairs(n) {
			vars = append(vars, s.variable(v))
		}
	case !isNull(n):
		s.fail(p.value, "a host holds its variables as \"name: value\"", "host %q must be a map of variables, got %s", pattern, kindName(n))
	}
	for _, name := range names {
		if err := checkHostName(name); err != "" {
			s.fail(p.key, "", "%s", err)
			return
		}
		s.inv.addHost(name, g, port, at)
		for _, v := range vars {
			s.probs.addProblem(s.inv.setVar(name, v))
		}
	}
}

// variable gives a variable's value and its place: that of a scalar itself, the
// key's for maps and lists.
func (s *document) variable(p pair) variable {
	v := variable{name: p.name, val: s.value(p.value), pos: s.pos(p.key)}
	if _, ok := p.raw.(string); !ok {
		if v.key = p.raw; p.raw == nil {
			v.key = noName{}
		}
	}
	if p.value.Kind == yaml.ScalarNode && p.value.Line > 0 && !isNull(p.value) {
		v.pos = s.pos(p.value)
	}
	if s.file.hidden {
		s.file.learn(v.val)
	}
	return v
}

// checkHostName refuses names that would act on a terminal or end a line.
func checkHostName(name string) string {
	if name == "" {
		return "a host's name is empty"
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f {
			return "a host's name holds a control character"
		}
	}
	return ""
}

// warnKey tells of a key that no group has. Ansible ignores it, and all that is
// below it; where it looks like a slip, that is too much to lose for a warning.
func (s *yamlSource) warnKey(p pair, group string) {
	if near := nearest(p.name, []string{"hosts", "children", "vars"}); near != "" {
		s.fail(p.key, "did you mean "+near+"?", "group %q has an unknown key %q", group, p.name)
		return
	}
	text := s.pos(p.key).String() + ": group " + group + " has the key " + p.name + ", which is ignored"
	if n := s.resolve(p.value); n.Kind == yaml.ScalarNode {
		text += "; a variable belongs under vars:"
	} else {
		text += "; a group belongs under children:"
	}
	s.warn(text)
}

// pluginName is set for a file that configures one of Ansible's plugins.
func (d *document) pluginName() (string, *yaml.Node) {
	for i := 0; i+1 < len(d.root.Content); i += 2 {
		if v := d.resolve(d.root.Content[i+1]); d.root.Content[i].Value == "plugin" && v.Kind == yaml.ScalarNode {
			return strings.TrimSpace(v.Value), d.root.Content[i]
		}
	}
	return "", nil
}
