package engine

import (
	"bytes"

	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// Parse returns the syntax tree of a source as Load would compile it, for
// whoever looks at a script without running it. A syntax error is that of Load.
func Parse(name string, src []byte) ([]ast.Stmt, error) {
	text, scan, err := prepare(name, src)
	if err != nil {
		return nil, err
	}
	tree, err := parse.Parse(bytes.NewReader(text), name)
	if err != nil {
		return nil, syntaxError(name, src, scan, err)
	}
	return tree, nil
}
