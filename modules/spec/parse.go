package spec

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/modules"
)

// Mixed is a table with both a list part and named keys, as in
// pkg.install({"nginx", state = "latest"}).
type Mixed struct {
	List  []any
	Named map[string]any
}

// Parse fills the struct of f from the arguments of one call. args holds nil,
// bool, float64, int64, string, []any, map[string]any, Mixed, modules.Secret
// and modules.Callback values. workdir is the base of relative host paths.
// Errors speak of arguments alone; the caller adds the function's name.
func Parse(f modules.Func, args []any, workdir string) (any, error) {
	s := Of(f)
	made := f.New()
	p := parser{sig: s, into: reflect.ValueOf(made).Elem(), given: make([]string, len(s.Args)), workdir: workdir}
	if err := p.all(args); err != nil {
		return nil, err
	}
	for i, a := range s.Args {
		if a.Required && p.given[i] == "" {
			return nil, fmt.Errorf("%s is missing: %s", a.Name, lowerFirst(a.Doc))
		}
	}
	if v, ok := made.(modules.Validator); ok {
		if err := v.Validate(); err != nil {
			return nil, err
		}
	}
	return made, nil
}

type parser struct {
	sig     *Signature
	into    reflect.Value
	given   []string // by argument: the name it came under; empty: not given
	workdir string
}

func (p *parser) all(args []any) error {
	for len(args) > 0 && args[len(args)-1] == nil {
		args = args[:len(args)-1]
	}
	pos := p.sig.pos
	for n, v := range args {
		last := n == len(args)-1
		var at *Argument
		if n < len(pos) {
			at = &p.sig.Args[pos[n]]
		}
		switch t := v.(type) {
		case map[string]any:
			if last && (at == nil || !at.takesTable()) {
				return p.named(t)
			}
		case Mixed:
			if last && (at == nil || !at.takesTable()) {
				if p.sig.prime < 0 {
					return fmt.Errorf("a list makes no sense here; name the arguments: %s", strings.Join(p.sig.known, ", "))
				}
				if err := p.set(p.sig.prime, p.sig.Args[p.sig.prime].Name, t.List); err != nil {
					return err
				}
				return p.named(t.Named)
			}
		case nil:
			continue
		}
		switch {
		case at == nil && len(pos) == 0 && len(p.sig.Args) == 0:
			return fmt.Errorf("it takes no arguments, but got %s", typeOf(v))
		case at == nil:
			return fmt.Errorf("argument %d is too many: by position it takes %s", n+1, p.order())
		}
		if err := p.set(pos[n], at.Name, v); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) order() string {
	var names []string
	for _, i := range p.sig.pos {
		names = append(names, p.sig.Args[i].Name)
	}
	if names == nil {
		return "nothing; name the arguments: " + strings.Join(p.sig.known, ", ")
	}
	return strings.Join(names, ", ")
}

func (p *parser) named(t map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(t)) {
		i, ok := p.sig.names[key]
		if !ok {
			return p.sig.unknown(key)
		}
		if t[key] == nil {
			continue
		}
		if err := p.set(i, key, t[key]); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) set(i int, as string, v any) error {
	a := &p.sig.Args[i]
	if was := p.given[i]; was != "" {
		if was == as {
			return fmt.Errorf("%s is given twice", as)
		}
		return fmt.Errorf("%s and %s are the same argument; give one", was, as)
	}
	p.given[i] = as
	return p.assign(a, as, p.into.FieldByIndex(a.index), v)
}

func (p *parser) assign(a *Argument, name string, into reflect.Value, v any) error {
	if into.Kind() == reflect.Pointer {
		fresh := reflect.New(into.Type().Elem())
		if err := p.assign(a, name, fresh.Elem(), v); err != nil {
			return err
		}
		into.Set(fresh)
		return nil
	}
	wrong := func() error { return fmt.Errorf("%s must be %s, not %s", name, article(a.Type), typeOf(v)) }
	switch into.Type() {
	case anyType:
		if v != nil {
			into.Set(reflect.ValueOf(plain(v)))
		}
		return nil
	case modeType:
		m, err := mode(v, wrong)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		into.SetString(string(m))
		return nil
	case secretType:
		switch t := v.(type) {
		case modules.Secret:
			into.Set(reflect.ValueOf(t))
		case string:
			into.Set(reflect.ValueOf(modules.NewSecret(t)))
		default:
			return wrong()
		}
		return nil
	case textType:
		if t, ok := v.(modules.Secret); ok {
			into.Set(reflect.ValueOf(modules.SecretText(t)))
			return nil
		}
		text, ok := textOf(v)
		if !ok {
			return wrong()
		}
		into.Set(reflect.ValueOf(modules.PlainText(text)))
		return nil
	case callbackType:
		c, ok := v.(modules.Callback)
		if !ok {
			return wrong()
		}
		into.Set(reflect.ValueOf(c))
		return nil
	case durationType:
		d, err := duration(v)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		into.SetInt(int64(d))
		return nil
	}
	switch into.Kind() {
	case reflect.String:
		text, ok := textOf(v)
		if !ok {
			if _, secret := v.(modules.Secret); secret {
				return fmt.Errorf("%s would be shown in diffs and logs and takes no secret", name)
			}
			return wrong()
		}
		if a.Path && text == "" {
			return fmt.Errorf("%s is empty, which is no path", name)
		}
		if a.Path {
			var err error
			if text, err = HostPath(text, p.workdir); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if err := allowed(a, name, text); err != nil {
			return err
		}
		into.SetString(text)
	case reflect.Bool:
		b, ok := boolean(v)
		if !ok {
			return wrong()
		}
		into.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, ok := number(v)
		if !ok || n != math.Trunc(n) || math.Abs(n) > 1<<53 {
			return wrong()
		}
		into.SetInt(int64(n))
	case reflect.Float64:
		n, ok := number(v)
		if !ok {
			return wrong()
		}
		into.SetFloat(n)
	case reflect.Slice:
		return p.slice(a, name, into, v, wrong)
	case reflect.Map:
		return p.table(name, into, v, wrong)
	default:
		return wrong()
	}
	return nil
}

func (p *parser) slice(a *Argument, name string, into reflect.Value, v any, wrong func() error) error {
	var items []any
	switch t := v.(type) {
	case []any:
		items = t
	case []string:
		for _, s := range t {
			items = append(items, s)
		}
	case map[string]any:
		if len(t) > 0 {
			return wrong()
		}
	case Mixed:
		return fmt.Errorf("%s must be %s, not a table with names", name, article(a.Type))
	default:
		items = []any{v} // one thing is a list of one
	}
	out := reflect.MakeSlice(into.Type(), len(items), len(items))
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", name, i+1)
		if into.Type().Elem().Kind() == reflect.Map {
			if err := p.table(at, out.Index(i), item, wrong); err != nil {
				return err
			}
			continue
		}
		one := *a
		one.Type = typeName(into.Type().Elem())
		if err := p.assign(&one, at, out.Index(i), item); err != nil {
			return err
		}
	}
	into.Set(out)
	return nil
}

func (p *parser) table(name string, into reflect.Value, v any, wrong func() error) error {
	t, ok := v.(map[string]any)
	if !ok {
		if l, isList := v.([]any); !isList || len(l) > 0 {
			return wrong()
		}
	}
	out := reflect.MakeMapWithSize(into.Type(), len(t))
	for k, item := range t {
		if into.Type().Elem() == anyType {
			out.SetMapIndex(reflect.ValueOf(k), reflect.ValueOf(&item).Elem())
			continue
		}
		text, ok := textOf(item)
		if !ok {
			if b, isBool := item.(bool); isBool {
				text = strconv.FormatBool(b)
			} else {
				return fmt.Errorf("%s.%s must be text, not %s", name, k, typeOf(item))
			}
		}
		out.SetMapIndex(reflect.ValueOf(k), reflect.ValueOf(text))
	}
	into.Set(out)
	return nil
}

// plain takes the parser's own types out of a value that is passed on.
func plain(v any) any {
	m, ok := v.(Mixed)
	if !ok {
		return v
	}
	out := make(map[any]any, len(m.List)+len(m.Named))
	for i, item := range m.List {
		out[int64(i+1)] = item
	}
	for k, item := range m.Named {
		out[k] = item
	}
	return out
}
