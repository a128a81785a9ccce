package engine

import (
	"bytes"
	"fmt"

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
	if line, deep := tooDeep(tree); deep {
		return nil, located(name, src, line, 0, fmt.Sprintf("nested more than %d levels deep", maxDepth), "split the expression, or move parts of it into functions")
	}
	return tree, nil
}
