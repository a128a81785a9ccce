package dsl

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/yuin/gopher-lua/ast"

	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

// linter looks at sources without running them: undefined variables, methods
// and functions that do not exist, wrong names of arguments.
type linter struct {
	known *known
	// read finds the source behind include, dofile and require. how is the
	// function's name, from the file that asks.
	read func(how, name, from string) (file string, src []byte, err error)

	files    map[string]bool
	trees    map[string]*tree
	problems Problems
	set      map[string]bool // globals that some file assigns
	added    map[string]bool // "library.function" that some file assigns
	guarded  map[string]bool // globals that some file compares with nil
	reads    []globalRead
	calls    []libraryCall
	// dynamic is set when globals may come into being by computed names.
	dynamic bool
	// allHosts are the uses of deps.NAME.hosts, notifies those of notify("NAME").
	allHosts, notifies []namedAt
	// effects are calls of modules at the top level of the first file.
	effects int
	uses    []Use
	facts   []namedAt // facts.NAME
}

type globalRead struct {
	pos   Pos
	name  string
	task  *taskItem // it stands in a list of tasks
	scope *scope
}

// namedAt is a name and where it stands.
type namedAt struct {
	pos  Pos
	name string
}

type taskItem struct {
	workflow string
	index    int
}

// libraryCall is a use of a library's function.
type libraryCall struct {
	pos      Pos
	lib      *library
	function string
	call     *ast.FuncCallExpr // nil: it is only mentioned
	// protected: it stands in a pcall, which may well expect it to fail.
	protected bool
}

// lint looks at a file and all it includes.
func lint(k *known, file string, src []byte, read func(how, name, from string) (string, []byte, error)) *linter {
	l := &linter{
		known: k, read: read, files: map[string]bool{}, trees: map[string]*tree{},
		set: map[string]bool{}, added: map[string]bool{}, guarded: map[string]bool{},
	}
	l.file(file, src, true)
	for _, r := range l.reads {
		l.checkRead(r)
	}
	for _, c := range l.calls {
		l.checkCall(c)
	}
	l.problems = l.problems.sorted()
	return l
}

func (l *linter) file(file string, src []byte, root bool) {
	if l.files[file] {
		return
	}
	l.files[file] = true
	t, err := parseTree(file, src)
	if err != nil {
		l.problems = append(l.problems, problemOf(err, file)...)
		return
	}
	l.trees[file] = t
	f := &fileLint{linter: l, tree: t, root: root, kinds: map[ast.Expr]kind{}}
	f.scope = &scope{}
	f.block(t.stmts)
}

func (l *linter) checkRead(r globalRead) {
	if l.dynamic || l.known.globals[r.name] || l.set[r.name] || l.guarded[r.name] {
		return
	}
	if r.task != nil {
		l.problems = append(l.problems, Problem{Pos: r.pos, Message: missingTask(r.task.workflow, r.task.index, r.name)})
		return
	}
	p := Problem{Pos: r.pos, Message: fmt.Sprintf("undefined variable %q", r.name)}
	names := slices.Concat(r.scope.names(), slices.Sorted(maps.Keys(l.known.globals)), slices.Sorted(maps.Keys(l.set)))
	if n := spec.Nearest(r.name, names); n != "" && (len(r.name) > 3 || swapped(r.name, n)) {
		p.Hint = fmt.Sprintf("did you mean %q?", n)
	}
	l.problems = append(l.problems, p)
}

// swapped reports whether two short words have the same letters; anything else
// that is near to one of three letters is a guess.
func swapped(a, b string) bool {
	x, y := []byte(a), []byte(b)
	slices.Sort(x)
	slices.Sort(y)
	return bytes.Equal(x, y)
}

func (l *linter) checkCall(c libraryCall) {
	f, ok := c.lib.functions[c.function]
	if l.added[c.lib.name+"."+c.function] {
		return
	}
	if !ok {
		if !l.dynamic {
			l.problems = append(l.problems, Problem{Pos: c.pos,
				Message: fmt.Sprintf("%s has no function %q%s", c.lib.name, c.function, hint(c.function, c.lib.names()))})
		}
		return
	}
	if acts(c.lib, c.function, f) {
		name := c.function
		if f != nil {
			name = f.Name
		}
		l.uses = append(l.uses, Use{c.pos, c.lib.name + "." + name})
	}
	if f == nil || c.call == nil {
		return
	}
	for _, m := range spec.Examine(*f, constants(c.call.Args)) {
		if c.protected && !m.Name {
			continue
		}
		l.problems = append(l.problems, Problem{Pos: Pos{c.pos.File, c.lineOf(m)}, Message: fmt.Sprintf("%s.%s: %s", c.lib.name, f.Name, m.Err)})
	}
}

// acts reports whether a function changes something, or may.
func acts(lib *library, name string, f *modules.Func) bool {
	if f == nil {
		return lib.name == "os" && (name == "remove" || name == "rename")
	}
	switch made := f.New().(type) {
	case modules.Changer:
		return true
	case modules.Tool:
		return !made.PlanSafe()
	}
	return false
}

// lineOf is where a mistake stands: at its argument, where that has a line.
func (c libraryCall) lineOf(m spec.Mistake) int {
	if m.Place == 0 || m.Place > len(c.call.Args) {
		return c.pos.Line
	}
	arg := c.call.Args[m.Place-1]
	if t, ok := arg.(*ast.TableExpr); ok && m.Key != "" {
		for _, f := range t.Fields {
			if key, ok := f.Key.(*ast.StringExpr); ok && key.Value == m.Key {
				return max(key.Line(), f.Value.Line())
			}
		}
	}
	return max(arg.Line(), c.pos.Line)
}

// follow lints a file that another one loads by a constant name.
func (f *fileLint) follow(how, name string, line int) {
	if f.read == nil {
		f.dynamic = true
		return
	}
	file, src, err := f.read(how, name, f.tree.file)
	if err != nil {
		if f.protected == 0 {
			f.problem(line, fmt.Sprintf("%s(%q): %s", how, name, bareMessage(err)))
		}
		return
	}
	f.file(file, src, false)
}

// bareMessage drops the place of an error that is told with another.
func bareMessage(err error) string {
	var e *engine.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

func (f *fileLint) problem(line int, message string) {
	f.problems = append(f.problems, Problem{Pos: Pos{f.tree.file, line}, Message: message})
}
