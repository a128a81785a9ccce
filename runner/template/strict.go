package template

import (
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
)

// strictFilter is the internal filter that reports undefined values where the
// engine drops them: in list literals and in the condition of a for.
const strictFilter = "sloth strict" // no template can name it

func strict(x nodes.Expression) nodes.Expression {
	return &nodes.FilteredExpression{
		Expression: x,
		Filters:    []*nodes.FilterCall{{Token: x.Position(), Name: strictFilter}},
	}
}

// strictOutputs makes every printed list literal in the bodies strict.
func strictOutputs(bodies ...*nodes.Wrapper) {
	for _, body := range bodies {
		if body == nil {
			continue
		}
		for _, n := range body.Nodes {
			out, ok := n.(*nodes.Output)
			if !ok {
				continue
			}
			switch out.Expression.(type) {
			case *nodes.List, *nodes.Tuple, *nodes.Dict:
				out.Expression = strict(out.Expression)
			}
		}
	}
}

// strictly wraps a filter so that an undefined item of its list is an error.
func strictly(f exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		if bad := undefinedItem(in); bad != nil {
			return bad
		}
		return f(e, in, params)
	}
}

// undefinedItem returns the first error among the items of a literal.
func undefinedItem(v *exec.Value) *exec.Value {
	if v == nil {
		return nil
	}
	switch list := v.Interface().(type) {
	case exec.ValuesList:
		for _, item := range list {
			if item.IsError() {
				return item
			}
			if bad := undefinedItem(item); bad != nil {
				return bad
			}
		}
	case *exec.Dict:
		for _, pair := range list.Pairs {
			if bad := undefinedItem(pair.Value); bad != nil {
				return bad
			}
		}
	}
	return nil
}
