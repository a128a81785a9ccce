package template

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// filter is a filter on plain Go values.
type filter func(in any, args []any, kw map[string]any) (any, error)

// ansibleFilters are the filters Ansible adds to Jinja2 that templates use
// most, and the engine's own made strict.
func ansibleFilters(b *budget) *exec.FilterSet {
	set := map[string]exec.FilterFunction{}
	for name, f := range map[string]filter{
		"to_json":      func(in any, _ []any, _ map[string]any) (any, error) { return pythonJSON(in, 0) },
		"to_nice_json": func(in any, _ []any, kw map[string]any) (any, error) { return pythonJSON(in, number(kw["indent"], 4)) },
		"to_yaml":      toYAML,
		"to_nice_yaml": toYAML,
		"from_json":    fromJSON,
		"from_yaml":    fromYAML,
		"b64encode": func(in any, _ []any, _ map[string]any) (any, error) {
			return base64.StdEncoding.EncodeToString([]byte(text(in))), nil
		},
		"b64decode":     decode64,
		"regex_replace": regexReplace,
		"regex_search":  regexSearch,
		"regex_findall": regexFindall,
		"regex_escape":  func(in any, _ []any, _ map[string]any) (any, error) { return regexp.QuoteMeta(text(in)), nil },
		"ternary":       ternary,
		"bool":          func(in any, _ []any, _ map[string]any) (any, error) { return truth(in), nil },
		"quote":         func(in any, _ []any, _ map[string]any) (any, error) { return shellQuote(text(in)), nil },
		"basename":      func(in any, _ []any, _ map[string]any) (any, error) { return baseOf(text(in)), nil },
		"dirname":       func(in any, _ []any, _ map[string]any) (any, error) { return dirOf(text(in)), nil },
		"splitext":      splitExt,
		"hash":          hashOf,
		"md5":           sum(func(b []byte) []byte { s := md5.Sum(b); return s[:] }),
		"sha1":          sum(func(b []byte) []byte { s := sha1.Sum(b); return s[:] }),
		"checksum":      sum(func(b []byte) []byte { s := sha1.Sum(b); return s[:] }),
		"combine":       combine,
		"dict2items":    dictItems,
		"items2dict":    itemsDict,
		"flatten":       flatten,
		"union":         union,
		"intersect":     intersect,
		"difference":    difference,
		"comment":       comment,
		"split":         split,
		"type_debug":    func(in any, _ []any, _ map[string]any) (any, error) { return fmt.Sprintf("%T", in), nil },
	} {
		set[name] = adapt(f)
	}
	if f, ok := builtins.Filters.Get("dictsort"); ok {
		// The engine's own passes over dict literals.
		set["dictsort"] = strictly(func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
			if in.IsError() {
				return in
			}
			return f(e, exec.AsValue(simple(in)), params)
		})
	}
	// mandatory turns "undefined" into an error of its own; on a defined value it
	// does nothing.
	set["mandatory"] = func(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		if in.IsError() && len(params.Args) > 0 {
			return exec.AsValue(errors.New(params.Args[0].String()))
		}
		return in
	}
	for _, name := range []string{
		"batch", "first", "groupby", "join", "last", "length", "count", "list", "map", "max",
		"min", "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "sort", "string", "sum",
		"tojson", "unique",
	} {
		if f, ok := builtins.Filters.Get(name); ok {
			set[name] = strictly(f)
		}
	}
	set[strictFilter] = func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		bad := undefinedItem(in)
		if in.IsError() {
			bad = in
		}
		if bad != nil && b.fail == nil {
			b.fail = bad
		}
		if bad != nil {
			return bad
		}
		return in
	}
	return exec.NewFilterSet(set)
}

// ansibleTests are Ansible's tests beyond Jinja2's.
var ansibleTests = exec.NewTestSet(map[string]exec.TestFunction{
	"match":  patternTest(func(p string) string { return "^(?:" + p + ")" }),
	"search": patternTest(func(p string) string { return p }),
	"regex":  patternTest(func(p string) string { return p }),
	"subset": func(_ *exec.Context, in *exec.Value, params *exec.VarArgs) (bool, error) {
		return within(simple(in), simple(params.First()))
	},
	"superset": func(_ *exec.Context, in *exec.Value, params *exec.VarArgs) (bool, error) {
		return within(simple(params.First()), simple(in))
	},
	"truthy": func(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) {
		return !in.IsError() && in.IsTrue(), nil
	},
	"falsy": func(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) {
		return !in.IsError() && !in.IsTrue(), nil
	},
})

func adapt(f filter) exec.FilterFunction {
	return func(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		if in.IsError() {
			return in
		}
		if bad := undefinedItem(in); bad != nil {
			return bad
		}
		args := make([]any, len(params.Args))
		for i, a := range params.Args {
			args[i] = simple(a)
		}
		kw := make(map[string]any, len(params.KwArgs))
		for k, a := range params.KwArgs {
			kw[k] = simple(a)
		}
		out, err := f(simple(in), args, kw)
		if err != nil {
			return exec.AsValue(err)
		}
		return exec.AsValue(out)
	}
}
