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
	for try := 0; ; try++ {
		text, scan, err := prepare(name, src, try)
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
		switch {
		case scan.fields.restore(tree):
			return tree, nil
		case try == maxTries:
			return nil, located(name, src, 0, 0, "a keyword names a field, and strings spell all that could stand for it", `write t["do"] instead of t.do`)
		}
	}
}

// maxTries is how many sets of names for keyword fields are tried. Only a text
// whose escapes spell such a name needs a second one.
const maxTries = 16
