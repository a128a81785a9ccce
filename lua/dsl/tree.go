package dsl

import (
	"bytes"

	"github.com/yuin/gopher-lua/ast"

	"github.com/sloth-runner/sloth/lua/engine"
)

// tree is a source text as it is written, for messages that say more than what
// can be seen at run time: the exact line of a method in a chain (gopher-lua
// gives every call of a chain the line where it begins), and the names of
// variables.
type tree struct {
	file  string
	lines [][]byte
	stmts []ast.Stmt
	// calls are by line of the chain's start and name of the method or function.
	calls map[callKey][]*written
	// methods tells where the name of a method stands.
	methods map[*ast.FuncCallExpr]spot
}

// spot is a place in the text: a line from 1, and the bytes of it that are
// before the end of a word.
type spot struct{ line, after int }

type callKey struct {
	line int
	name string
}

// written is one call in the source.
type written struct {
	*ast.FuncCallExpr
	line int // where the method's name stands
}

func parseTree(file string, src []byte) (*tree, error) {
	stmts, err := engine.Parse(file, src)
	if err != nil {
		return nil, err
	}
	t := &tree{file: file, lines: bytes.Split(src, []byte("\n")), stmts: stmts, calls: map[callKey][]*written{}, methods: map[*ast.FuncCallExpr]spot{}}
	line := 0 // up to where the text was gone through
	w := walker{
		enter:   func(e ast.Expr) { line = max(line, e.Line()) },
		between: func(c *ast.FuncCallExpr) { t.methods[c] = t.find(c, line) },
		leave: func(e ast.Expr) {
			line = max(line, e.LastLine())
			if c, ok := e.(*ast.FuncCallExpr); ok {
				t.note(c)
			}
		},
	}
	w.stmts(stmts)
	return t, nil
}

func (t *tree) note(c *ast.FuncCallExpr) {
	name, line := c.Method, c.Line()
	switch {
	case name != "":
		line = t.methods[c].line
	default:
		switch f := c.Func.(type) {
		case *ast.IdentExpr:
			name = f.Value
		case *ast.AttrGetExpr:
			if s, ok := f.Key.(*ast.StringExpr); ok {
				name = s.Value
				line = s.Line()
			}
		}
	}
	if name == "" {
		return
	}
	k := callKey{c.Line(), name}
	t.calls[k] = append(t.calls[k], &written{FuncCallExpr: c, line: line})
}

// find looks for ":name" from a line on, behind the method that c is called on
// and before the arguments.
func (t *tree) find(c *ast.FuncCallExpr, line int) spot {
	from := spot{line: line}
	if inner, ok := c.Receiver.(*ast.FuncCallExpr); ok && t.methods[inner].line >= line {
		from = t.methods[inner]
	}
	last := len(t.lines)
	if len(c.Args) > 0 {
		last = min(last, c.Args[0].Line())
	}
	for i := max(from.line, 1); i <= last; i++ {
		skip := 0
		if i == from.line {
			skip = from.after
		}
		if end := methodIn(t.lines[i-1][skip:], c.Method); end > 0 {
			return spot{i, skip + end}
		}
	}
	return from
}

// methodIn returns where ":name" ends in a line, 0 where it is not.
func methodIn(line []byte, name string) int {
	for at := 0; ; {
		i := bytes.Index(line[at:], []byte(name))
		if i < 0 {
			return 0
		}
		start, end := at+i, at+i+len(name)
		before := bytes.TrimRight(line[:start], " \t")
		if bytes.HasSuffix(before, []byte(":")) && (end == len(line) || !isWord(line[end])) {
			return end
		}
		at = end
	}
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// tree returns the source of a chunk that was loaded, or nil.
func (w *world) tree(file string) *tree {
	if t, ok := w.trees[file]; ok {
		return t
	}
	var t *tree
	for _, c := range w.vm.Chunks() {
		if c.Name == file {
			// What was loaded has been parsed before, so an error cannot come.
			t, _ = parseTree(file, c.Source)
		}
	}
	w.trees[file] = t
	return t
}

// call finds a call in the source: pos is where gopher-lua says it is, and nth
// tells calls of the same name in one chain apart.
func (w *world) call(pos Pos, name string, nth int) *written {
	t := w.tree(pos.File)
	if t == nil {
		return nil
	}
	all := t.calls[callKey{pos.Line, name}]
	if nth < 0 || nth >= len(all) {
		return nil
	}
	return all[nth]
}

// argName is the variable given as an argument, or "".
func (c *written) argName(i int) string {
	if i < 0 || i >= len(c.Args) {
		return ""
	}
	return variable(c.Args[i])
}

func variable(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.IdentExpr:
		return e.Value
	case *ast.AttrGetExpr:
		if s, ok := e.Key.(*ast.StringExpr); ok {
			if of := variable(e.Object); of != "" {
				return of + "." + s.Value
			}
		}
	}
	return ""
}

// item is an entry of a list in the source.
type item struct {
	name string // of the variable; empty for other expressions
	line int
}

// taskItems are the entries of the list of tasks among the arguments. The last
// one is left out when it may stand for any number of values.
func (c *written) taskItems() []item {
	for _, a := range c.Args {
		t, ok := a.(*ast.TableExpr)
		if !ok {
			continue
		}
		if c.Method != "tasks" && c.Method != "config" {
			inner := field(t, "tasks")
			if inner == nil {
				continue
			}
			t = inner
		}
		return listItems(t)
	}
	return nil
}

// field returns the table literal under a key of another, or nil.
func field(t *ast.TableExpr, key string) *ast.TableExpr {
	for _, f := range t.Fields {
		if s, ok := f.Key.(*ast.StringExpr); ok && s.Value == key {
			inner, _ := f.Value.(*ast.TableExpr)
			return inner
		}
	}
	return nil
}

func listItems(t *ast.TableExpr) []item {
	var out []item
	for i, f := range t.Fields {
		if f.Key != nil {
			continue
		}
		if i == len(t.Fields)-1 {
			switch f.Value.(type) {
			case *ast.FuncCallExpr, *ast.Comma3Expr:
				continue
			}
		}
		out = append(out, item{variable(f.Value), f.Value.Line()})
	}
	return out
}
