package template

import (
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// include is {% include EXPRESSION [ignore missing] [with|without context] %}.
// Unlike the engine's own it says in which file an error is.
type include struct {
	at            *tokens.Token
	name          nodes.Expression
	ignoreMissing bool
}

func (i *include) Position() *tokens.Token { return i.at }
func (i *include) String() string          { return "include" }

func parseInclude(p, args *parser.Parser) (nodes.ControlStructure, error) {
	i := &include{at: args.Current()}
	var err error
	if i.name, err = args.ParseExpression(); err != nil {
		return nil, err
	}
	if args.MatchName("ignore") != nil {
		if args.MatchName("missing") == nil {
			return nil, args.Error("expected 'missing' after 'ignore'", args.Current())
		}
		i.ignoreMissing = true
	}
	if args.MatchName("with", "without") != nil && args.MatchName("context") == nil {
		return nil, args.Error("expected 'context'", args.Current())
	}
	if !args.End() {
		return nil, args.Error("malformed include", args.Current())
	}
	return i, nil
}

func (i *include) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	name := r.Eval(i.name)
	if name.IsError() {
		return name
	}
	file, err := r.Loader.Resolve(name.String())
	if err != nil {
		if i.ignoreMissing {
			return nil
		}
		return err
	}
	files, err := r.Loader.Inherit(file)
	if err != nil {
		return err
	}
	t, err := exec.NewTemplate(file, r.Config, files, r.Environment)
	if err != nil {
		return jinjaError(file, err)
	}
	strictOutputs(&nodes.Wrapper{Nodes: t.Root().Nodes})
	if err := exec.NewRenderer(r.Environment, r.Output, r.Config, files, t).Execute(); err != nil {
		return jinjaError(file, err)
	}
	return nil
}
