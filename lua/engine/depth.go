package engine

import "github.com/yuin/gopher-lua/ast"

// maxDepth bounds how deep expressions and blocks may nest: gopher-lua's
// compiler is recursive, and Go cannot recover from a full stack.
const maxDepth = 5000

type nodeAt struct {
	node  any
	depth int
}

// tooDeep returns the line of the first node that is nested too deep.
func tooDeep(stmts []ast.Stmt) (line int, deep bool) {
	eachNode(stmts, func(node any, depth int) bool {
		if deep = depth >= maxDepth; deep {
			if p, ok := node.(ast.PositionHolder); ok {
				line = p.Line()
			}
		}
		return !deep
	})
	return line, deep
}

// eachNode walks the tree without recursion, until visit returns false. Depth
// counts from 1.
func eachNode(stmts []ast.Stmt, visit func(node any, depth int) bool) {
	var stack []nodeAt
	push := func(depth int, n any) {
		if n != nil {
			stack = append(stack, nodeAt{n, depth})
		}
	}
	block := func(depth int, list []ast.Stmt) {
		for _, st := range list {
			push(depth, st)
		}
	}
	exprs := func(depth int, list []ast.Expr) {
		for _, e := range list {
			push(depth, e)
		}
	}
	block(1, stmts)
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if !visit(at.node, at.depth) {
			return
		}
		d := at.depth + 1
		switch n := at.node.(type) {
		case *ast.AssignStmt:
			exprs(d, n.Lhs)
			exprs(d, n.Rhs)
		case *ast.LocalAssignStmt:
			exprs(d, n.Exprs)
		case *ast.FuncCallStmt:
			push(d, n.Expr)
		case *ast.DoBlockStmt:
			block(d, n.Stmts)
		case *ast.WhileStmt:
			push(d, n.Condition)
			block(d, n.Stmts)
		case *ast.RepeatStmt:
			push(d, n.Condition)
			block(d, n.Stmts)
		case *ast.IfStmt:
			push(d, n.Condition)
			block(d, n.Then)
			block(d, n.Else)
		case *ast.NumberForStmt:
			push(d, n.Init)
			push(d, n.Limit)
			push(d, n.Step)
			block(d, n.Stmts)
		case *ast.GenericForStmt:
			exprs(d, n.Exprs)
			block(d, n.Stmts)
		case *ast.FuncDefStmt:
			push(d, n.Func)
			if n.Name != nil {
				push(d, n.Name.Func)
				push(d, n.Name.Receiver)
			}
		case *ast.ReturnStmt:
			exprs(d, n.Exprs)
		case *ast.FunctionExpr:
			block(d, n.Stmts)
		case *ast.AttrGetExpr:
			push(d, n.Object)
			push(d, n.Key)
		case *ast.TableExpr:
			for _, f := range n.Fields {
				push(d, f.Key)
				push(d, f.Value)
			}
		case *ast.FuncCallExpr:
			push(d, n.Func)
			push(d, n.Receiver)
			exprs(d, n.Args)
		case *ast.LogicalOpExpr:
			push(d, n.Lhs)
			push(d, n.Rhs)
		case *ast.RelationalOpExpr:
			push(d, n.Lhs)
			push(d, n.Rhs)
		case *ast.StringConcatOpExpr:
			push(d, n.Lhs)
			push(d, n.Rhs)
		case *ast.ArithmeticOpExpr:
			push(d, n.Lhs)
			push(d, n.Rhs)
		case *ast.UnaryMinusOpExpr:
			push(d, n.Expr)
		case *ast.UnaryNotOpExpr:
			push(d, n.Expr)
		case *ast.UnaryLenOpExpr:
			push(d, n.Expr)
		}
	}
}
