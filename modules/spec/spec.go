// Package spec reads the tags of argument structs. One walk gives the argument
// check, its error messages, the documentation and the editor stubs.
package spec

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

// Argument is one argument of a function.
type Argument struct {
	Name     string
	Aliases  []string
	Type     string // as docs name it: text, number, list of text, mode, …
	Required bool
	Primary  bool
	Path     bool // a path on the host
	Pos      int  // position from 1; 0 when it has to be named
	Enum     []string
	Doc      string
	// Default is what New() puts there, as Lua would write it; empty when that
	// is nothing.
	Default string

	index []int
	typ   reflect.Type
}

// Kind says which of the contract's interfaces a function implements.
type Kind string

// The kinds of functions.
const (
	Changer Kind = "changer" // brings something into a wanted state
	Querier Kind = "querier" // only reports
	Tool    Kind = "tool"    // runs something whose effect only the caller knows
)

// Signature is what a function's struct says about it.
type Signature struct {
	Kind Kind
	Args []Argument // in order of declaration

	names map[string]int // names and aliases
	known []string       // names alone, for messages
	pos   []int          // Args by position
	prime int            // index of the primary argument, or -1
}

var signatures sync.Map // reflect.Type -> *Signature

// Of walks the struct that f.New returns. A struct that breaks the rules of
// tags panics: it is a mistake in the program, and the contract suite runs
// every function.
func Of(f modules.Func) *Signature {
	made := f.New()
	t := reflect.TypeOf(made)
	if s, ok := signatures.Load(t); ok {
		return s.(*Signature)
	}
	s := walk(f.Name, made)
	signatures.Store(t, s)
	return s
}

func walk(name string, made any) *Signature {
	s := &Signature{names: map[string]int{}, prime: -1}
	switch made.(type) {
	case modules.Changer:
		s.Kind = Changer
	case modules.Querier:
		s.Kind = Querier
	case modules.Tool:
		s.Kind = Tool
	default:
		panic(fmt.Sprintf("%s: %T is neither Changer nor Querier nor Tool", name, made))
	}
	v := reflect.ValueOf(made)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("%s: New must return a pointer to a struct, not %T", name, made))
	}
	s.fields(name, v.Elem(), nil)
	for i, a := range s.Args {
		for _, n := range append([]string{a.Name}, a.Aliases...) {
			if _, twice := s.names[n]; twice {
				panic(fmt.Sprintf("%s: two arguments are called %s", name, n))
			}
			s.names[n] = i
		}
		s.known = append(s.known, a.Name)
		if a.Primary {
			s.prime = i
		}
	}
	s.positions(name)
	return s
}

// positions orders the arguments that have a place; the primary one is first
// unless it says otherwise.
func (s *Signature) positions(name string) {
	if s.prime >= 0 && s.Args[s.prime].Pos == 0 && !slices.ContainsFunc(s.Args, func(a Argument) bool { return a.Pos == 1 }) {
		s.Args[s.prime].Pos = 1
	}
	for i, a := range s.Args {
		if a.Pos > 0 {
			s.pos = append(s.pos, i)
		}
	}
	sort.Slice(s.pos, func(i, j int) bool { return s.Args[s.pos[i]].Pos < s.Args[s.pos[j]].Pos })
	for i, at := range s.pos {
		if s.Args[at].Pos != i+1 {
			panic(fmt.Sprintf("%s: there is no argument at position %d", name, i+1))
		}
	}
	if s.prime < 0 && len(s.pos) > 0 {
		s.prime = s.pos[0]
	}
}

func (s *Signature) fields(name string, v reflect.Value, index []int) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(slices.Clone(index), i)
		tag, tagged := f.Tag.Lookup("lua")
		if f.Anonymous && f.Type.Kind() == reflect.Struct && !tagged {
			s.fields(name, v.Field(i), at)
			continue
		}
		if !f.IsExported() || !tagged {
			continue
		}
		parts := strings.Split(tag, ",")
		a := Argument{Name: parts[0], Doc: f.Tag.Get("doc"), index: at, typ: f.Type, Type: typeName(f.Type)}
		if a.Type == "" {
			panic(fmt.Sprintf("%s: argument %s has the type %s, which arguments cannot have", name, a.Name, f.Type))
		}
		for _, o := range parts[1:] {
			switch o {
			case "required":
				a.Required = true
			case "primary":
				a.Primary = true
			case "path":
				a.Path = true
			default:
				panic(fmt.Sprintf("%s: argument %s: unknown option %q in its lua tag", name, a.Name, o))
			}
		}
		a.Aliases = list(f.Tag.Get("alias"))
		a.Enum = list(f.Tag.Get("enum"))
		if p := f.Tag.Get("pos"); p != "" {
			n, err := strconv.Atoi(p)
			if err != nil || n < 1 {
				panic(fmt.Sprintf("%s: argument %s: pos:%q is not a position", name, a.Name, p))
			}
			a.Pos = n
		}
		a.Default = literal(v.Field(i))
		s.Args = append(s.Args, a)
	}
}

func list(tag string) []string {
	if tag == "" {
		return nil
	}
	return strings.Split(tag, ",")
}

var (
	modeType     = reflect.TypeFor[modules.Mode]()
	textType     = reflect.TypeFor[modules.Text]()
	secretType   = reflect.TypeFor[modules.Secret]()
	callbackType = reflect.TypeFor[modules.Callback]()
	durationType = reflect.TypeFor[time.Duration]()
	anyType      = reflect.TypeFor[any]()
)

// typeName is empty for types that arguments cannot have.
func typeName(t reflect.Type) string {
	switch t {
	case modeType:
		return "mode"
	case secretType:
		return "secret"
	case textType:
		return "text"
	case callbackType:
		return "function"
	case durationType:
		return "duration"
	case anyType:
		return "any"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Pointer:
		if n := typeName(t.Elem()); t.Elem().Kind() != reflect.Pointer && n != "any" {
			return n
		}
	case reflect.Slice:
		switch t.Elem() {
		case anyType:
			return "list"
		}
		switch t.Elem().Kind() {
		case reflect.String:
			return "list of text"
		case reflect.Int, reflect.Int64:
			return "list of integers"
		case reflect.Map:
			if t.Elem() == reflect.TypeFor[map[string]any]() {
				return "list of tables"
			}
		}
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return ""
		}
		switch {
		case t.Elem() == anyType:
			return "table"
		case t.Elem().Kind() == reflect.String:
			return "table of text"
		}
	}
	return ""
}

// literal writes a default as Lua would.
func literal(v reflect.Value) string {
	if v.IsZero() {
		if v.Kind() == reflect.Bool {
			return "false"
		}
		return ""
	}
	if v.Type() == durationType {
		return strconv.Quote(v.Interface().(time.Duration).String())
	}
	switch v.Kind() {
	case reflect.Pointer:
		return literal(v.Elem())
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Slice:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, literal(v.Index(i)))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Map, reflect.Func, reflect.Struct:
		return ""
	}
	return fmt.Sprint(v.Interface())
}

// takesTable reports whether a table at this argument is its value, and never
// the named arguments.
func (a Argument) takesTable() bool {
	return a.typ == anyType || a.typ.Kind() == reflect.Map
}
