package runner

import (
	"context"
	"time"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/service"
)

// stepServices are those of one step on the controller itself.
type stepServices struct {
	*services
	sets *service.Sets
}

var _ modules.Setter = (*stepServices)(nil)

// forStep gives the services of c, for as long as life.
func (s *services) forStep(life context.Context, c *cell) *stepServices {
	own := *s
	own.cells = map[string]*cell{c.id: c}
	return &stepServices{services: &own, sets: service.NewSets(life, own.State)}
}

func (s *stepServices) State(ctx context.Context, op string, args []any) ([]any, error) {
	return s.sets.State(ctx, op, args)
}

func (s *stepServices) SetLater(ctx context.Context, key string, value any, ttl time.Duration) error {
	return s.sets.SetLater(ctx, key, value, ttl)
}

func (s *stepServices) FlushState(ctx context.Context) error { return s.sets.FlushState(ctx) }

func (s *stepServices) FlushHandlers(ctx context.Context) error {
	if err := s.sets.FlushState(ctx); err != nil {
		return err
	}
	return s.services.FlushHandlers(ctx)
}
