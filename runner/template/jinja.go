package template

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"github.com/nikolalohinski/gonja/v2/builtins"
	structures "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// maxRange is how many numbers range() may make.
const maxRange = 100_000

// statements are those of Jinja2 that Ansible's templates may use.
var statements = []string{
	"block", "break", "call", "continue", "do", "extends", "filter", "for", "from", "if",
	"import", "macro", "raw", "set", "with",
}

func (r *Renderer) jinja(b *budget, src []byte, name string, vars map[string]any) (out []byte, err error) {
	files := &included{r: r, root: name, src: src}
	defer func() {
		// The engine reflects over whatever it is given; a panic there is this
		// template's failure and nobody else's.
		if p := recover(); p != nil {
			out, err = nil, &Error{Name: name, Message: fmt.Sprintf("the template engine failed: %v", p)}
		}
	}()
	cfg := config.New()
	cfg.TrimBlocks = true
	cfg.KeepTrailingNewline = true
	cfg.StrictUndefined = true

	set := exec.NewControlStructureSet(map[string]parser.ControlStructureParser{})
	for _, name := range statements {
		parse, ok := builtins.ControlStructures.Get(name)
		if !ok {
			return nil, fmt.Errorf("the template engine has no %q", name)
		}
		if err := set.Register(name, guard(parse, b)); err != nil {
			return nil, err
		}
	}
	if err := set.Register("include", guard(parseInclude, b)); err != nil {
		return nil, err
	}
	globals := exec.EmptyContext().Update(builtins.GlobalFunctions).Update(builtins.GlobalVariables)
	globals.Set("range", jinjaRange)
	t, err := exec.NewTemplate(name, cfg, &loader{included: files, dir: name}, &exec.Environment{
		Filters:           exec.NewFilterSet(map[string]exec.FilterFunction{}).Update(builtins.Filters).Update(ansibleFilters(b)),
		ControlStructures: set,
		Tests:             exec.NewTestSet(map[string]exec.TestFunction{}).Update(builtins.Tests).Update(ansibleTests),
		Context:           globals,
		Methods:           methods,
	})
	if err != nil {
		return nil, jinjaError(name, err)
	}
	strictOutputs(&nodes.Wrapper{Nodes: t.Root().Nodes})
	if err := t.Execute(b, exec.NewContext(plainMap(vars))); err != nil {
		return nil, jinjaError(name, err)
	}
	if b.fail != nil {
		return nil, jinjaError(name, b.fail)
	}
	return b.out.Bytes(), nil
}

// included hands out template sources.
type included struct {
	r    *Renderer
	root string
	src  []byte
}

// loader is gonja's view of the files, from the folder of one of them.
type loader struct {
	*included
	dir string // name of the template that includes
}

var _ loaders.Loader = (*loader)(nil)

// Read is called with a name that Resolve gave, from a loader of that file, and
// by extends with the name as written.
func (l *loader) Read(name string) (io.Reader, error) {
	if name == l.root {
		return bytes.NewReader(l.src), nil
	}
	from := l.dir
	if name == l.dir {
		from = ""
	}
	src, _, err := l.r.include(from, name)
	if err != nil {
		return nil, err
	}
	return bytes.NewReader(src), nil
}

func (l *loader) Resolve(name string) (string, error) {
	if name == l.root {
		return name, nil
	}
	_, resolved, err := l.r.include(l.dir, name)
	return resolved, err
}

func (l *loader) Inherit(from string) (loaders.Loader, error) {
	return &loader{included: l.included, dir: from}, nil
}

// guarded is a control structure that asks the budget before it runs.
type guarded struct {
	exec.ControlStructure
	b *budget
}

func (g *guarded) Execute(r *exec.Renderer, tag *nodes.ControlStructureBlock) error {
	if err := g.b.enter(); err != nil {
		return err
	}
	defer g.b.leave()
	if err := g.ControlStructure.Execute(r, tag); err != nil {
		return err
	}
	return g.b.fail
}

func guard(parse parser.ControlStructureParser, b *budget) parser.ControlStructureParser {
	return func(p, args *parser.Parser) (nodes.ControlStructure, error) {
		s, err := parse(p, args)
		if err != nil {
			return nil, err
		}
		switch s := s.(type) {
		case *structures.ForControlStructure:
			if s.IfCondition != nil {
				s.IfCondition = strict(s.IfCondition)
			}
			strictOutputs(s.BodyWrapper, s.EmptyWrapper)
		case *structures.IfControlStructure:
			strictOutputs(s.Wrappers...)
		case *structures.CallControlStructure:
			strictOutputs(s.Body)
		case *structures.MacroControlStructure:
			strictOutputs(s.Wrapper)
			// A macro runs where no structure is executed, so marks around its
			// body count the depth.
			at := s.Wrapper.Location
			s.Wrapper.Nodes = append(append([]nodes.Node{mark(at, b.enter)}, s.Wrapper.Nodes...),
				mark(at, func() error { b.leave(); return nil }))
			return s, nil
		}
		if x, ok := s.(exec.ControlStructure); ok {
			return &guarded{x, b}, nil
		}
		return s, nil
	}
}

type marker struct {
	at  *tokens.Token
	run func() error
}

func (m *marker) Position() *tokens.Token { return m.at }
func (m *marker) String() string          { return "macro" }

func (m *marker) Execute(*exec.Renderer, *nodes.ControlStructureBlock) error { return m.run() }

func mark(at *tokens.Token, run func() error) nodes.Node {
	return &nodes.ControlStructureBlock{Location: at, Name: "macro", ControlStructure: &marker{at, run}}
}

// jinjaRange is Python's range as a list; the engine's own leaves a goroutine
// behind when a loop over it fails.
func jinjaRange(_ *exec.Evaluator, params *exec.VarArgs) ([]int, error) {
	start, stop, step := 0, 0, 1
	switch a := params.Args; len(a) {
	case 1:
		stop = a[0].Integer()
	case 2:
		start, stop = a[0].Integer(), a[1].Integer()
	case 3:
		start, stop, step = a[0].Integer(), a[1].Integer(), a[2].Integer()
	default:
		return nil, errors.New("range takes one to three numbers")
	}
	if step == 0 {
		return nil, errors.New("range: the step cannot be 0")
	}
	list := []int{}
	for i := start; (step > 0 && i < stop) || (step < 0 && i > stop); i += step {
		if len(list) == maxRange {
			return nil, fmt.Errorf("range: more than %d numbers", maxRange)
		}
		list = append(list, i)
	}
	return list, nil
}

var (
	undefinedName = regexp.MustCompile(`Unable to evaluate name "([^"]*)"`)
	undefinedAttr = regexp.MustCompile(`(?:attribute|item) '*([^']*)'* not found`)
	invalidCall   = regexp.MustCompile(`^invalid call to (?:filter|test|method) '([^']*)'(?: of [^:]*)?: `)
	atLine        = regexp.MustCompile(` at line (\d+): `)
	syntaxAt      = regexp.MustCompile(`(?s)^(.*) \(Line: (\d+) Col: \d+`)
)

// jinjaError finds line and cause in gonja's wrapped messages: every layer says
// "at line N: expression: ", the innermost comes last.
func jinjaError(name string, err error) error {
	e := &Error{Name: name}
	var root error
	for layer := err; layer != nil; layer = below(layer) {
		switch layer := layer.(type) { //nolint:errorlint // the loop unwraps
		case *Error:
			return layer
		case *parser.SyntaxError:
			e.Line, e.Message = layer.Line, layer.Message
			if layer.Raw != "" {
				e.Message += " near " + strconv.Quote(layer.Raw)
			}
			return e
		}
		root = layer
	}
	text := err.Error()
	if all := atLine.FindAllStringSubmatch(text, -1); len(all) > 0 {
		e.Line, _ = strconv.Atoi(all[len(all)-1][1])
	}
	e.Message = invalidCall.ReplaceAllString(root.Error(), "$1: ")
	if m := undefinedName.FindStringSubmatch(e.Message); m != nil {
		e.Message = "'" + m[1] + "' is undefined"
	} else if m := undefinedAttr.FindStringSubmatch(e.Message); m != nil {
		e.Message = "'" + m[1] + "' is undefined"
	} else if m := syntaxAt.FindStringSubmatch(e.Message); m != nil {
		e.Message = m[1]
		e.Line, _ = strconv.Atoi(m[2])
	}
	return e
}

// below returns what err wraps; gonja carries errors in its values too.
func below(err error) error {
	if v, ok := err.(*exec.Value); ok { //nolint:errorlint // one layer at a time
		inner, _ := v.Interface().(error)
		return inner
	}
	return errors.Unwrap(err)
}
