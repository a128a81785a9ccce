package engine

import "strings"

// Lua's patterns, after lstrlib.c of Lua 5.1. gopher-lua's own matcher cannot be
// stopped: a pattern like "(.-)*(.-)*b" runs for years on a short string.

const (
	maxCaptures    = 32
	maxPatternNest = 200 // as MAXCCALLS
	captureOpen    = -1
	capturePlace   = -2 // a position capture: ()
	stepsPerCheck  = 4096
)

type capture struct{ start, len int }

// matcher matches one pattern against one text. A malformed pattern, or one that
// costs too much, is raised.
type matcher struct {
	src, pat string
	level    int
	captures [maxCaptures]capture
	nest     int
	steps    int // until the next check
	left     int // checks
	done     <-chan struct{}
	raise    func(format string, args ...any) // does not return
}

func newMatcher(src, pat string, maxSteps int, done <-chan struct{}, raise func(format string, args ...any)) *matcher {
	return &matcher{src: src, pat: pat, steps: stepsPerCheck, left: maxSteps/stepsPerCheck + 1, done: done, raise: raise}
}

// step counts one comparison and looks at the clock now and then.
func (m *matcher) step() {
	if m.steps--; m.steps > 0 {
		return
	}
	m.steps = stepsPerCheck
	if m.left--; m.left <= 0 {
		m.raise("the pattern '%s' takes too long on a string of %d bytes: make it less ambiguous", clip(m.pat, 60), len(m.src))
	}
	select {
	case <-m.done:
		m.raise("interrupted while matching the pattern '%s'", clip(m.pat, 60))
	default:
	}
}

// at tries the pattern from p at position s and returns the end of the match,
// or -1.
func (m *matcher) at(s, p int) int {
	if m.nest++; m.nest > maxPatternNest {
		m.raise("pattern too complex")
	}
	res := m.match(s, p)
	m.nest--
	return res
}

func (m *matcher) match(s, p int) int {
	for {
		m.step()
		if p == len(m.pat) {
			return s
		}
		switch m.pat[p] {
		case '(':
			if p+1 < len(m.pat) && m.pat[p+1] == ')' {
				return m.open(s, p+2, capturePlace)
			}
			return m.open(s, p+1, captureOpen)
		case ')':
			return m.close(s, p+1)
		case '$':
			if p+1 == len(m.pat) {
				if s == len(m.src) {
					return s
				}
				return -1
			}
		case '%':
			if p+1 == len(m.pat) {
				m.raise("malformed pattern (ends with '%s')", "%")
			}
			switch c := m.pat[p+1]; {
			case c == 'b':
				if s = m.balance(s, p+2); s < 0 {
					return -1
				}
				p += 4
				continue
			case c == 'f':
				p += 2
				if p >= len(m.pat) || m.pat[p] != '[' {
					m.raise("missing '[' after '%s' in pattern", "%f")
				}
				end := m.classEnd(p)
				var prev, next byte
				if s > 0 {
					prev = m.src[s-1]
				}
				if s < len(m.src) {
					next = m.src[s]
				}
				if m.inSet(prev, p, end-1) || !m.inSet(next, p, end-1) {
					return -1
				}
				p = end
				continue
			case isDigit(c):
				if s = m.back(s, c); s < 0 {
					return -1
				}
				p += 2
				continue
			}
		}
		end := m.classEnd(p)
		var suffix byte
		if end < len(m.pat) {
			suffix = m.pat[end]
		}
		switch suffix {
		case '?':
			if s < len(m.src) && m.single(m.src[s], p, end) {
				if res := m.at(s+1, end+1); res >= 0 {
					return res
				}
			}
			p = end + 1
		case '*':
			return m.longest(s, p, end, 0)
		case '+':
			return m.longest(s, p, end, 1)
		case '-':
			return m.shortest(s, p, end)
		default:
			if s >= len(m.src) || !m.single(m.src[s], p, end) {
				return -1
			}
			s++
			p = end
		}
	}
}

func (m *matcher) longest(s, p, end, least int) int {
	n := 0
	for s+n < len(m.src) && m.single(m.src[s+n], p, end) {
		m.step()
		n++
	}
	for ; n >= least; n-- {
		if res := m.at(s+n, end+1); res >= 0 {
			return res
		}
	}
	return -1
}

func (m *matcher) shortest(s, p, end int) int {
	for {
		if res := m.at(s, end+1); res >= 0 {
			return res
		}
		if s >= len(m.src) || !m.single(m.src[s], p, end) {
			return -1
		}
		m.step()
		s++
	}
}

func (m *matcher) open(s, p, what int) int {
	if m.level >= maxCaptures {
		m.raise("too many captures")
	}
	m.captures[m.level] = capture{s, what}
	m.level++
	res := m.at(s, p)
	if res < 0 {
		m.level--
	}
	return res
}

func (m *matcher) close(s, p int) int {
	l := m.level - 1
	for l >= 0 && m.captures[l].len != captureOpen {
		l--
	}
	if l < 0 {
		m.raise("invalid pattern capture")
	}
	m.captures[l].len = s - m.captures[l].start
	res := m.at(s, p)
	if res < 0 {
		m.captures[l].len = captureOpen
	}
	return res
}

func (m *matcher) back(s int, digit byte) int {
	l := int(digit - '1')
	if l < 0 || l >= m.level || m.captures[l].len == captureOpen {
		m.raise("invalid capture index %%%c", digit)
	}
	c := m.captures[l]
	if c.len == capturePlace {
		c.len = 0
	}
	m.step()
	if strings.HasPrefix(m.src[s:], m.src[c.start:c.start+c.len]) {
		return s + c.len
	}
	return -1
}

func (m *matcher) balance(s, p int) int {
	if p+1 >= len(m.pat) {
		m.raise("malformed pattern: two characters must follow '%s'", "%b")
	}
	if s >= len(m.src) || m.src[s] != m.pat[p] {
		return -1
	}
	begin, end := m.pat[p], m.pat[p+1]
	depth := 1
	for i := s + 1; i < len(m.src); i++ {
		m.step()
		switch m.src[i] {
		case end: // first, as begin may be the same
			if depth--; depth == 0 {
				return i + 1
			}
		case begin:
			depth++
		}
	}
	return -1
}

// classEnd returns the position after the single-character class at p.
func (m *matcher) classEnd(p int) int {
	c := m.pat[p]
	p++
	switch c {
	case '%':
		if p == len(m.pat) {
			m.raise("malformed pattern (ends with '%s')", "%")
		}
		return p + 1
	case '[':
		if p < len(m.pat) && m.pat[p] == '^' {
			p++
		}
		for first := true; ; first = false {
			if p >= len(m.pat) {
				m.raise("malformed pattern (missing ']')")
			}
			if m.pat[p] == ']' && !first {
				return p + 1
			}
			if m.pat[p] == '%' {
				p++
			}
			p++
		}
	}
	return p
}

func (m *matcher) single(c byte, p, end int) bool {
	switch m.pat[p] {
	case '.':
		return true
	case '%':
		return inClass(c, m.pat[p+1])
	case '[':
		return m.inSet(c, p, end-1)
	default:
		return m.pat[p] == c
	}
}

// inSet reports whether c is in the set that opens at p and whose ']' is at end.
func (m *matcher) inSet(c byte, p, end int) bool {
	in := true
	p++
	if m.pat[p] == '^' {
		in = false
		p++
	}
	for ; p < end; p++ {
		switch {
		case m.pat[p] == '%' && p+1 < end:
			p++
			if inClass(c, m.pat[p]) {
				return in
			}
		case p+2 < end && m.pat[p+1] == '-':
			if m.pat[p] <= c && c <= m.pat[p+2] {
				return in
			}
			p += 2
		case m.pat[p] == c:
			return in
		}
	}
	return !in
}

func inClass(c, class byte) bool {
	var in bool
	switch class | 0x20 {
	case 'a':
		in = isAlpha(c)
	case 'c':
		in = c < 0x20 || c == 0x7f
	case 'd':
		in = isDigit(c)
	case 'l':
		in = 'a' <= c && c <= 'z'
	case 'p':
		in = 0x20 < c && c < 0x7f && !isAlpha(c) && !isDigit(c)
	case 's':
		in = c == ' ' || '\t' <= c && c <= '\r'
	case 'u':
		in = 'A' <= c && c <= 'Z'
	case 'w':
		in = isAlpha(c) || isDigit(c)
	case 'x':
		in = isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f'
	case 'z':
		in = c == 0
	default:
		return class == c
	}
	if !isAlpha(class) {
		return class == c
	}
	if class&0x20 == 0 {
		return !in
	}
	return in
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// get returns capture i of a match from s to e: the whole match where the
// pattern has no captures. A position capture has place set, counting from 1.
func (m *matcher) get(i, s, e int) (text string, place int) {
	if i >= m.level {
		if i != 0 {
			m.raise("invalid capture index %%%d", i+1)
		}
		return m.src[s:e], 0
	}
	c := m.captures[i]
	switch c.len {
	case captureOpen:
		m.raise("unfinished capture")
	case capturePlace:
		return "", c.start + 1
	}
	return m.src[c.start : c.start+c.len], 0
}

// count is how many values a match gives.
func (m *matcher) count() int { return max(m.level, 1) }

// next finds the first match at or after init. An anchored pattern is tried at
// init only. It returns -1 where there is none.
func (m *matcher) next(init int, anchored bool) (start, end int) {
	p := 0
	if anchored {
		p = 1
	}
	for s := init; s <= len(m.src); s++ {
		m.level = 0
		if e := m.at(s, p); e >= 0 {
			return s, e
		}
		if anchored {
			break
		}
	}
	return -1, -1
}
