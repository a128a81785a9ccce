package tool

import (
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

// IsResult tells a table that a function of a tool gave from named arguments.
func IsResult(v any) bool {
	m, ok := v.(map[string]any)
	if !ok {
		return false
	}
	_, ok = m["success"]
	return ok
}

// Named fills made again where its first argument, an object such as a
// repository, turns out to be a table with all the arguments. fresh is the New
// of the function. Validate methods call it first.
func Named[T any](made *T, first any, fresh func() any) error {
	m, ok := first.(map[string]any)
	if !ok || IsResult(first) {
		return nil
	}
	// With something before it a table at the end is always the named arguments.
	again, err := spec.Parse(modules.Func{New: fresh}, []any{nil, m}, "")
	if err != nil {
		return err
	}
	*made = *again.(*T)
	return nil
}
