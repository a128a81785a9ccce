package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// minLine is the size of a line of a secret that is searched for by itself, in
// bytes: keys of many lines are often shown line by line.
const minLine = 12

// forms are the texts to search for. In packed ones blanks may stand between
// the characters, as programs break long lines of base64.
type forms struct {
	exact, packed map[string]bool
}

func (f *forms) join(o *forms) {
	maps.Copy(f.exact, o.exact)
	maps.Copy(f.packed, o.packed)
}

func (f *forms) add(value string) {
	if f.exact == nil {
		f.exact, f.packed = map[string]bool{}, map[string]bool{}
	}
	trimmed := strings.TrimSpace(value)
	texts := []string{trimmed}
	if lines := strings.FieldsFunc(trimmed, func(r rune) bool { return r == '\n' || r == '\r' }); len(lines) > 1 {
		for _, l := range lines {
			// -----BEGIN …----- is in every key.
			if l = strings.TrimSpace(l); len(l) >= minLine && !strings.HasPrefix(l, "-----") {
				texts = append(texts, l)
			}
		}
	}
	for _, text := range texts {
		for _, s := range spellings(text) {
			f.exact[s] = true
			if t := strings.ReplaceAll(s, "\n", "\r\n"); t != s {
				f.exact[t] = true // as terminals and Windows have it
			}
		}
		for _, s := range encodings([]byte(text)) {
			f.packed[s] = true
		}
	}
	// A value with blanks around it is encoded with them.
	if value != trimmed {
		for _, s := range encodings([]byte(value)) {
			f.packed[s] = true
		}
	}
}

// encodings are the forms of bytes.
func encodings(b []byte) []string {
	low := hex.EncodeToString(b)
	out := []string{low, strings.ToUpper(low)}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			// What stands before and behind the secret decides about the
			// characters at both ends.
			s := enc.EncodeToString(append(make([]byte, before), b...))
			s = s[(8*before+5)/6 : 8*(before+len(b))/6]
			if len(s) >= minLength {
				out = append(out, s)
			}
			if before == 0 {
				out = append(out, enc.EncodeToString(b), enc.WithPadding('=').EncodeToString(b))
			}
		}
	}
	return out
}

// spellings are the forms of text.
func spellings(s string) []string {
	out := []string{s, html.EscapeString(s), strings.ReplaceAll(s, "'", "''")}
	for _, u := range []string{
		url.QueryEscape(s), url.PathEscape(s), strings.ReplaceAll(url.QueryEscape(s), "+", "%20"),
		percent(s, "-_.~/"), percent(s, "-_.!~*'()"), percent(s, ""), percentAll(s),
	} {
		out = append(out, u, lowerPercent(u))
	}
	escaped := []string{inJSON(s, true), inJSON(s, false), ascii(s), strings.ReplaceAll(ascii(s), "/", `\/`), within(strconv.Quote(s)), within(strconv.QuoteToASCII(s))}
	for _, e := range escaped[:3] {
		escaped = append(escaped, inJSON(e, false)) // JSON as text in JSON
	}
	out = append(out, escaped...)
	return append(out,
		strings.ReplaceAll(s, "'", `'\''`), strings.ReplaceAll(s, "'", `'"'"'`), strings.ReplaceAll(s, "'", `\'`),
		inDouble.Replace(s), words(s), dollar.Replace(s))
}

// within takes the quotes off.
func within(quoted string) string { return quoted[1 : len(quoted)-1] }

func inJSON(s string, escapeHTML bool) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(escapeHTML)
	if err := enc.Encode(s); err != nil {
		return s
	}
	return within(strings.TrimSuffix(b.String(), "\n"))
}

// ascii is JSON as Python and others write it, without anything but ASCII.
func ascii(s string) string {
	var b strings.Builder
	for _, r := range inJSON(s, false) {
		switch {
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// percent encodes all but letters, digits and what keep has.
func percent(s, keep string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if alphanumeric(c) || strings.IndexByte(keep, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func percentAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

// lowerPercent writes the digits of %XX in lower case.
func lowerPercent(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], strings.ToLower(string(b[i+1:i+3])))
			i += 2
		}
	}
	return string(b)
}

var (
	// inDouble is a word in double quotes.
	inDouble = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`")
	// dollar is a word in $'…'.
	dollar = strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`, "\t", `\t`, "\r", `\r`)
)

// words has a backslash before what a shell would obey, as printf %q.
func words(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c < utf8.RuneSelf && !alphanumeric(c) && !strings.ContainsRune("_-./:=@%+,\n", rune(c)) {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}
