package template

import (
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// methods are the engine's methods of Python's types, with split and strip made
// to work without arguments and update to keep what it changes.
var methods = func() exec.Methods {
	text := map[string]exec.Method[string]{}
	for _, name := range []string{
		"capitalize", "capwords", "casefold", "center", "count", "encode", "endswith", "expandtabs", "find", "format",
		"format_map", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isprintable",
		"isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "partition", "removeprefix",
		"removesuffix", "replace", "rfind", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines",
		"startswith", "strip", "swapcase", "title", "upper", "zfill",
	} {
		if m, ok := builtins.Methods.Str.Get(name); ok {
			text[name] = m
		}
	}
	blank(text, "split", func(s string) any { return list(strings.Fields(s)) })
	blank(text, "rsplit", func(s string) any { return list(strings.Fields(s)) })
	blank(text, "strip", func(s string) any { return strings.TrimSpace(s) })
	m := builtins.Methods
	m.Str = exec.NewMethodSet(text)
	dicts := map[string]exec.Method[map[string]any]{"update": update}
	for _, name := range []string{"keys", "values", "items", "get", "pop", "setdefault", "copy", "clear"} {
		if method, ok := builtins.Methods.Dict.Get(name); ok {
			dicts[name] = method
		}
	}
	m.Dict = exec.NewMethodSet(dicts)
	return m
}()

// update is dict.update; the engine's own changes a copy.
func update(_ map[string]any, value *exec.Value, args *exec.VarArgs) (any, error) {
	var err error
	for _, arg := range args.Args {
		arg.Iterate(func(_, _ int, k, v *exec.Value) bool {
			if v != nil {
				err = value.Set(k, v.Interface())
			}
			return err == nil
		}, func() {})
	}
	for k, v := range args.KwArgs {
		if err == nil {
			err = value.Set(exec.AsValue(k), v.Interface())
		}
	}
	return nil, err
}

// blank replaces a method where it is called without arguments.
func blank(set map[string]exec.Method[string], name string, f func(string) any) {
	full := set[name]
	set[name] = func(self string, value *exec.Value, args *exec.VarArgs) (any, error) {
		if len(args.Args) == 0 && len(args.KwArgs) == 0 {
			return f(self), nil
		}
		return full(self, value, args)
	}
}

func list(parts []string) []any {
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return out
}
