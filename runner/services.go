package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/packed"
)

// maxTemplate is the size of a template source; rendering holds it in memory.
const maxTemplate = 8 << 20

// services answers what a task asks of the controller. For a host it is the
// closed list that host may use: everything it sends is data of a stranger.
type services struct {
	r     *Runner
	host  string // Local for the controller's own tasks
	depth int    // how many :run() this caller is nested in
	// mayBecome says that the caller runs as another user already.
	mayBecome bool
	cells     map[string]*cell // steps the caller was sent, by id
	call      string           // names the call for good; empty: it cannot come twice
}

var _ modules.Services = (*services)(nil)

func (s *services) State(ctx context.Context, op string, args []any) ([]any, error) {
	if s.r.opt.State == nil {
		return nil, errors.New("state is not available in this command")
	}
	return s.r.opt.State(ctx, s.call, op, args)
}

func (s *services) File(ctx context.Context, src string) (modules.File, error) {
	if id, name, ok := modules.SplitArtifact(src); ok {
		return s.openArtifact(ctx, id, name)
	}
	return s.r.root.open(src)
}

func (s *services) List(ctx context.Context, dir string) ([]modules.FileEntry, error) {
	if id, _, ok := modules.SplitArtifact(dir); ok {
		return s.listArtifacts(ctx, id)
	}
	return s.r.root.list(dir)
}

func (s *services) Template(ctx context.Context, src, engine string, vars map[string]any) ([]byte, error) {
	f, err := s.r.root.open(src)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size > maxTemplate {
		return nil, fmt.Errorf("template %s: %d bytes are over the limit of %d", src, f.Size, maxTemplate)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTemplate))
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", src, err)
	}
	return s.r.render(s.host, text, src, engine, vars)
}

// render renders with vars over those of the host.
func (r *Runner) render(host string, text []byte, src, engine string, vars map[string]any) ([]byte, error) {
	if r.opt.Render == nil {
		return nil, errors.New("templates are not available in this command")
	}
	all := r.templateVars(host)
	maps.Copy(all, vars)
	// A template is where secrets go into files.
	if packed.HasSecret(all) {
		all, _ = revealed(all).(map[string]any)
	}
	return r.opt.Render(text, src, engine, all)
}

// revealed is v with the secrets in it as text.
func revealed(v any) any {
	switch t := v.(type) {
	case modules.Secret:
		return t.Reveal()
	case []any:
		out := make([]any, len(t))
		for i, item := range t {
			out[i] = revealed(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, item := range t {
			out[k] = revealed(item)
		}
		return out
	}
	return v
}

// templateVars is what every template on host sees: its variables and, under
// their own names, values, params, host and inventory_hostname.
func (r *Runner) templateVars(host string) map[string]any {
	all := map[string]any{}
	if r.opt.Values != nil {
		all["values"] = r.opt.Values
	}
	all["params"] = r.opt.Params
	h := r.host(host)
	all["host"] = map[string]any{"name": h.Name, "address": h.Address, "groups": h.Groups}
	all["inventory_hostname"] = h.Name
	maps.Copy(all, h.Vars)
	return all
}

func (s *services) Secret(ctx context.Context, name string) (string, error) {
	if s.host != Local && !s.r.sentName(s.host, name) {
		return "", fmt.Errorf("secret %q: no function sent to %s names it", name, s.host)
	}
	if s.r.opt.Secret == nil {
		return "", fmt.Errorf("secret %q: there is no secret store in this command", name)
	}
	value, err := s.r.opt.Secret(ctx, name)
	if err == nil {
		s.r.learn(s.host, value) // whoever goes on with the run may not ask for it again
	}
	return value, err
}

func (s *services) Require(ctx context.Context, name string) ([]byte, string, error) {
	if s.r.opt.Require == nil {
		return nil, "", fmt.Errorf("module %q not found", name)
	}
	return s.r.opt.Require(ctx, name)
}

func (s *services) RunTask(ctx context.Context, task []byte) ([]byte, error) {
	return s.r.runShipped(ctx, s.host, s.depth, s.mayBecome, task)
}

func (s *services) Notify(_ context.Context, handler string) error {
	s.r.notify(s.host, handler)
	return nil
}

func (s *services) Inventory(ctx context.Context, what, arg string) (any, error) {
	inv := s.r.opt.Hosts
	if inv == nil {
		return nil, errors.New("inventory: this run has none; give one with -i")
	}
	switch what {
	case "hosts":
		hosts, err := inv.Match(arg, "")
		if err != nil {
			return nil, err
		}
		out := make([]any, len(hosts))
		for i, h := range hosts {
			out[i] = h
		}
		return out, nil
	case "vars":
		if err := s.known(arg); err != nil {
			return nil, err
		}
		vars := s.r.host(arg).Vars
		if s.host != Local {
			vars = packed.CarryMap(vars)
		}
		return vars, nil
	case "facts":
		if err := s.known(arg); err != nil {
			return nil, err
		}
		return s.r.facts(ctx, arg)
	}
	return nil, fmt.Errorf("inventory.%s: no such question", what)
}

// known refuses names that are not exactly one host of the inventory.
func (s *services) known(host string) error {
	if hosts, err := s.r.opt.Hosts.Match(host, ""); err != nil || len(hosts) != 1 || hosts[0] != host {
		return fmt.Errorf("inventory: there is no host %q", host)
	}
	return nil
}

func (s *services) SetHostVar(_ context.Context, key string, value any) error {
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	vars := r.hostVars[s.host]
	if vars == nil {
		vars = map[string]any{}
		r.hostVars[s.host] = vars
	}
	if len(vars) >= 10_000 {
		return fmt.Errorf("host.set: %s has set %d variables already", s.host, len(vars))
	}
	vars[key] = value
	return nil
}
