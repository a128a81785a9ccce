package dsl

import (
	"slices"

	"github.com/yuin/gopher-lua/ast"
)

// thing is the sort of thing that an expression is known to be.
type thing int

const (
	unknownThing thing = iota
	aTask
	aHandler
	aWorkflow
	aLibrary
	taskFunction     // the global task
	handlerFunction  // the global handler
	workflowFunction // the global workflow
)

// kind is what the linter knows of a value.
type kind struct {
	thing thing
	name  string // of a workflow
	lib   *library
}

// scope is a block with its locals.
type scope struct {
	outer  *scope
	locals map[string]*kind
}

func (s *scope) find(name string) *kind {
	for ; s != nil; s = s.outer {
		if k := s.locals[name]; k != nil {
			return k
		}
	}
	return nil
}

func (s *scope) names() []string {
	var out []string
	for ; s != nil; s = s.outer {
		for name := range s.locals {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func (s *scope) declare(name string, k kind) {
	if s.locals == nil {
		s.locals = map[string]*kind{}
	}
	s.locals[name] = &k
}

// kindOf says what an expression is, as far as that can be seen.
func (f *fileLint) kindOf(e ast.Expr) kind {
	if k, ok := f.kinds[e]; ok {
		return k
	}
	k := f.findKind(e)
	if _, ident := e.(*ast.IdentExpr); !ident {
		f.kinds[e] = k
	}
	return k
}

func (f *fileLint) findKind(e ast.Expr) kind {
	switch e := e.(type) {
	case *ast.IdentExpr:
		return f.identKind(e.Value)
	case *ast.AttrGetExpr:
		if key, ok := e.Key.(*ast.StringExpr); ok && key.Value == "define" && f.kindOf(e.Object).thing == workflowFunction {
			return kind{thing: workflowFunction}
		}
	case *ast.FuncCallExpr:
		if e.Method != "" {
			of := f.kindOf(e.Receiver)
			switch {
			case of.thing == workflowFunction && e.Method == "define":
				return kind{thing: aWorkflow, name: constantArg(e)}
			case (of.thing == aTask || of.thing == aHandler) && e.Method != "run", of.thing == aWorkflow:
				return of
			}
			return kind{}
		}
		if id, ok := e.Func.(*ast.IdentExpr); ok && id.Value == "require" && f.scope.find("require") == nil {
			if lib := f.known.libs[constantArg(e)]; lib != nil {
				return kind{thing: aLibrary, lib: lib}
			}
			return kind{}
		}
		switch f.kindOf(e.Func).thing {
		case taskFunction:
			return kind{thing: aTask}
		case handlerFunction:
			return kind{thing: aHandler}
		case workflowFunction:
			return kind{thing: aWorkflow, name: constantArg(e)}
		}
	}
	return kind{}
}

func (f *fileLint) identKind(name string) kind {
	if local := f.scope.find(name); local != nil {
		return *local
	}
	if f.set[name] {
		return f.globals[name]
	}
	switch name {
	case "task":
		return kind{thing: taskFunction}
	case "handler":
		return kind{thing: handlerFunction}
	case "workflow":
		return kind{thing: workflowFunction}
	}
	if lib := f.known.libs[name]; lib != nil {
		return kind{thing: aLibrary, lib: lib}
	}
	return kind{}
}

func constantArg(e *ast.FuncCallExpr) string {
	if len(e.Args) > 0 {
		if s, ok := e.Args[0].(*ast.StringExpr); ok {
			return s.Value
		}
	}
	return ""
}
