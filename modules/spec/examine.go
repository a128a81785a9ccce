package spec

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/modules"
)

// Unknown stands for a value that only running the script will tell.
type Unknown struct{}

// Table is a table as it is written: what of it is known, and whether there may
// be more.
type Table struct {
	List  []any
	Named map[string]any
	Open  bool
}

// Function stands for a function that is written as an argument.
var Function = modules.Callback(func(context.Context, ...any) ([]any, error) { return nil, nil })

// Mistake is one thing that is wrong with a call, whatever its unknown values
// are.
type Mistake struct {
	Key   string // of the named argument, else empty
	Place int    // of the argument, from 1; 0: the call as a whole
	// Name says that there is no argument of that name.
	Name bool
	Err  error
}

// Examine finds the mistakes of a call before it is made. Among args, and in the
// tables, may be Unknown; tables are Table values, functions Function.
func Examine(f modules.Func, args []any) []Mistake {
	s := Of(f)
	made := f.New()
	x := examiner{
		parser: parser{sig: s, into: reflect.ValueOf(made).Elem(), given: make([]string, len(s.Args)), workdir: "/"},
		whole:  true, maybe: map[int]bool{},
	}
	x.call(args)
	misnamed := slices.ContainsFunc(x.found, func(m Mistake) bool { return m.Name }) // probably the missing one
	if !x.open && !misnamed {
		for i, a := range s.Args {
			if a.Required && x.given[i] == "" && !x.maybe[i] {
				x.note(Mistake{Err: fmt.Errorf("%s is missing: %s", a.Name, lowerFirst(a.Doc))})
			}
		}
	}
	if v, ok := made.(modules.Validator); ok && x.whole && len(x.found) == 0 {
		if err := v.Validate(); err != nil {
			x.note(Mistake{Err: err})
		}
	}
	return x.found
}

type examiner struct {
	parser
	found []Mistake
	maybe map[int]bool // arguments that are given, unless their value is nil
	whole bool         // every value is known
	open  bool         // more arguments may be given than are seen
}

func (x *examiner) note(m Mistake) { x.found = append(x.found, m) }

func (x *examiner) call(args []any) {
	for len(args) > 0 && args[len(args)-1] == nil {
		args = args[:len(args)-1]
	}
	pos := x.sig.pos
	for n, v := range args {
		var at *Argument
		if n < len(pos) {
			at = &x.sig.Args[pos[n]]
		}
		t, isTable := v.(Table)
		if last := n == len(args)-1; last && (at == nil || !at.takesTable()) {
			if _, unknown := v.(Unknown); unknown {
				x.open = true // it may be the named arguments, or several values
			}
			if isTable && t.mixed() {
				x.table(n+1, t)
				return
			}
			if isTable && (t.Open || t.Named != nil) { // a list, or one with names
				x.open = true
				x.misnamed(n+1, t)
			}
		}
		if isTable && (at == nil || !at.takesTable()) && allUnknown(args[n+1:]) {
			x.open, x.whole = true, false // the named arguments, if nil follows
			continue
		}
		if v == nil {
			continue
		}
		value, known := settled(v)
		switch {
		case at == nil && !known: // it may be nil
			x.whole = false
		case at == nil && len(x.sig.Args) == 0:
			x.note(Mistake{Place: n + 1, Err: fmt.Errorf("it takes no arguments, but got %s", typeOf(value))})
			return
		case at == nil:
			x.note(Mistake{Place: n + 1, Err: fmt.Errorf("argument %d is too many: by position it takes %s", n+1, x.order())})
			return
		default:
			x.one(Mistake{Place: n + 1}, pos[n], at.Name, value, known)
		}
	}
}

// mixed reports whether a table cannot be a list alone.
func (t Table) mixed() bool {
	if len(t.List) == 0 {
		return true
	}
	for _, v := range t.Named {
		if v != nil && v != any(Unknown{}) {
			return true
		}
	}
	return false
}

// allUnknown reports whether there are more arguments, and all may be nil.
func allUnknown(args []any) bool {
	return len(args) > 0 && !slices.ContainsFunc(args, func(a any) bool { return a != any(Unknown{}) && a != nil })
}

// table looks at the named arguments, and the list before them.
func (x *examiner) table(place int, t Table) {
	x.open = x.open || t.Open
	x.whole = x.whole && !t.Open
	if len(t.List) > 0 {
		if x.sig.prime < 0 {
			x.note(Mistake{Place: place, Err: fmt.Errorf("a list makes no sense here; name the arguments: %s", strings.Join(x.sig.known, ", "))})
			return
		}
		value, known := settled(Table{List: t.List})
		x.one(Mistake{Place: place}, x.sig.prime, x.sig.Args[x.sig.prime].Name, value, known)
	}
	x.misnamed(place, t)
	for _, key := range slices.Sorted(maps.Keys(t.Named)) {
		i, ok := x.sig.names[key]
		if !ok || t.Named[key] == nil {
			continue
		}
		value, known := settled(t.Named[key])
		x.one(Mistake{Key: key, Place: place}, i, key, value, known)
	}
}

// misnamed notes the names that are none of an argument.
func (x *examiner) misnamed(place int, t Table) {
	for _, key := range slices.Sorted(maps.Keys(t.Named)) {
		if _, ok := x.sig.names[key]; !ok {
			x.note(Mistake{Key: key, Place: place, Name: true, Err: x.sig.unknown(key)})
		}
	}
}

// one gives one argument its value, or notes that there will be one.
func (x *examiner) one(m Mistake, i int, as string, value any, known bool) {
	if known {
		if m.Err = x.set(i, as, value); m.Err != nil {
			x.note(m)
		}
		return
	}
	x.whole, x.maybe[i] = false, true
}

// settled turns a value as it is written into what a call would bring, if all of
// it is known.
func settled(v any) (any, bool) {
	switch t := v.(type) {
	case Unknown:
		return nil, false
	case Table:
		return t.settled()
	}
	return v, true
}

func (t Table) settled() (any, bool) {
	if t.Open {
		return nil, false
	}
	list := make([]any, len(t.List))
	for i, item := range t.List {
		v, known := settled(item)
		if !known || v == nil {
			return nil, false
		}
		list[i] = v
	}
	named := map[string]any{}
	for k, item := range t.Named {
		v, known := settled(item)
		if !known {
			return nil, false
		}
		if v != nil {
			named[k] = v
		}
	}
	switch {
	case len(named) == 0 && len(list) > 0:
		return list, true
	case len(list) == 0:
		return named, true
	}
	return Mixed{List: list, Named: named}, true
}

// unknown is the error for an argument of a name that there is not.
func (s *Signature) unknown(key string) error {
	if len(s.Args) == 0 {
		return fmt.Errorf("unknown argument %q; it takes none", key)
	}
	names := slices.Sorted(maps.Keys(s.names))
	if n := Nearest(key, names); n != "" {
		return fmt.Errorf("unknown argument %q; did you mean %q?", key, n)
	}
	return fmt.Errorf("unknown argument %q; known are %s", key, strings.Join(s.known, ", "))
}
