package utils

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/data"
)

type env struct {
	Name    string `lua:"name,required,primary" alias:"key" pos:"1" doc:"Name of the variable"`
	Default any    `lua:"default" pos:"2" doc:"Given when there is no such variable"`
}

// Query looks in the task's own variables first; the last one of a name counts.
func (e *env) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	own := modules.CallOf(ctx).Env
	for i := len(own) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(own[i], "="); ok && k == e.Name {
			return []any{v}, nil
		}
	}
	if v, ok := os.LookupEnv(e.Name); ok {
		return []any{v}, nil
	}
	return []any{e.Default}, nil
}

type config struct {
	Path    string `lua:"path,required,primary" alias:"key,name" pos:"1" doc:"Such as \"app.port\" or \"servers[1]\""`
	Default any    `lua:"default" pos:"2" doc:"Given when the host has no such variable"`
}

// Query finds the setting; a run without an inventory has none.
func (c *config) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	call := modules.CallOf(ctx)
	if call.Services == nil || call.Host == "" {
		return []any{c.Default}, nil
	}
	vars, err := call.Services.Inventory(ctx, "vars", call.Host)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return []any{c.Default}, nil // the host is not in any inventory
	}
	v, err := data.Find(vars, c.Path)
	if err != nil {
		return nil, err
	}
	if v == nil {
		v = c.Default
	}
	return []any{v}, nil
}

type secret struct {
	Name string `lua:"name,required,primary" pos:"1" doc:"Name of the secret"`
}

// Query asks the controller.
func (s *secret) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	services := modules.CallOf(ctx).Services
	if services == nil {
		return nil, errors.New("there is no controller to ask for secrets")
	}
	v, err := services.Secret(ctx, s.Name)
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", s.Name, err)
	}
	return []any{modules.NewSecret(v)}, nil
}
