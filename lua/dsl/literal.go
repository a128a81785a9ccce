package dsl

import (
	"math"
	"strconv"
	"strings"

	"github.com/yuin/gopher-lua/ast"

	"github.com/sloth-runner/sloth/modules/spec"
)

// constants are the arguments of a call as far as they can be read without running
// it.
func constants(args []ast.Expr) []any {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = literal(a, 0)
	}
	return out
}

// maxLiteral bounds how deep tables are read.
const maxLiteral = 32

func literal(e ast.Expr, depth int) any {
	switch e := e.(type) {
	case *ast.NilExpr:
		return nil
	case *ast.TrueExpr:
		return true
	case *ast.FalseExpr:
		return false
	case *ast.StringExpr:
		return e.Value
	case *ast.NumberExpr:
		return numeral(e.Value)
	case *ast.UnaryMinusOpExpr:
		switch n := literal(e.Expr, depth+1).(type) {
		case int64:
			return -n
		case float64:
			return -n
		}
	case *ast.FunctionExpr:
		return spec.Function
	case *ast.TableExpr:
		if depth < maxLiteral {
			return literalTable(e, depth)
		}
	}
	return spec.Unknown{}
}

// numeral reads a number as gopher-lua does, and whole ones as calls bring them.
func numeral(text string) any {
	if n, err := strconv.ParseInt(text, 0, 64); err == nil && (text == "0" || !strings.HasPrefix(text, "0") || strings.HasPrefix(strings.ToLower(text), "0x")) {
		return n
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return spec.Unknown{}
	}
	if math.Abs(f) < 1<<53 && f == math.Trunc(f) {
		return int64(f)
	}
	return f
}

func literalTable(e *ast.TableExpr, depth int) spec.Table {
	t := spec.Table{}
	for i, f := range e.Fields {
		if f.Key == nil {
			v := literal(f.Value, depth+1)
			switch f.Value.(type) {
			case *ast.FuncCallExpr, *ast.Comma3Expr:
				if i == len(e.Fields)-1 { // any number of values
					t.Open = true
					continue
				}
			}
			t.List = append(t.List, v)
			continue
		}
		key, constant := f.Key.(*ast.StringExpr)
		if !constant {
			t.Open = true
			continue
		}
		if t.Named == nil {
			t.Named = map[string]any{}
		}
		t.Named[key.Value] = literal(f.Value, depth+1)
	}
	return t
}
