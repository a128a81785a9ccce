package http

import (
	"context"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/circuit"
)

// breakers are the circuits that requests are counted in: those of the module
// circuit.
type breakers struct{ book *circuit.Book }

func newBreakers() *breakers { return &breakers{circuit.Shared()} }

// enter refuses a request while the named circuit is open. leave counts how it
// ended.
func (b *breakers) enter(ctx context.Context, name string) (leave func(good bool), err error) {
	return b.book.Enter(ctx, modules.CallOf(ctx), name, circuit.DefaultRule())
}
