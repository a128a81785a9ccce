package inventory

import (
	"strconv"
	"strings"
)

// strings reads one or more adjacent Python string literals.
func (p *literal) strings() (any, bool) {
	var b strings.Builder
	kind := 0 // 1 text, 2 bytes; they don't mix
	for {
		c := p.peek()
		start := p.at
		for c == 'r' || c == 'R' || c == 'b' || c == 'B' || c == 'u' || c == 'U' {
			p.at++
			c = p.peek()
		}
		prefix := strings.ToLower(p.src[start:p.at])
		switch prefix {
		case "", "u", "r", "b", "br", "rb":
		default:
			return nil, false
		}
		if c != '"' && c != '\'' {
			return nil, false
		}
		is := 1
		if strings.Contains(prefix, "b") {
			is = 2
		}
		if kind != 0 && kind != is {
			return nil, false
		}
		kind = is
		if !p.quoted(&b, strings.Contains(prefix, "r"), is == 2) {
			return nil, false
		}
		p.space()
		if c = p.peek(); c != '"' && c != '\'' && (c == 0 || !strings.ContainsRune("rRbBuU", rune(c))) {
			return b.String(), true
		}
	}
}

// quoted reads one literal from its first quote to its last.
func (p *literal) quoted(b *strings.Builder, raw, bytes bool) bool {
	q := p.src[p.at : p.at+1]
	if triple := strings.Repeat(q, 3); strings.HasPrefix(p.src[p.at:], triple) {
		q = triple
	}
	p.at += len(q)
	for p.at < len(p.src) {
		rest := p.src[p.at:]
		switch {
		case strings.HasPrefix(rest, q):
			p.at += len(q)
			return true
		case rest[0] == '\\' && len(rest) > 1:
			if raw {
				b.WriteString(rest[:2])
				p.at += 2
			} else if !p.escape(b, bytes) {
				return false
			}
		case rest[0] == '\n' && len(q) == 1, bytes && rest[0] >= 0x80:
			return false
		default:
			b.WriteByte(rest[0])
			p.at++
		}
	}
	return false
}

var simpleEscapes = map[byte]string{
	'\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v", '\n': "",
}

func (p *literal) escape(b *strings.Builder, bytes bool) bool {
	c := p.src[p.at+1]
	if s, ok := simpleEscapes[c]; ok {
		b.WriteString(s)
		p.at += 2
		return true
	}
	digits, base := 0, 16
	switch {
	case c == 'x':
		digits = 2
	case c == 'u' && !bytes:
		digits = 4
	case c == 'U' && !bytes:
		digits = 8
	case c == 'N' && !bytes:
		return false // names of characters are not worth a table
	case c >= '0' && c <= '7':
		base = 8
		for digits < 3 && p.at+1+digits < len(p.src) && p.src[p.at+1+digits] >= '0' && p.src[p.at+1+digits] <= '7' {
			digits++
		}
	default:
		b.WriteByte('\\') // an unknown escape stays as it is
		p.at++
		return true
	}
	from := p.at + 1
	if base == 16 {
		from++
	}
	if from+digits > len(p.src) {
		return false
	}
	n, err := strconv.ParseUint(p.src[from:from+digits], base, 32)
	if err != nil || n > 0x10ffff {
		return false
	}
	b.WriteRune(rune(n))
	p.at = from + digits
	return true
}
