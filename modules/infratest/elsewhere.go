package infratest

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/sloth-runner/sloth/modules"
)

// function is embedded in every argument struct, and knows which of the module's
// functions it was made for.
type function struct{ name string }

func (f *function) set(name string) { f.name = name }
func (f *function) called() string  { return f.name }

// assertion is an argument struct.
type assertion interface {
	set(name string)
	called() string
}

// withNames lets the argument structs of fs know their functions.
func withNames(fs []modules.Func) []modules.Func {
	for i, f := range fs {
		fs[i].New = func() any {
			made := f.New()
			made.(assertion).set("infra_test." + f.Name)
			return made
		}
	}
	return fs
}

// elsewhere has the assertion made on the host target.
func elsewhere(ctx context.Context, call modules.Call, a assertion, target string) ([]any, error) {
	s, ok := call.Services.(modules.Asserter)
	if !ok {
		return nil, fmt.Errorf("%q is another host, which only tasks of a .sloth file can look at", target)
	}
	args := map[string]any{}
	arguments(reflect.ValueOf(a).Elem(), args)
	err := s.Assert(ctx, modules.Assertion{Host: target, Function: a.called(), Args: args, NoLog: call.NoLog})
	if err != nil {
		return nil, err
	}
	return []any{true}, nil
}

// arguments is the reverse of filling an argument struct. The target is left out:
// where the assertion is made it is meant for.
func arguments(v reflect.Value, into map[string]any) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("lua"), ",")
		switch {
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			arguments(v.Field(i), into)
		case name == "" || name == "target":
		case f.Type.Kind() == reflect.String:
			into[name] = v.Field(i).String()
		case v.Field(i).CanInt():
			into[name] = v.Field(i).Int()
		}
	}
}
