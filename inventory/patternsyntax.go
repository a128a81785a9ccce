package inventory

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// compilePattern makes a test for names. exact means that only p itself
// matches, and there is no test.
func compilePattern(p string) (match func(string) bool, exact bool, err error) {
	if p[0] == '~' {
		re, err := regexp.Compile(`^(?:` + pythonToGo(p[1:]) + `)`)
		if err != nil {
			return nil, false, fmt.Errorf("the pattern %q: %s", p, explainRegexp(err))
		}
		return re.MatchString, false, nil
	}
	if !strings.ContainsAny(p, "*?[") {
		return nil, true, nil
	}
	re, err := regexp.Compile(globToRegexp(p))
	if err != nil {
		return func(string) bool { return false }, false, nil // a set such as [z-a] holds nothing
	}
	return re.MatchString, false, nil
}

// pythonToGo rewrites what the two dialects spell differently.
func pythonToGo(p string) string {
	return upToN.ReplaceAllString(strings.ReplaceAll(p, `\Z`, `\z`), "{0,$1}")
}

var upToN = regexp.MustCompile(`\{,([0-9]+)\}`)

func explainRegexp(err error) string {
	var e *syntax.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	const dialect = "regular expressions are those of RE2, which has no "
	switch {
	case strings.HasPrefix(e.Expr, "(?=") || strings.HasPrefix(e.Expr, "(?!") || strings.HasPrefix(e.Expr, "(?<"):
		return dialect + "lookahead and lookbehind; write a:!b to leave hosts out"
	case e.Code == syntax.ErrInvalidEscape && len(e.Expr) == 2 && e.Expr[1] >= '1' && e.Expr[1] <= '9', strings.HasPrefix(e.Expr, "(?P="):
		return dialect + "backreferences"
	case strings.HasPrefix(e.Expr, "(?"):
		return dialect + e.Expr
	}
	return fmt.Sprintf("this is no regular expression: %s: %s", e.Code, e.Expr)
}

// globToRegexp translates *, ? and [sets] to a regular expression for whole
// names.
func globToRegexp(p string) string {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(p); {
		switch p[i] {
		case '*':
			b.WriteString(`.*`)
		case '?':
			b.WriteByte('.')
		case '[':
			if set, length := globSet(p[i:]); length > 0 {
				b.WriteString(set)
				i += length
				continue
			}
			b.WriteString(`\[`)
		default:
			end := i + 1
			for end < len(p) && strings.IndexByte("*?[", p[end]) < 0 {
				end++
			}
			b.WriteString(regexp.QuoteMeta(p[i:end]))
			i = end
			continue
		}
		i++
	}
	b.WriteString(`\z`)
	return b.String()
}

// globSet translates the set that s begins with; length 0 means that it never
// ends, so the bracket is an ordinary character.
func globSet(s string) (set string, length int) {
	end := 1
	if end < len(s) && s[end] == '!' {
		end++
	}
	if end < len(s) && s[end] == ']' {
		end++
	}
	for end < len(s) && s[end] != ']' {
		end++
	}
	if end >= len(s) {
		return "", 0
	}
	inner := s[1:end]
	var b strings.Builder
	b.WriteByte('[')
	if strings.HasPrefix(inner, "!") {
		b.WriteByte('^')
		inner = inner[1:]
	}
	for _, r := range inner {
		if strings.ContainsRune(`\[]^&~|`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	b.WriteByte(']')
	return b.String(), end + 1
}
