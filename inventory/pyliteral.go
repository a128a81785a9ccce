package inventory

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// iniValue gives a value in an INI file its type: what reads as a Python
// literal is that literal, everything else is text. So 80 is a number, True a
// boolean, "x" text without its quotes, and yes stays text.
func iniValue(s string) any {
	src := strings.TrimLeft(s, " \t")
	if src == "" || strings.ContainsRune(src, 0) {
		return s
	}
	p := &literal{src: src}
	v, ok := p.whole()
	if !ok {
		return s
	}
	return v
}

// literal is a parser of the part of Python that ast.literal_eval accepts.
// Whatever it does not accept is text, so there is one kind of failure.
type literal struct {
	src   string
	at    int
	depth int // open brackets: newlines mean nothing in them
}

const maxLiteralDepth = 100

func (p *literal) whole() (any, bool) {
	p.space()
	v, ok := p.tuple(false)
	if !ok {
		return nil, false
	}
	p.space()
	// One newline may end the expression.
	for p.at < len(p.src) && (p.src[p.at] == '\n' || p.src[p.at] == '\r') {
		p.at++
		p.space()
	}
	return v, p.at == len(p.src)
}

// space skips blanks and comments, and newlines inside brackets.
func (p *literal) space() {
	for p.at < len(p.src) {
		switch c := p.src[p.at]; {
		case c == ' ' || c == '\t' || c == '\f':
			p.at++
		case (c == '\n' || c == '\r') && p.depth > 0:
			p.at++
		case c == '\\' && strings.HasPrefix(p.src[p.at:], "\\\n"):
			p.at += 2
		case c == '#':
			for p.at < len(p.src) && p.src[p.at] != '\n' && p.src[p.at] != '\r' {
				p.at++
			}
		default:
			return
		}
	}
}

func (p *literal) peek() byte {
	if p.at < len(p.src) {
		return p.src[p.at]
	}
	return 0
}

func (p *literal) accept(c byte) bool {
	p.space()
	if p.peek() == c && p.at < len(p.src) {
		p.at++
		return true
	}
	return false
}

// tuple reads one value, or several with commas between them, which make a
// list. closed says that a bracket around them ends them.
func (p *literal) tuple(closed bool) (any, bool) {
	if closed && p.accept(')') {
		return []any{}, true
	}
	v, ok := p.value()
	if !ok {
		return nil, false
	}
	list := []any{v}
	comma := false
	for p.accept(',') {
		comma = true
		p.space()
		if p.at == len(p.src) || closed && p.peek() == ')' || !closed && (p.peek() == '\n' || p.peek() == '\r') {
			break
		}
		if v, ok = p.value(); !ok {
			return nil, false
		}
		list = append(list, v)
	}
	if closed && !p.accept(')') {
		return nil, false
	}
	if comma {
		return list, true
	}
	return v, true
}

func (p *literal) value() (any, bool) {
	p.space()
	if p.depth > maxLiteralDepth {
		return nil, false
	}
	switch c := p.peek(); {
	case c == '(':
		p.at++
		p.depth++
		v, ok := p.tuple(true)
		p.depth--
		return v, ok
	case c == '[':
		p.at++
		p.depth++
		v, ok := p.list()
		p.depth--
		return v, ok
	case c == '{':
		p.at++
		p.depth++
		v, ok := p.braces()
		p.depth--
		return v, ok
	case c == '+' || c == '-':
		p.at++
		p.space()
		v, ok := p.signed()
		if !ok {
			return nil, false
		}
		if c == '-' {
			v = negate(v)
		}
		return v, true
	case c >= '0' && c <= '9' || c == '.':
		return p.number()
	case c == '"' || c == '\'':
		return p.strings()
	case c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		return p.word()
	}
	return nil, false
}

// signed is the number behind a sign, perhaps in brackets.
func (p *literal) signed() (any, bool) {
	if p.peek() == '(' {
		p.at++
		p.depth++
		p.space()
		v, ok := p.signed()
		ok = ok && p.accept(')')
		p.depth--
		return v, ok && p.depth <= maxLiteralDepth
	}
	if c := p.peek(); c >= '0' && c <= '9' || c == '.' {
		return p.number()
	}
	return nil, false
}

func negate(v any) any {
	switch v := v.(type) {
	case int64:
		if v != math.MinInt64 {
			return -v
		}
	case float64:
		return -v
	case bigInt:
		if n, ok := integer(string(v), 10, true); ok {
			return n
		}
	}
	return v
}

func (p *literal) list() (any, bool) {
	list := []any{}
	for {
		if p.accept(']') {
			return list, true
		}
		v, ok := p.value()
		if !ok {
			return nil, false
		}
		list = append(list, v)
		if !p.accept(',') {
			return list, p.accept(']')
		}
	}
}

// braces reads a dictionary or a set; a set becomes a list.
func (p *literal) braces() (any, bool) {
	d, set := &dict{}, []any{}
	seen := map[any]int{}
	isSet := false
	for !p.accept('}') {
		k, ok := p.value()
		if !ok {
			return nil, false
		}
		switch k.(type) {
		case []any, *dict:
			return nil, false
		}
		if p.accept(':') {
			v, ok := p.value()
			if !ok || isSet {
				return nil, false
			}
			if i, ok := seen[k]; ok {
				d.vals[i] = v // the last one wins
			} else {
				seen[k] = len(d.keys)
				d.keys, d.vals = append(d.keys, k), append(d.vals, v)
			}
		} else {
			if len(d.keys) > 0 {
				return nil, false
			}
			isSet = true
			if _, ok := seen[k]; !ok {
				seen[k] = len(set)
				set = append(set, k)
			}
		}
		if !p.accept(',') {
			if !p.accept('}') {
				return nil, false
			}
			break
		}
	}
	if isSet {
		return set, true
	}
	return d, true
}

func (p *literal) word() (any, bool) {
	start := p.at
	for p.at < len(p.src) {
		r, size := utf8.DecodeRuneInString(p.src[p.at:])
		if !isWord(r) {
			break
		}
		p.at += size
	}
	w := p.src[start:p.at]
	if c := p.peek(); (c == '"' || c == '\'') && len(w) <= 2 {
		p.at = start
		return p.strings()
	}
	switch w {
	case "True":
		return true, true
	case "False":
		return false, true
	case "None":
		return nil, true
	case "set":
		if p.accept('(') && p.accept(')') {
			return []any{}, true
		}
	}
	return nil, false
}

// number reads a Python number: 12, 1_000, 0x1f, 0o17, 0b1, 1.5, .5, 1e3.
func (p *literal) number() (any, bool) {
	start := p.at
	hex := strings.HasPrefix(p.src[start:], "0x") || strings.HasPrefix(p.src[start:], "0X")
	for p.at < len(p.src) {
		c := p.src[p.at]
		if c == '+' || c == '-' {
			// A sign belongs to the number only behind the e of an exponent.
			if before := p.src[p.at-1] | 0x20; p.at == start || before != 'e' || hex {
				break
			}
		} else if !isNumberByte(c) {
			break
		}
		p.at++
	}
	if p.at < len(p.src) && p.src[p.at] >= 0x80 {
		return nil, false
	}
	return pyNumber(p.src[start:p.at])
}

func isNumberByte(c byte) bool {
	return c == '.' || c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func pyNumber(text string) (any, bool) {
	// Underscores may only stand between digits, or after the base.
	if strings.HasSuffix(text, "_") || strings.Contains(text, "__") || strings.Contains(text, "_.") || strings.Contains(text, "._") ||
		strings.Contains(text, "_e") || strings.Contains(text, "e_") || strings.Contains(text, "_E") || strings.Contains(text, "E_") {
		if !strings.HasPrefix(text, "0x") && !strings.HasPrefix(text, "0X") || strings.HasSuffix(text, "_") || strings.Contains(text, "__") {
			return nil, false
		}
	}
	digits := strings.ReplaceAll(text, "_", "")
	if len(digits) > 2 && digits[0] == '0' {
		base := map[byte]int{'x': 16, 'X': 16, 'o': 8, 'O': 8, 'b': 2, 'B': 2}[digits[1]]
		if base != 0 {
			return integer(digits[2:], base, false)
		}
	}
	if strings.Trim(digits, "0123456789") == "" {
		if len(digits) > 1 && digits[0] == '0' && strings.Trim(digits, "0") != "" || len(digits) > 4300 {
			return nil, false // 0777 is a mistake in Python
		}
		return integer(digits, 10, false)
	}
	if strings.Trim(digits, "0123456789.eE+-") != "" || digits == "." {
		return nil, false
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil && !math.IsInf(f, 0) {
		return nil, false
	}
	return f, true
}
