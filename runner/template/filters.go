package template

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
	"gopkg.in/yaml.v3"
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

func within(small, large any) (bool, error) {
	a, err := items(small)
	if err != nil {
		return false, err
	}
	b, err := items(large)
	if err != nil {
		return false, err
	}
	for _, v := range a {
		if !holds(b, v) {
			return false, nil
		}
	}
	return true, nil
}

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

// simple is the plain Go value behind v.
func simple(v *exec.Value) any {
	if v == nil || v.IsNil() {
		return nil
	}
	switch x := v.Interface().(type) {
	case string, bool, int, float64, map[string]any, []any:
		return x
	}
	return textKeys(v.ToGoSimpleType(true))
}

func text(v any) string { return exec.AsValue(v).String() }

func number(v any, otherwise int) int {
	if v == nil {
		return otherwise
	}
	return exec.AsValue(v).Integer()
}

func truth(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return slices.Contains([]string{"yes", "on", "1", "true", "y", "t"}, strings.ToLower(v))
	case int:
		return v == 1
	case float64:
		return v == 1
	}
	return false
}

func items(v any) ([]any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []any:
		return v, nil
	case string:
		return nil, fmt.Errorf("a list is needed, not the text %q", v)
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Slice && rv.Kind() != reflect.Array {
		return nil, fmt.Errorf("a list is needed, not %T", v)
	}
	list := make([]any, rv.Len())
	for i := range list {
		list[i] = rv.Index(i).Interface()
	}
	return list, nil
}

func holds(list []any, v any) bool {
	return slices.ContainsFunc(list, func(e any) bool { return exec.AsValue(e).EqualValueTo(exec.AsValue(v)) })
}

func dict(v any) (map[string]any, error) {
	switch v := v.(type) {
	case map[string]any:
		return v, nil
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[text(k)] = e
		}
		return m, nil
	}
	return nil, fmt.Errorf("a dictionary is needed, not %T", v)
}

// pythonJSON is json.dumps as Ansible calls it: ", " and ": " between, keys sorted.
func pythonJSON(v any, indent int) (string, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if indent > 0 {
		enc.SetIndent("", strings.Repeat(" ", indent))
	}
	if err := enc.Encode(textKeys(v)); err != nil {
		return "", err
	}
	out := strings.TrimSuffix(buf.String(), "\n")
	if indent > 0 {
		return out, nil
	}
	return spaced(out), nil
}

// spaced puts Python's blanks after the separators of compact JSON.
func spaced(compact string) string {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(compact); i++ {
		c := compact[i]
		b.WriteByte(c)
		switch {
		case quoted && c == '\\':
			i++
			b.WriteByte(compact[i])
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == ':'):
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// textKeys makes every key text, as JSON needs.
func textKeys(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[text(k)] = textKeys(e)
		}
		return m
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = textKeys(e)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = textKeys(e)
		}
		return list
	}
	return v
}

func toYAML(in any, _ []any, kw map[string]any) (any, error) {
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(number(kw["indent"], 4))
	if err := enc.Encode(in); err != nil {
		return nil, err
	}
	return buf.String(), enc.Close()
}

func fromJSON(in any, _ []any, _ map[string]any) (any, error) {
	dec := json.NewDecoder(strings.NewReader(text(in)))
	dec.UseNumber() // 1 and 1.0 print differently
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return plain(v), nil
}

func fromYAML(in any, _ []any, _ map[string]any) (any, error) {
	var v any
	if err := yaml.Unmarshal([]byte(text(in)), &v); err != nil {
		return nil, err
	}
	return plain(v), nil
}

func decode64(in any, _ []any, _ map[string]any) (any, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text(in)))
	if err != nil {
		return nil, err
	}
	return string(b), nil
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

func truthy(v any) bool { return v != nil && exec.AsValue(v).IsTrue() }

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

func sum(f func([]byte) []byte) filter {
	return func(in any, _ []any, _ map[string]any) (any, error) {
		return hex.EncodeToString(f([]byte(text(in)))), nil
	}
}

func hashOf(in any, args []any, _ map[string]any) (any, error) {
	kind := "sha1"
	if len(args) > 0 {
		kind = text(args[0])
	}
	b := []byte(text(in))
	switch kind {
	case "md5":
		s := md5.Sum(b)
		return hex.EncodeToString(s[:]), nil
	case "sha1":
		s := sha1.Sum(b)
		return hex.EncodeToString(s[:]), nil
	case "sha256":
		s := sha256.Sum256(b)
		return hex.EncodeToString(s[:]), nil
	case "sha512":
		s := sha512.Sum512(b)
		return hex.EncodeToString(s[:]), nil
	}
	return nil, fmt.Errorf("no algorithm %q: use md5, sha1, sha256 or sha512", kind)
}

func combine(in any, args []any, kw map[string]any) (any, error) {
	out, err := dict(in)
	if err != nil {
		return nil, err
	}
	for _, a := range args {
		m, err := dict(a)
		if err != nil {
			return nil, err
		}
		out = merged(out, m, truthy(kw["recursive"]))
	}
	return out, nil
}

func merged(a, b map[string]any, deep bool) map[string]any {
	out := make(map[string]any, len(a)+len(b))
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		x, ok1 := out[k].(map[string]any)
		y, ok2 := v.(map[string]any)
		if deep && ok1 && ok2 {
			v = merged(x, y, true)
		}
		out[k] = v
	}
	return out
}

func keyNames(kw map[string]any) (string, string) {
	key, value := "key", "value"
	if k, ok := kw["key_name"].(string); ok {
		key = k
	}
	if v, ok := kw["value_name"].(string); ok {
		value = v
	}
	return key, value
}

func dictItems(in any, _ []any, kw map[string]any) (any, error) {
	m, err := dict(in)
	if err != nil {
		return nil, err
	}
	key, value := keyNames(kw)
	list := []any{}
	for _, k := range sortedKeys(m) {
		list = append(list, map[string]any{key: k, value: m[k]})
	}
	return list, nil
}

func itemsDict(in any, _ []any, kw map[string]any) (any, error) {
	list, err := items(in)
	if err != nil {
		return nil, err
	}
	key, value := keyNames(kw)
	out := make(map[string]any, len(list))
	for _, e := range list {
		m, err := dict(e)
		if err != nil {
			return nil, err
		}
		out[text(m[key])] = m[value]
	}
	return out, nil
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func flatten(in any, args []any, kw map[string]any) (any, error) {
	levels := -1
	if len(args) > 0 {
		levels = number(args[0], -1)
	}
	if v, ok := kw["levels"]; ok {
		levels = number(v, -1)
	}
	list, err := items(in)
	if err != nil {
		return nil, err
	}
	return flat([]any{}, list, levels), nil
}

func flat(out, list []any, levels int) []any {
	for _, e := range list {
		if sub, ok := e.([]any); ok && levels != 0 {
			out = flat(out, sub, levels-1)
		} else if e != nil {
			out = append(out, e)
		}
	}
	return out
}

// sets reads the two lists of a set filter.
func sets(in any, args []any) (a, b []any, err error) {
	if len(args) == 0 {
		return nil, nil, errors.New("a second list is needed")
	}
	if a, err = items(in); err != nil {
		return nil, nil, err
	}
	b, err = items(args[0])
	return a, b, err
}

func pick(from []any, keep func(any) bool) []any {
	out := []any{}
	for _, v := range from {
		if keep(v) && !holds(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func union(in any, args []any, _ map[string]any) (any, error) {
	a, b, err := sets(in, args)
	if err != nil {
		return nil, err
	}
	return pick(append(slices.Clone(a), b...), func(any) bool { return true }), nil
}

func intersect(in any, args []any, _ map[string]any) (any, error) {
	a, b, err := sets(in, args)
	if err != nil {
		return nil, err
	}
	return pick(a, func(v any) bool { return holds(b, v) }), nil
}

func difference(in any, args []any, _ map[string]any) (any, error) {
	a, b, err := sets(in, args)
	if err != nil {
		return nil, err
	}
	return pick(a, func(v any) bool { return !holds(b, v) }), nil
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
