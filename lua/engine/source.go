package engine

import (
	"bytes"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// scan is what one pass over a source text learns: where blocks and brackets
// open, for the hint of an error at the end of the file.
type scan struct {
	open []opening
	// mismatch is the first closing word or bracket that closes nothing.
	mismatch *opening
	// odd is the first block whose end stands on a line of its own, less far to
	// the right than the block begins: probably that end was meant for another.
	odd *opening
	// fields are the keywords that stand as names of fields.
	fields keywordFields
}

type opening struct {
	word string
	line int
	// indent is that of the line, as a clue to which block lacks its end.
	indent int
}

// prepare makes a source fit for gopher-lua without moving any byte: a byte
// order mark and a shebang line become spaces, octal numbers (0o644) become
// hexadecimal ones of the same width (0x1a4), and keywords that name a field
// ({ do = f }, wait_for.until) become other words, which scan.fields turns back
// in the tree; try chooses them.
func prepare(name string, src []byte, try int) ([]byte, *scan, error) {
	text := src
	if bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
		// Columns count from after the mark, as editors do.
		text = text[3:]
	}
	if bytes.HasPrefix(text, []byte("\x1bLua")) {
		return nil, nil, &Error{File: name, Message: "this is compiled Lua: only source text can be loaded"}
	}
	if bytes.HasPrefix(text, []byte("#")) {
		text = bytes.Clone(text)
		for i := 0; i < len(text) && text[i] != '\n' && text[i] != '\r'; i++ {
			text[i] = ' '
		}
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		line := 1 + bytes.Count(text[:i], []byte("\n"))
		return nil, nil, located(name, src, line, 0, "a zero byte in the source", "the file is not text, or not in UTF-8")
	}
	s := &scanner{name: name, src: src, text: text, line: 1}
	s.fields.skip = try
	if err := s.run(); err != nil {
		return nil, nil, err
	}
	return s.text, &s.scan, nil
}

// scanner walks over tokens. It is lenient: what it does not understand, the
// parser refuses with a position.
type scanner struct {
	scan
	name   string
	src    []byte
	text   []byte
	copied bool
	line   int
	start  int // of the line
	// before is the token before, where that matters: . : { , or ;
	before byte
}

func (s *scanner) run() error {
	t := s.text
	for i := 0; i < len(t); {
		c := t[i]
		before := s.before
		switch {
		case c == '\n' || c == '\r':
			i = s.newline(i)
			continue
		case c == ' ' || c == '\t':
			i++
			continue
		case c == '-' && i+1 < len(t) && t[i+1] == '-':
			i = s.comment(i)
			continue
		}
		s.before = 0
		switch {
		case c == '"' || c == '\'':
			i = s.skipString(i)
		case c == '[' && longBracket(t, i) >= 0:
			i = s.skipLong(i, longBracket(t, i))
		case isWordStart(c):
			j := i + 1
			for j < len(t) && isWord(t[j]) {
				j++
			}
			if !s.field(i, j, before) {
				s.word(string(t[i:j]))
			}
			t = s.text
			i = j
		case isDigit(c):
			j, err := s.number(i)
			if err != nil {
				return err
			}
			i, t = j, s.text
		case c == '.' || c == ':':
			i = s.dots(i)
		case c == ',' || c == ';':
			s.before = c
			i++
		case strings.IndexByte("([{", c) >= 0:
			s.push(string(c))
			if c == '{' {
				s.before = c
			}
			i++
		case strings.IndexByte(")]}", c) >= 0:
			s.pop(string(c))
			i++
		default:
			i++
		}
	}
	return nil
}

// comment passes a comment and gives where it ends.
func (s *scanner) comment(i int) int {
	t := s.text
	i += 2
	if level := longBracket(t, i); level >= 0 {
		return s.skipLong(i, level)
	}
	for i < len(t) && t[i] != '\n' && t[i] != '\r' {
		i++
	}
	return i
}

func (s *scanner) newline(i int) int {
	c := s.text[i]
	i++
	if i < len(s.text) && (s.text[i] == '\n' || s.text[i] == '\r') && s.text[i] != c {
		i++
	}
	s.line++
	s.start = i
	return i
}

// number passes a number with the dot behind it, rewriting an octal one. What
// follows the dot, or a sign inside, does not matter here.
func (s *scanner) number(i int) (int, error) {
	t := s.text
	j := i
	for j < len(t) && isWord(t[j]) {
		j++
	}
	if j-i < 2 || t[i] != '0' || (t[i+1] != 'o' && t[i+1] != 'O') {
		if j < len(t) && t[j] == '.' && !bytes.HasPrefix(t[j:], []byte("..")) {
			j++
		}
		return j, nil
	}
	digits := string(t[i+2 : j])
	fail := func(problem string) error {
		return located(s.name, s.src, s.line, i-s.start+1, "malformed number "+string(t[i:j])+": "+problem, "write octal modes as 0o644 or \"0644\"")
	}
	if digits == "" {
		return 0, fail("octal digits must follow 0o")
	}
	var value uint64
	for _, d := range []byte(digits) {
		if d < '0' || d > '7' {
			return 0, fail(fmt.Sprintf("%q is not an octal digit", d))
		}
		if bits.Len64(value) > 53-3 {
			return 0, fail("too large")
		}
		value = value<<3 | uint64(d-'0')
	}
	if !s.copied {
		s.text = bytes.Clone(s.text)
		s.copied = true
	}
	hex := strconv.FormatUint(value, 16)
	s.text[i+1] = 'x'
	for k := range digits {
		s.text[i+2+k] = '0'
	}
	copy(s.text[j-len(hex):j], hex)
	return j, nil
}

func (s *scanner) skipString(i int) int {
	t := s.text
	quote := t[i]
	for i++; i < len(t); i++ {
		switch t[i] {
		case quote:
			return i + 1
		case '\\':
			if i+1 < len(t) && (t[i+1] == '\n' || t[i+1] == '\r') {
				i = s.newline(i+1) - 1
			} else {
				i++
			}
		case '\n', '\r':
			return i // unterminated: the parser says so
		}
	}
	return i
}

func (s *scanner) skipLong(i, level int) int {
	t := s.text
	end := "]" + strings.Repeat("=", level) + "]"
	for i += level + 2; i < len(t); {
		switch {
		case t[i] == '\n' || t[i] == '\r':
			i = s.newline(i)
		case t[i] == ']' && bytes.HasPrefix(t[i:], []byte(end)):
			return i + len(end)
		default:
			i++
		}
	}
	return i
}

// longBracket returns the level of the long bracket that opens at i, or -1.
func longBracket(t []byte, i int) int {
	if i >= len(t) || t[i] != '[' {
		return -1
	}
	j := i + 1
	for j < len(t) && t[j] == '=' {
		j++
	}
	if j < len(t) && t[j] == '[' {
		return j - i - 1
	}
	return -1
}

func (s *scanner) word(w string) {
	switch w {
	case "function", "do", "repeat", "if":
		// while and for open with their do.
		s.push(w)
	case "end", "until":
		s.pop(w)
	}
}

func (s *scanner) push(w string) {
	if len(s.open) < maxDepth { // deeper ones are refused anyway
		s.open = append(s.open, opening{word: w, line: s.line, indent: s.indent()})
	}
}

// indent is how far to the right the line begins.
func (s *scanner) indent() int {
	i := s.start
	for i < len(s.text) && (s.text[i] == ' ' || s.text[i] == '\t') {
		i++
	}
	return i - s.start
}

func (s *scanner) pop(w string) {
	n := len(s.open)
	if n == 0 || !closes(w, s.open[n-1].word) {
		if s.mismatch == nil {
			s.mismatch = &opening{word: w, line: s.line}
		}
		return
	}
	if s.mismatch != nil {
		return
	}
	o := s.open[n-1]
	indent := s.indent()
	if s.odd == nil && w == "end" && o.line < s.line && indent < o.indent && bytes.HasPrefix(s.text[s.start+indent:], []byte("end")) {
		s.odd = &o
	}
	s.open = s.open[:n-1]
}

func closes(end, start string) bool {
	switch end {
	case "end":
		return start == "function" || start == "do" || start == "if"
	case "until":
		return start == "repeat"
	case ")":
		return start == "("
	case "]":
		return start == "["
	default:
		return start == "{"
	}
}

func isDigit(c byte) bool     { return '0' <= c && c <= '9' }
func isWordStart(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }
func isWord(c byte) bool      { return isWordStart(c) || isDigit(c) }
