package template

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
)

func ternary(in any, args []any, _ map[string]any) (any, error) {
	if len(args) < 2 {
		return nil, errors.New("ternary takes two values")
	}
	switch {
	case in == nil && len(args) > 2:
		return args[2], nil
	case truthy(in):
		return args[0], nil
	}
	return args[1], nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

func shellQuote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}

func baseOf(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }

func dirOf(s string) string {
	i := strings.LastIndexByte(s, '/')
	switch {
	case i < 0:
		return ""
	case i == 0:
		return "/"
	}
	return s[:i]
}

func splitExt(in any, _ []any, _ map[string]any) (any, error) {
	s := text(in)
	ext := path.Ext(s)
	if strings.HasPrefix(baseOf(s), ".") && strings.Count(baseOf(s), ".") == 1 {
		ext = ""
	}
	return []any{strings.TrimSuffix(s, ext), ext}, nil
}

func comment(in any, args []any, kw map[string]any) (any, error) {
	mark := "# "
	if len(args) > 0 {
		switch style := text(args[0]); style {
		case "plain":
		case "c":
			mark = "// "
		case "erlang":
			mark = "% "
		default:
			return nil, fmt.Errorf("no style %q: use plain, c or erlang, or decoration=", style)
		}
	}
	if d, ok := kw["decoration"].(string); ok {
		mark = d
	}
	edge := strings.TrimRight(mark, " ")
	lines := []string{edge}
	for line := range strings.Lines(text(in)) {
		lines = append(lines, strings.TrimRight(mark+strings.TrimSuffix(line, "\n"), " "))
	}
	return strings.Join(append(lines, edge), "\n"), nil
}

func split(in any, args []any, _ map[string]any) (any, error) {
	var parts []string
	if len(args) == 0 {
		parts = strings.Fields(text(in))
	} else {
		parts = strings.Split(text(in), text(args[0]))
	}
	return list(parts), nil
}
