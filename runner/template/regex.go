package template

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
)

func patternTest(anchor func(string) string) exec.TestFunction {
	return func(_ *exec.Context, in *exec.Value, params *exec.VarArgs) (bool, error) {
		if in.IsError() {
			return false, in
		}
		re, err := regexp.Compile(anchor(params.First().String()))
		if err != nil {
			return false, err
		}
		return re.MatchString(in.String()), nil
	}
}

// expression compiles Python's pattern; the syntaxes agree but for lookaround
// and backreferences, which are errors here.
func expression(args []any, kw map[string]any) (*regexp.Regexp, error) {
	if len(args) == 0 {
		return nil, errors.New("a pattern is needed")
	}
	flags := ""
	if truthy(kw["ignorecase"]) {
		flags += "i"
	}
	if truthy(kw["multiline"]) {
		flags += "m"
	}
	p := text(args[0])
	if flags != "" {
		p = "(?" + flags + ")" + p
	}
	return regexp.Compile(p)
}

var backreference = regexp.MustCompile(`\\g<(\w+)>|\\(\d)`)

func regexReplace(in any, args []any, kw map[string]any) (any, error) {
	re, err := expression(args, kw)
	if err != nil {
		return nil, err
	}
	with := ""
	if len(args) > 1 {
		with = text(args[1])
	}
	with = strings.ReplaceAll(with, "$", "$$")
	return re.ReplaceAllString(text(in), backreference.ReplaceAllString(with, "$${$1$2}")), nil
}

func regexSearch(in any, args []any, kw map[string]any) (any, error) {
	re, err := expression(args, kw)
	if err != nil {
		return nil, err
	}
	m := re.FindStringSubmatch(text(in))
	if m == nil {
		return nil, nil
	}
	if len(args) == 1 {
		return m[0], nil
	}
	var groups []any
	for _, g := range args[1:] {
		n := re.SubexpIndex(strings.TrimSuffix(strings.TrimPrefix(text(g), `\g<`), ">"))
		if n < 0 {
			_, _ = fmt.Sscanf(text(g), `\%d`, &n)
		}
		if n < 0 || n >= len(m) {
			return nil, fmt.Errorf("no group %q", text(g))
		}
		groups = append(groups, m[n])
	}
	return groups, nil
}

func regexFindall(in any, args []any, kw map[string]any) (any, error) {
	re, err := expression(args, kw)
	if err != nil {
		return nil, err
	}
	all := []any{}
	for _, m := range re.FindAllStringSubmatch(text(in), -1) {
		switch len(m) {
		case 1:
			all = append(all, m[0])
		case 2:
			all = append(all, m[1])
		default:
			var groups []any
			for _, g := range m[1:] {
				groups = append(groups, g)
			}
			all = append(all, groups)
		}
	}
	return all, nil
}
