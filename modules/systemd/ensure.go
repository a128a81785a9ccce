package systemd

import (
	"context"
	"errors"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
)

// ensure is several of the other functions at once, under the names that people
// know from Ansible.
type ensure struct {
	several
	State   string `lua:"state" enum:"started,stopped,restarted,reloaded" doc:"What becomes of it: restarted and reloaded are done at every call, the others where needed"`
	Enabled *bool  `lua:"enabled" alias:"enable" doc:"Whether it starts at boot"`
	Masked  *bool  `lua:"masked" alias:"mask" doc:"Whether it is impossible to start it"`
	Reload  bool   `lua:"daemon_reload" doc:"First let systemd read all unit files again, where one has changed since it did"`

	parts []part
}

// part is one of the functions, and what it found to do.
type part struct {
	does modules.Changer
	diff modules.Diff
}

// Validate asks for something to do, and for nothing that contradicts itself.
func (e *ensure) Validate() error {
	if err := e.several.Validate(); err != nil {
		return err
	}
	if e.State == "" && e.Enabled == nil && e.Masked == nil && !e.Reload {
		return errors.New("say at least one of state, enabled, masked and daemon_reload")
	}
	if e.Masked != nil && *e.Masked && (e.State != "" && e.State != "stopped" || e.Enabled != nil && *e.Enabled) {
		return errors.New("what is masked can be neither started nor enabled")
	}
	return nil
}

// Repeats is true where something is done at every call.
func (e *ensure) Repeats() bool {
	return e.State == "restarted" || e.State == "reloaded"
}

var stateVerbs = map[string]string{"started": "start", "stopped": "stop", "restarted": "restart", "reloaded": "reload"}

// functions are those of the module that do it, in their order.
func (e *ensure) functions() []modules.Changer {
	var out []modules.Changer
	verb := func(on *bool, yes, no string) {
		switch {
		case on == nil:
		case *on:
			out = append(out, &change{several: e.several, verb: yes})
		default:
			out = append(out, &change{several: e.several, verb: no})
		}
	}
	if e.Reload {
		out = append(out, &reread{})
	}
	unmask := e.Masked != nil && !*e.Masked
	if unmask {
		verb(e.Masked, "mask", "unmask")
	}
	verb(e.Enabled, "enable", "disable")
	switch v := stateVerbs[e.State]; v {
	case "":
	case "restart", "reload":
		out = append(out, &repeat{several: e.several, verb: v})
	default:
		out = append(out, &change{several: e.several, verb: v})
	}
	if e.Masked != nil && !unmask {
		verb(e.Masked, "mask", "unmask")
	}
	return out
}

// Check asks each of them about the host as those before it would leave it: what
// is unmasked can be started.
func (e *ensure) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var all modules.Diff
	e.parts = nil
	o := machine.NewOverlay(v)
	for _, f := range e.functions() {
		d, err := f.Check(ctx, o)
		if err != nil {
			return all, err
		}
		if p, ok := f.(modules.Planner); ok && !d.Empty() {
			if err := p.Plan(ctx, d, o); err != nil {
				return all, err
			}
		}
		e.parts = append(e.parts, part{f, d})
		all.Changes = append(all.Changes, d.Changes...)
	}
	return all, nil
}

// Apply lets those that found something do it.
func (e *ensure) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	for _, p := range e.parts {
		if p.diff.Empty() {
			continue
		}
		if err := p.does.Apply(ctx, m, p.diff); err != nil {
			return err
		}
	}
	return nil
}

// Plan lets later checks see it.
func (e *ensure) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	for _, p := range e.parts {
		if plans, ok := p.does.(modules.Planner); ok && !p.diff.Empty() {
			if err := plans.Plan(ctx, p.diff, o); err != nil {
				return err
			}
		}
	}
	return nil
}
