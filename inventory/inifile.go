package inventory

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// iniSource reads an inventory in Ansible's INI format.
type iniSource struct {
	file  *file
	inv   *hostData
	probs *problems

	line    int
	text    string // the line without blanks around it
	indent  int    // characters before text
	group   *group
	state   string // what the section holds: hosts, children, vars
	pending map[string]*pendingGroup
	order   []string
}

// pendingGroup is a group that was used before it was declared.
type pendingGroup struct {
	state   string // children: it was named as a child; vars: only its variables were set
	parents []*group
	pos     pos
	named   []pos // where each parent names it
}

func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func (s *iniSource) parse() {
	s.pending = map[string]*pendingGroup{}
	s.group, s.state = s.inv.groups["ungrouped"], "hosts"
	data := bytes.TrimPrefix(s.file.data, []byte("\xef\xbb\xbf"))
	valid := utf8.Valid(data)
	for len(data) > 0 {
		raw := data
		if i := indexLineEnd(data); i >= 0 {
			raw, data = data[:i], data[i:]
		} else {
			data = nil
		}
		s.line++
		if !valid && !utf8.Valid(raw) {
			// Old comments may be in any encoding, nothing else may.
			if raw[0] != '#' && raw[0] != ';' {
				s.failAt(1+utf8.RuneCount(validPrefix(raw)), "save the file as UTF-8 text", "this is not UTF-8")
			}
			continue
		}
		for _, part := range strings.FieldsFunc(string(raw), isLineBreak) {
			s.text = strings.TrimFunc(part, isSpace)
			s.indent = utf8.RuneCountInString(part) - utf8.RuneCountInString(strings.TrimLeftFunc(part, isSpace))
			if s.text != "" && s.text[0] != '#' && s.text[0] != ';' {
				s.entry()
			}
		}
	}
	s.unresolved()
}

// isLineBreak knows the separators that Python splits lines at.
func isLineBreak(r rune) bool {
	switch r {
	case '\n', '\r', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
		return true
	}
	return false
}

func validPrefix(b []byte) []byte {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return b[:i]
		}
		i += size
	}
	return b
}

func (s *iniSource) at(col int) pos { return pos{s.file, int32(s.line), int32(s.indent + col)} }

// failAt reports a problem at a column, from 1, of the text.
func (s *iniSource) failAt(col int, hint, format string, args ...any) {
	s.probs.add(s.at(col).problem(hint, format, args...))
}

func (s *iniSource) entry() {
	if s.text[0] == '[' {
		if name, state, ok := sectionHeader(s.text); ok {
			s.section(name, state)
			return
		}
		if strings.HasSuffix(s.text, "]") {
			s.failAt(1, "a section is [group], [group:children] or [group:vars], without blanks", "this is no section: %s", s.text)
			s.group, s.state = nil, ""
			return
		}
	}
	switch s.state {
	case "hosts":
		s.hosts()
	case "vars":
		s.variable()
	case "children":
		s.child()
	}
}

// sectionHeader splits "[name:state] # comment".
func sectionHeader(text string) (name, state string, ok bool) {
	end := strings.IndexByte(text, ']')
	if end < 1 || text[0] != '[' || !isCommentOrEmpty(text[end+1:]) {
		return "", "", false
	}
	name, state, found := strings.Cut(text[1:end], ":")
	if name == "" || strings.IndexFunc(name, isSpace) >= 0 {
		return "", "", false
	}
	if found && (state == "" || strings.IndexFunc(state, func(r rune) bool { return !isWord(r) }) >= 0) {
		return "", "", false
	}
	return name, state, true
}

func isCommentOrEmpty(s string) bool {
	s = strings.TrimLeftFunc(s, isSpace)
	return s == "" || s[0] == '#'
}

func (s *iniSource) section(name, state string) {
	if state == "" {
		state = "hosts"
	}
	if state != "hosts" && state != "children" && state != "vars" {
		s.failAt(3+utf8.RuneCountInString(name), "it is [group], [group:children] or [group:vars]", "section [%s:%s] is of an unknown kind", name, state)
		s.group, s.state = nil, ""
		return
	}
	s.state = state
	p := s.pending[name]
	if s.inv.groups[name] == nil && state == "vars" && p == nil {
		// Variables alone don't declare a group; somebody else must.
		s.wait(name, "vars", nil)
	}
	s.group = s.inv.addGroup(name, s.at(2))
	if p != nil && state != "vars" {
		s.settle(name)
	}
}

func (s *iniSource) wait(name, state string, parent *group) {
	p := s.pending[name]
	if p == nil {
		p = &pendingGroup{state: state, pos: s.at(1)}
		s.pending[name] = p
		s.order = append(s.order, name)
	}
	if parent != nil {
		p.parents = append(p.parents, parent)
		p.named = append(p.named, s.at(1))
	}
}

// settle takes a group off the list of those that wait, and with it those that
// have waited for it.
func (s *iniSource) settle(name string) {
	p := s.pending[name]
	delete(s.pending, name)
	if p.state != "children" {
		return
	}
	child := s.inv.groups[name]
	for i, parent := range p.parents {
		s.inv.addChild(parent, child, p.named[i])
		if up := s.pending[parent.name]; up != nil && up.state == "children" {
			s.settle(parent.name)
		}
	}
}

func (s *iniSource) child() {
	name := s.text
	if i := strings.IndexFunc(name, func(r rune) bool { return r == ':' || r == ']' || isSpace(r) }); i >= 0 {
		if i == 0 || !isCommentOrEmpty(name[i:]) || !isSpace([]rune(name[i:])[0]) {
			s.failAt(1, "a line of [group:children] holds the name of one group", "a group's name was expected, got: %s", s.text)
			return
		}
		name = name[:i]
	}
	if g := s.inv.groups[name]; g != nil {
		s.inv.addChild(s.group, g, s.at(1))
		return
	}
	s.wait(name, "children", s.group)
}

func (s *iniSource) variable() {
	k, v, ok := strings.Cut(s.text, "=")
	if !ok {
		s.failAt(1, "a line of [group:vars] is name=value", "name=value was expected, got: %s", s.text)
		return
	}
	col := utf8.RuneCountInString(k) + 2 + utf8.RuneCountInString(v) - utf8.RuneCountInString(strings.TrimLeftFunc(v, isSpace))
	name := strings.TrimFunc(k, isSpace)
	if name == "" {
		s.failAt(1, "a line of [group:vars] is name=value", "there is no name before the =")
		return
	}
	s.probs.addProblem(s.group.set(variable{name: name, val: iniValue(strings.TrimFunc(v, isSpace)), pos: s.at(col)}))
}

func (s *iniSource) hosts() {
	words, err := splitWords(s.text, true)
	if err != nil {
		s.failAt(1, "close the quote, or put a backslash before it", "%v: %s", err, s.text)
		return
	}
	if len(words) == 0 {
		s.failAt(1, "", "a host's name was expected")
		return
	}
	pattern := words[0].text
	names, port, err := expandHosts(pattern)
	switch {
	case err != nil:
		s.failAt(1, "", "host %q: %v", pattern, err)
		return
	case strings.HasSuffix(strings.TrimSpace(pattern), ":") && port == 0:
		s.failAt(utf8.RuneCountInString(pattern), "a port goes behind a colon; if this is YAML, name the file .yaml", "the host %q ends in a colon", pattern)
		return
	}
	if len(s.inv.hostList)+len(names) > maxHosts {
		s.failAt(1, "", "the inventory has more than %d hosts", maxHosts)
		return
	}
	vars := make([]variable, 0, len(words)-1)
	for _, w := range words[1:] {
		k, v, ok := strings.Cut(w.text, "=")
		if !ok {
			s.failAt(w.col, "only name=value may follow a host; one host a line", "name=value was expected, got: %s", w.text)
			return
		}
		vars = append(vars, variable{name: k, val: iniValue(v), pos: s.at(w.col + utf8.RuneCountInString(k) + 1)})
	}
	at := s.at(1)
	for _, name := range names {
		if strings.TrimSpace(name) == "---" {
			s.failAt(1, "name the file .yaml", "--- begins a YAML file, this one is read as INI")
			return
		}
		if text := checkHostName(name); text != "" {
			s.failAt(1, "", "%s", text)
			return
		}
		s.inv.addHost(name, s.group, port, at)
		for _, v := range vars {
			s.probs.addProblem(s.inv.setVar(name, v))
		}
	}
}

// unresolved reports the groups that nobody declared.
func (s *iniSource) unresolved() {
	for _, name := range s.order {
		p := s.pending[name]
		if p == nil {
			continue
		}
		hint := "declare it with a section [" + name + "]"
		if near := nearest(name, s.declared()); near != "" {
			hint = "did you mean " + near + "? Else " + hint
		}
		if p.state == "vars" {
			s.probs.add(p.pos.problem(hint, "section [%s:vars] is for a group that does not exist: %s", name, name))
			continue
		}
		for i, parent := range p.parents {
			s.probs.add(p.named[i].problem(hint, "section [%s:children] names a group that does not exist: %s", parent.name, name))
		}
	}
}

func (s *iniSource) declared() []string {
	var out []string
	for _, g := range s.inv.groupList {
		if s.pending[g.name] == nil {
			out = append(out, g.name)
		}
	}
	return out
}
