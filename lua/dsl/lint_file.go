package dsl

import (
	"fmt"
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

// fileLint goes through one file with its scopes.
type fileLint struct {
	*linter
	tree      *tree
	root      bool
	scope     *scope
	depth     int // of functions
	protected int // inside the arguments of pcall
	kinds     map[ast.Expr]kind
	globals   map[string]kind
}

func (f *fileLint) inBlock(body func()) {
	f.scope = &scope{outer: f.scope}
	body()
	f.scope = f.scope.outer
}

func (f *fileLint) block(stmts []ast.Stmt) {
	for _, s := range stmts {
		f.stmt(s)
	}
}

func (f *fileLint) stmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.LocalAssignStmt:
		f.localAssign(s)
	case *ast.AssignStmt:
		f.assign(s)
	case *ast.FuncCallStmt:
		f.expr(s.Expr)
	case *ast.DoBlockStmt:
		f.inBlock(func() { f.block(s.Stmts) })
	case *ast.WhileStmt:
		f.expr(s.Condition)
		f.inBlock(func() { f.block(s.Stmts) })
	case *ast.RepeatStmt:
		f.inBlock(func() {
			f.block(s.Stmts)
			f.expr(s.Condition)
		})
	case *ast.IfStmt:
		f.expr(s.Condition)
		f.inBlock(func() { f.block(s.Then) })
		f.inBlock(func() { f.block(s.Else) })
	case *ast.NumberForStmt:
		f.expr(s.Init)
		f.expr(s.Limit)
		f.expr(s.Step)
		f.inBlock(func() {
			f.scope.declare(s.Name, kind{})
			f.block(s.Stmts)
		})
	case *ast.GenericForStmt:
		f.exprs(s.Exprs)
		f.inBlock(func() {
			for _, name := range s.Names {
				f.scope.declare(name, kind{})
			}
			f.block(s.Stmts)
		})
	case *ast.FuncDefStmt:
		f.funcDef(s)
	case *ast.ReturnStmt:
		f.exprs(s.Exprs)
	}
}

func (f *fileLint) localAssign(s *ast.LocalAssignStmt) {
	// local function f() end: the name is known inside.
	if len(s.Names) == 1 && len(s.Exprs) == 1 {
		if _, ok := s.Exprs[0].(*ast.FunctionExpr); ok {
			f.scope.declare(s.Names[0], kind{})
			f.expr(s.Exprs[0])
			return
		}
	}
	f.exprs(s.Exprs)
	for i, name := range s.Names {
		k := kind{}
		if i < len(s.Exprs) {
			k = f.kindOf(s.Exprs[i])
		}
		f.scope.declare(name, k)
	}
}

func (f *fileLint) assign(s *ast.AssignStmt) {
	f.exprs(s.Rhs)
	for i, target := range s.Lhs {
		k := kind{}
		if i < len(s.Rhs) {
			k = f.kindOf(s.Rhs[i])
		}
		switch t := target.(type) {
		case *ast.IdentExpr:
			if local := f.scope.find(t.Value); local != nil {
				*local = k
				continue
			}
			f.set[t.Value] = true
			f.setGlobal(t.Value, k)
		case *ast.AttrGetExpr:
			f.assignField(t)
		}
	}
}

func (f *fileLint) setGlobal(name string, k kind) {
	if f.globals == nil {
		f.globals = map[string]kind{}
	}
	if _, again := f.globals[name]; again {
		k = kind{}
	}
	f.globals[name] = k
}

// assignField notes _G.name = … and string.trim = ….
func (f *fileLint) assignField(t *ast.AttrGetExpr) {
	key, constant := t.Key.(*ast.StringExpr)
	if id, ok := t.Object.(*ast.IdentExpr); ok && id.Value == "_G" && f.scope.find("_G") == nil {
		if !constant {
			f.dynamic = true
		} else {
			f.set[key.Value] = true
		}
	}
	f.expr(t.Object)
	if k := f.kindOf(t.Object); k.thing == aLibrary && constant {
		f.added[k.lib.name+"."+key.Value] = true
	}
	if !constant {
		f.expr(t.Key)
	}
}

func (f *fileLint) funcDef(s *ast.FuncDefStmt) {
	switch {
	case s.Name.Method != "":
		f.expr(s.Name.Receiver)
		f.function(s.Func, true)
		return
	default:
		switch t := s.Name.Func.(type) {
		case *ast.IdentExpr:
			if local := f.scope.find(t.Value); local != nil {
				*local = kind{}
			} else {
				f.set[t.Value] = true
				f.setGlobal(t.Value, kind{})
			}
		case *ast.AttrGetExpr:
			f.assignField(t)
		}
	}
	f.function(s.Func, false)
}

func (f *fileLint) function(fn *ast.FunctionExpr, method bool) {
	f.depth++
	f.inBlock(func() {
		if method {
			f.scope.declare("self", kind{})
		}
		if fn.ParList != nil {
			for _, name := range fn.ParList.Names {
				f.scope.declare(name, kind{})
			}
			if fn.ParList.HasVargs {
				f.scope.declare("arg", kind{})
			}
		}
		f.block(fn.Stmts)
	})
	f.depth--
}

func (f *fileLint) exprs(list []ast.Expr) {
	for _, e := range list {
		f.expr(e)
	}
}

func (f *fileLint) expr(e ast.Expr) {
	if isNilExpr(e) {
		return
	}
	switch e := e.(type) {
	case *ast.IdentExpr:
		f.ident(e, nil)
	case *ast.AttrGetExpr:
		f.attr(e, nil)
	case *ast.TableExpr:
		f.table(e)
	case *ast.FuncCallExpr:
		f.call(e)
	case *ast.LogicalOpExpr:
		f.guard(e.Lhs)
		f.expr(e.Lhs)
		f.expr(e.Rhs)
	case *ast.RelationalOpExpr:
		if e.Operator == "==" || e.Operator == "~=" {
			if _, ok := e.Rhs.(*ast.NilExpr); ok {
				f.guard(e.Lhs)
			}
			if _, ok := e.Lhs.(*ast.NilExpr); ok {
				f.guard(e.Rhs)
			}
		}
		f.expr(e.Lhs)
		f.expr(e.Rhs)
	case *ast.UnaryNotOpExpr:
		f.guard(e.Expr)
		f.expr(e.Expr)
	case *ast.FunctionExpr:
		f.function(e, false)
	default:
		f.operands(e)
	}
}

func (f *fileLint) operands(e ast.Expr) {
	switch e := e.(type) {
	case *ast.StringConcatOpExpr:
		f.expr(e.Lhs)
		f.expr(e.Rhs)
	case *ast.ArithmeticOpExpr:
		f.expr(e.Lhs)
		f.expr(e.Rhs)
	case *ast.UnaryMinusOpExpr:
		f.expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		f.expr(e.Expr)
	}
}

// guard notes a global that the script itself expects to be nil.
func (f *fileLint) guard(e ast.Expr) {
	if id, ok := e.(*ast.IdentExpr); ok && f.scope.find(id.Value) == nil {
		f.guarded[id.Value] = true
	}
}

func (f *fileLint) ident(e *ast.IdentExpr, task *taskItem) {
	if f.scope.find(e.Value) != nil {
		return
	}
	switch e.Value {
	case "setfenv", "getfenv", "loadstring", "load", "module":
		f.dynamic = true
	}
	f.reads = append(f.reads, globalRead{pos: Pos{f.tree.file, e.Line()}, name: e.Value, task: task, scope: f.scope})
}

func (f *fileLint) attr(e *ast.AttrGetExpr, call *ast.FuncCallExpr) {
	f.expr(e.Object)
	key, constant := e.Key.(*ast.StringExpr)
	if !constant {
		f.expr(e.Key)
		return
	}
	if key.Value == "hosts" {
		f.noteAllHosts(e, key.Line())
	}
	if id, ok := e.Object.(*ast.IdentExpr); ok && id.Value == "facts" && f.scope.find("facts") == nil {
		f.facts = append(f.facts, namedAt{Pos{f.tree.file, key.Line()}, key.Value})
	}
	if k := f.kindOf(e.Object); k.thing == aLibrary {
		line := key.Line()
		f.calls = append(f.calls, libraryCall{pos: Pos{f.tree.file, line}, lib: k.lib, function: key.Value, call: call, protected: f.protected > 0})
		if call != nil && f.depth == 0 && f.root && k.lib.module {
			f.effects++
		}
	}
}

// noteAllHosts notes deps.NAME.hosts and deps["NAME"].hosts.
func (f *fileLint) noteAllHosts(e *ast.AttrGetExpr, line int) {
	of, ok := e.Object.(*ast.AttrGetExpr)
	if !ok {
		return
	}
	if name, ok := of.Key.(*ast.StringExpr); ok {
		f.allHosts = append(f.allHosts, namedAt{Pos{f.tree.file, line}, name.Value})
	}
}

func (f *fileLint) table(e *ast.TableExpr) {
	for _, field := range e.Fields {
		if _, constant := field.Key.(*ast.StringExpr); !constant {
			f.expr(field.Key)
		}
		f.expr(field.Value)
	}
}

// call looks at a call; chains are gone through from their start.
func (f *fileLint) call(e *ast.FuncCallExpr) {
	if e.Method != "" {
		f.expr(e.Receiver)
		f.method(e)
		return
	}
	name := ""
	switch fn := e.Func.(type) {
	case *ast.IdentExpr:
		if f.scope.find(fn.Value) == nil {
			name = fn.Value
		}
		f.expr(fn)
	case *ast.AttrGetExpr:
		f.attr(fn, e)
	default:
		f.expr(fn)
	}
	f.tableCall(e)
	switch name {
	case "pcall", "xpcall":
		f.protected++
		defer func() { f.protected-- }()
	case "retry": // what it calls is there to do something
		if f.depth == 0 && f.root {
			f.effects++
		}
	case "type":
		if len(e.Args) == 1 {
			f.guard(e.Args[0])
		}
	case "notify":
		if handler := constantArg(e); handler != "" {
			f.notifies = append(f.notifies, namedAt{Pos{f.tree.file, e.Line()}, handler})
		}
	case "rawset", "setmetatable":
		f.globalTable(e)
	case "require", "include", "dofile", "loadfile":
		f.load(name, e)
	}
	f.arguments(e)
}

// tableCall looks at the call of a module itself: wait_for({…}).
func (f *fileLint) tableCall(e *ast.FuncCallExpr) {
	k := f.kindOf(e.Func)
	if k.thing != aLibrary || !k.lib.module {
		return
	}
	if k.lib.call == "" {
		if f.protected == 0 {
			f.problem(e.Line(), fmt.Sprintf("%s cannot be called itself; its functions are %s", k.lib.name, strings.Join(k.lib.names(), ", ")))
		}
		return
	}
	f.calls = append(f.calls, libraryCall{pos: Pos{f.tree.file, e.Line()}, lib: k.lib, function: k.lib.call, call: e, protected: f.protected > 0})
	if f.depth == 0 && f.root {
		f.effects++
	}
}

// arguments looks at what a call is given. In a list of tasks a nil is told
// with its index.
func (f *fileLint) arguments(e *ast.FuncCallExpr) {
	k := f.kindOf(e)
	for _, a := range e.Args {
		t, isTable := a.(*ast.TableExpr)
		if !isTable || k.thing != aWorkflow {
			f.expr(a)
			continue
		}
		if e.Method == "tasks" {
			f.taskList(t, k.name)
			continue
		}
		if e.Method != "" {
			f.expr(t)
			continue
		}
		for _, field := range t.Fields {
			key, _ := field.Key.(*ast.StringExpr)
			list, isList := field.Value.(*ast.TableExpr)
			if key != nil && key.Value == "tasks" && isList {
				f.taskList(list, k.name)
				continue
			}
			f.expr(field.Value)
		}
	}
}

func (f *fileLint) taskList(t *ast.TableExpr, workflow string) {
	n := 0
	for _, field := range t.Fields {
		if field.Key != nil {
			f.expr(field.Value)
			continue
		}
		n++
		if id, ok := field.Value.(*ast.IdentExpr); ok {
			f.ident(id, &taskItem{workflow, n})
			continue
		}
		f.expr(field.Value)
	}
}

// globalTable notes what may make globals by computed names.
func (f *fileLint) globalTable(e *ast.FuncCallExpr) {
	if len(e.Args) < 2 {
		return
	}
	id, ok := e.Args[0].(*ast.IdentExpr)
	if !ok || id.Value != "_G" {
		return
	}
	key, constant := e.Args[1].(*ast.StringExpr)
	if constant {
		f.set[key.Value] = true
	} else {
		f.dynamic = true
	}
}

// load follows require, include and dofile to other files.
func (f *fileLint) load(how string, e *ast.FuncCallExpr) {
	if len(e.Args) == 0 {
		return
	}
	name, ok := e.Args[0].(*ast.StringExpr)
	if !ok {
		f.dynamic = true
		return
	}
	if how == "require" && (f.known.globals[name.Value] || strings.HasPrefix(name.Value, "_")) {
		return
	}
	if how == "loadfile" {
		how = "dofile"
	}
	f.follow(how, name.Value, e.Line())
}

// method checks the name of a builder's method.
func (f *fileLint) method(e *ast.FuncCallExpr) {
	defer f.arguments(e)
	k := f.kindOf(e.Receiver)
	var known bool
	var names func() []string
	switch k.thing {
	case aTask, aHandler:
		known, names = isTaskMethod(e.Method), TaskMethods
		if e.Method == "run" && f.depth == 0 && f.root {
			f.effects++
		}
	case aWorkflow:
		known, names = flowMethods[e.Method] != nil, WorkflowMethods
	case aLibrary:
		f.calls = append(f.calls, libraryCall{pos: Pos{f.tree.file, e.Line()}, lib: k.lib, function: e.Method, call: e, protected: f.protected > 0})
		if f.depth == 0 && f.root && k.lib.module {
			f.effects++
		}
		return
	default:
		return
	}
	if !known {
		line := f.tree.methods[e].line
		f.problem(line, unknownMethod(map[thing]string{aTask: "task", aHandler: "handler", aWorkflow: "workflow"}[k.thing], e.Method, names()).Error())
	}
}
