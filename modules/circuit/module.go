// Package circuit is the module circuit: calls that stop being made once they
// failed too often, until one of them succeeds again. The requests of http and
// net with circuit = "name" are counted in the same circuits.
package circuit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

// Module describes the module circuit.
func Module() modules.Module {
	b := Shared()
	rule := DefaultRule()
	const one = "{name, state = \"closed\", \"open\" or \"half_open\", failures, retry_in}"
	return modules.Module{
		Name:    "circuit",
		Summary: "Stop calling what fails again and again, until it is well; circuits are shared by the hosts and runs of a stack.",
		Funcs: []modules.Func{
			{
				Name: "protect", Summary: "Call a function unless its circuit is open; raises then, or calls fallback. An error, false, and a table with success = false are failures.",
				Example: `local answer = circuit.protect("billing", function() return "paid" end, { failures = 3, timeout = "1m" })`,
				Returns: "what the function, or fallback, returned",
				New:     func() any { return &protect{Failures: rule.Failures, Timeout: rule.Timeout, book: b} },
			},
			{
				Name: "status", Summary: "Describe one circuit; one that nothing failed in is closed.", Returns: one,
				Example: `local c = circuit.status("billing")`,
				New:     func() any { return &status{book: b} },
			},
			{
				Name: "list", Summary: "Describe the circuits that something failed in.", Returns: "list of " + one,
				Example: `for _, c in ipairs(circuit.list()) do log.info(c.name .. " " .. c.state) end`,
				New:     func() any { return &list{book: b} },
			},
			{
				Name: "reset", Summary: "Close a circuit and forget its failures; without a name all of them.", Returns: "how many had failures",
				Example: `circuit.reset("billing")`,
				New:     func() any { return &reset{book: b} },
			},
		},
	}
}

// safe makes a function part of a plan: it changes nothing but what circuits
// remember, and in a plan not even that.
type safe struct{}

// PlanSafe is true for every function of circuit.
func (safe) PlanSafe() bool { return true }

const maxName = 200

func checkName(name string) error {
	if name == "" || len(name) > maxName || strings.ContainsAny(name, "\x00\n") {
		return fmt.Errorf("name: it must be text of one line, up to %d bytes", maxName)
	}
	return nil
}

type protect struct {
	safe
	Name     string           `lua:"name,required" pos:"1" doc:"Name of the circuit"`
	Fn       modules.Callback `lua:"fn,required" alias:"func" pos:"2" doc:"What to call"`
	Failures int              `lua:"failures" alias:"threshold,max_failures" doc:"So many failures in a row open it"`
	Timeout  time.Duration    `lua:"timeout" alias:"reset_timeout" doc:"How long it stays open, until one call may try again"`
	Fallback modules.Callback `lua:"fallback" doc:"Called with the message while the circuit is open, instead of raising"`
	book     *Book
}

// Validate checks the name and the rule.
func (p *protect) Validate() error {
	if p.Failures < 1 {
		return fmt.Errorf("failures = %d: it must be 1 or more", p.Failures)
	}
	if p.Timeout <= 0 {
		return errors.New("timeout: it must be above 0")
	}
	return checkName(p.Name)
}

// Run calls the function.
func (p *protect) Run(ctx context.Context, c modules.Call) ([]any, error) {
	leave, err := p.book.Enter(ctx, c, p.Name, Rule{p.Failures, p.Timeout})
	var open *Open
	switch {
	case errors.As(err, &open) && p.Fallback != nil:
		return p.Fallback(ctx, open.Error())
	case err != nil:
		return nil, err
	}
	out, err := p.Fn(ctx)
	leave(err == nil && content(out))
	return out, err
}

// content tells from returns whether a function was content.
func content(out []any) bool {
	if len(out) == 0 {
		return true
	}
	if m, ok := out[0].(map[string]any); ok {
		return m["success"] != false
	}
	return out[0] != false && (out[0] != nil || len(out) == 1)
}

type status struct {
	safe
	Name string `lua:"name,required,primary" pos:"1" doc:"Name of the circuit"`
	book *Book
}

// Run looks it up.
func (s *status) Run(ctx context.Context, c modules.Call) ([]any, error) {
	one, err := s.book.describe(ctx, c, s.Name)
	return []any{one}, err
}

func (b *Book) describe(ctx context.Context, c modules.Call, name string) (map[string]any, error) {
	s := b.store(c)
	failures, left, err := s.look(ctx, name)
	if err != nil {
		return nil, err
	}
	state := "closed"
	if left > 0 {
		state = "open"
	} else if failures > 0 {
		opened, err := s.opened(ctx, name)
		if err != nil {
			return nil, err
		}
		if opened {
			state = "half_open"
		}
	}
	return map[string]any{"name": name, "state": state, "failures": int64(failures), "retry_in": left.Seconds()}, nil
}

type list struct {
	safe
	book *Book
}

// Run lists them by name.
func (l *list) Run(ctx context.Context, c modules.Call) ([]any, error) {
	names, err := l.book.store(c).names(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]any, 0, len(names))
	for _, name := range names {
		one, err := l.book.describe(ctx, c, name)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return []any{out}, nil
}

type reset struct {
	safe
	Name string `lua:"name,primary" pos:"1" doc:"Name of the circuit; without, all of them"`
	book *Book
}

// Run forgets failures, except in a plan.
func (r *reset) Run(ctx context.Context, c modules.Call) ([]any, error) {
	s := r.book.store(c)
	names, err := s.names(ctx)
	if err != nil {
		return nil, err
	}
	n := int64(0)
	for _, name := range names {
		if r.Name != "" && r.Name != name {
			continue
		}
		n++
		if c.Plan {
			continue
		}
		if err := s.clear(ctx, name); err != nil {
			return nil, err
		}
	}
	return []any{n}, nil
}
