package modulestest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
)

// Host is a folder in the place of /, with stand-ins for programs, on which
// functions of one module are called.
type Host struct {
	Dir      string // stands for /
	Programs *Programs
	Machine  modules.Machine
	Overlay  *machine.Overlay // where there is one, calls are part of its plan
	Workdir  string
	Logged   []string
	Say      func(modules.Diff) string // what Call says of a diff; nil: Said

	module modules.Module
}

// On is a host that is m, with the programs of m.
func On(m modules.Machine, module modules.Module) *Host { return &Host{Machine: m, module: module} }

// NewHost makes a host with these files, by path below the root.
func NewHost(t *testing.T, module modules.Module, files map[string]string) *Host {
	t.Helper()
	h := &Host{Dir: t.TempDir(), Programs: NewPrograms(t), module: module}
	for path, text := range files {
		h.Put(t, path, text)
	}
	h.Machine = h.Programs.On(machine.New(), h.Dir)
	return h
}

// Put makes a file and the folders it is in. A path that ends in / is a folder,
// a text that begins with -> the target of a link; "none" makes no file.
func (h *Host) Put(t *testing.T, path, text string) {
	t.Helper()
	to := filepath.Join(h.Dir, path)
	dir := filepath.Dir(to)
	if strings.HasSuffix(path, "/") {
		dir, text = to, "none"
	}
	err := os.MkdirAll(dir, 0o755)
	target, link := strings.CutPrefix(text, "->")
	switch {
	case err != nil, text == "none":
	case link:
		err = os.Symlink(target, to)
	default:
		err = os.WriteFile(to, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Read is what a file holds, or "none".
func (h *Host) Read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(h.Dir, path))
	if os.IsNotExist(err) {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Call calls a function of the module, and gives its first result and what it
// changed, or would change.
func (h *Host) Call(t *testing.T, name string, args map[string]any) (out any, said string, err error) {
	t.Helper()
	all, said, err := h.CallAll(t, name, args)
	if err != nil || len(all) == 0 {
		return nil, said, err
	}
	return all[0], said, nil
}

// CallAll is Call for functions with several results.
func (h *Host) CallAll(t *testing.T, name string, args map[string]any) (out []any, said string, err error) {
	t.Helper()
	say := h.Say
	if say == nil {
		say = Said
	}
	env := &bind.Env{
		Call:   modules.Call{Machine: h.Machine, Workdir: h.Workdir, Log: func(_, m string, _ map[string]any) { h.Logged = append(h.Logged, m) }},
		Called: func(r bind.Record) { said = say(r.Diff) },
	}
	if h.Overlay != nil {
		env.Check, env.Viewer, env.Overlay = true, h.Overlay, h.Overlay
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err = bind.CallByName(bind.WithEnv(ctx, env), []modules.Module{h.module}, h.module.Name+"."+name, args)
	return out, said, err
}

// Said is a diff on one line: "/etc/hosts content: old -> new; …".
func Said(d modules.Diff) string {
	out := make([]string, len(d.Changes))
	for i, c := range d.Changes {
		out[i] = fmt.Sprintf("%s %s: %s -> %s", c.What, c.Attr, c.Before, c.After)
		if c.Hidden {
			out[i] = c.What + " " + c.Attr + ": hidden"
		}
	}
	return strings.Join(out, "; ")
}

// Args makes named arguments of pairs.
func Args(kv ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1]
	}
	return m
}
