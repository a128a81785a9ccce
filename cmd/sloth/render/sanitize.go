package render

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Sanitize makes text that a host sent harmless for a terminal: control
// characters, escape sequences and marks that turn the direction of writing
// are shown as text (\x1b, \u202e), and so are bytes that are no UTF-8. Line
// breaks and tabs stay. Applying it twice changes nothing more.
func Sanitize(s string) string { return sanitize(s, false) }

// Name is Sanitize for what has to stay on one line: host names, task names,
// paths.
func Name(s string) string { return sanitize(s, true) }

func sanitize(s string, oneLine bool) string {
	if clean(s, oneLine) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\r' && !oneLine && i+1 < len(s) && s[i+1] == '\n':
			// A line break as others write it.
		case !risky(r, oneLine):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteByte(' ')
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += size
	}
	return b.String()
}

func clean(s string, oneLine bool) bool {
	for i, r := range s {
		if risky(r, oneLine) || (r == utf8.RuneError && badAt(s, i)) {
			return false
		}
	}
	return true
}

func badAt(s string, i int) bool {
	_, size := utf8.DecodeRuneInString(s[i:])
	return size == 1
}

// risky reports whether a terminal, or a reader, could take r for more than a
// character.
func risky(r rune, oneLine bool) bool {
	switch {
	case r == '\n' || r == '\t':
		return oneLine
	case r < 0x20, r >= 0x7f && r <= 0x9f: // C0, delete, C1
		return true
	case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // direction
		return true
	case r == 0x2028, r == 0x2029: // line and paragraph separators
		return true
	case r >= 0xfff9 && r <= 0xfffb: // interlinear annotation hides text
		return true
	}
	return false
}

// lines splits what a program printed into lines for people. A carriage return
// inside of a line begins it anew, as progress bars do; the last state counts.
func lines(s string) []string {
	s = strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	if s == "" {
		return nil
	}
	out := strings.Split(s, "\n")
	for i, l := range out {
		l = strings.TrimRight(l, "\r")
		out[i] = Sanitize(l[strings.LastIndexByte(l, '\r')+1:])
	}
	return out
}
