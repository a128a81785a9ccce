package inventory

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// ParseVars reads what -e was given, in order; later values win. Each argument
// is one of
//
//	name=value other="two words"   pairs, quoted as in a shell; values are text
//	{"name": [1, 2]}               a map in YAML or JSON
//	@file.yml                      a file that holds such a map
//
// An argument with one pair and blanks that are not quoted, which is what the
// shell leaves of name="two words", is that pair.
func ParseVars(args []string) (map[string]any, error) { return ParseSecretVars(args, nil) }

// ParseSecretVars is ParseVars where secrets opens what is encrypted; nil: it
// stays so.
func ParseSecretVars(args []string, secrets Secrets) (map[string]any, error) {
	out := map[string]any{}
	for _, a := range args {
		a = strings.TrimSpace(a)
		var vs map[string]any
		var err error
		switch {
		case a == "":
			continue
		case a[0] == '@':
			var data []byte
			if data, err = readCapped(a[1:]); err != nil {
				return nil, fmt.Errorf("read variables from %s: %s", a[1:], reason(err))
			}
			vs, err = varsOf(&file{name: a[1:], data: data, secrets: secrets})
		case a[0] == '{' || a[0] == '[':
			vs, err = varsOf(&file{name: "-e", data: []byte(a), secrets: secrets})
		default:
			vs, err = parsePairs(a)
		}
		if err != nil {
			return nil, err
		}
		maps.Copy(out, vs)
	}
	return out, nil
}

// varsOf reads a map of variables from YAML or JSON.
func varsOf(f *file) (map[string]any, error) {
	if p := f.openFile(); p != nil {
		return nil, p
	}
	var probs problems
	d, err := parseDocument(f, &probs)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if d.root == nil {
		return out, nil
	}
	if n := d.resolve(d.root); n.Kind != yaml.MappingNode {
		if !falsy(d.value(n)) {
			d.fail(n, "write each variable as \"name: value\"", "variables must be a map, got %s", kindName(n))
		}
		return out, probs.err()
	}
	for _, p := range d.pairs(d.root) {
		out[p.name] = plain(d.variable(p).val)
	}
	return out, probs.err()
}

func parsePairs(text string) (map[string]any, error) {
	words, err := splitPairs(text)
	if err != nil {
		return nil, fmt.Errorf("variables %q: %w", clipped(text), err)
	}
	bare := -1 // a word that is no pair
	pairs := 0
	for i, w := range words {
		if cutPair(w) > 0 {
			pairs++
		} else if bare < 0 {
			bare = i
		}
	}
	switch {
	case bare < 0:
	case bare > 0 && pairs == 1:
		words = []string{text}
	case pairs == 0 && strings.ContainsAny(text[:1], "/.~"):
		return nil, fmt.Errorf("%q is no variable; to read a file write @%s", clipped(text), clipped(text))
	default:
		return nil, fmt.Errorf("variables %q: %q is not name=value; quote values with blanks: name=\"two words\"", clipped(text), clipped(words[bare]))
	}
	out := make(map[string]any, len(words))
	for _, w := range words {
		i := cutPair(w)
		out[strings.TrimSpace(w[:i])] = unescape(unquote(strings.TrimSpace(w[i+1:])))
	}
	return out, nil
}

// cutPair finds the = that ends the name; one behind a backslash does not.
func cutPair(w string) int {
	for i := 1; i < len(w); i++ {
		if w[i] == '=' && w[i-1] != '\\' {
			return i
		}
	}
	return -1
}

var errOpenQuote = errors.New("a quotation is not closed")

// splitPairs splits at blanks outside quotes and templates, and keeps both as
// they are: a backslash means something in values only.
func splitPairs(s string) ([]string, error) {
	var out []string
	var quote rune
	start, braces := -1, 0
	escaped := false
	for i, r := range s {
		if unicode.IsSpace(r) && quote == 0 && braces == 0 {
			if start >= 0 {
				out = append(out, s[start:i])
				start = -1
			}
			continue
		}
		if start < 0 {
			start = i
		}
		switch {
		case escaped:
			escaped = false
			continue
		case r == '\\':
			escaped = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case strings.HasPrefix(s[i:], "{{") || strings.HasPrefix(s[i:], "{%"):
			braces++
		case braces > 0 && (strings.HasPrefix(s[i:], "}}") || strings.HasPrefix(s[i:], "%}")):
			braces--
		}
	}
	if quote != 0 {
		return nil, errOpenQuote
	}
	if start >= 0 {
		out = append(out, s[start:])
	}
	return out, nil
}

func unquote(s string) string {
	if len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] && s[len(s)-2] != '\\' {
		return s[1 : len(s)-1]
	}
	return s
}

var escapes = regexp.MustCompile(`\\(?:U[0-9A-Fa-f]{8}|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[\\'"abfnrtv])`)

// unescape replaces \n, \x41 and the like, as Ansible does in such pairs.
func unescape(s string) string {
	return escapes.ReplaceAllStringFunc(s, func(e string) string {
		switch e[1] {
		case 'U', 'u', 'x':
			n, err := strconv.ParseUint(e[2:], 16, 32)
			if err != nil || n > unicode.MaxRune {
				return e
			}
			return string(rune(n))
		}
		return string("\\'\"\a\b\f\n\r\t\v"[strings.IndexByte(`\'"abfnrtv`, e[1])])
	})
}
