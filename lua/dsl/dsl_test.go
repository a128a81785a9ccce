package dsl_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/goroutine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/all"
)

// rig is a VM with the language and every module.
type rig struct {
	vm     *engine.VM
	loader *dsl.Loader
	logs   []string
}

func newRig(t *testing.T, o dsl.Options) *rig {
	t.Helper()
	r := &rig{vm: engine.New(dsl.VMOptions(engine.Options{}))}
	t.Cleanup(func() { r.vm.Close() })
	mods := all.Modules()
	bind.Install(r.vm, mods)
	goroutine.Install(r.vm)
	o.Modules = mods
	if o.Env == nil {
		o.Env = &bind.Env{Call: modules.Call{Log: func(_, message string, _ map[string]any) { r.logs = append(r.logs, message) }}}
	}
	r.loader = dsl.Install(r.vm, o)
	r.vm.Pristine()
	return r
}

func (r *rig) load(t *testing.T, src string) (*dsl.Program, error) {
	t.Helper()
	return r.loader.LoadSource(context.Background(), "site.sloth", []byte(src))
}

func mustLoad(t *testing.T, src string) *dsl.Program {
	t.Helper()
	run := func(context.Context, *dsl.Task) ([]lua.LValue, error) { return []lua.LValue{lua.LTrue}, nil }
	p, err := newRig(t, dsl.Options{RunTask: run}).load(t, src)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return p
}

func specFile(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("SLOTH_SPEC")
	if dir == "" {
		if os.Getenv("SLOTH_MUST_RUN") != "" {
			t.Fatal("SLOTH_SPEC is unset")
		}
		t.Skip("SLOTH_SPEC is unset: it names the folder with the language's examples")
	}
	return filepath.Join(dir, "examples", name)
}

func TestExamplesLoad(t *testing.T) {
	for _, name := range []string{"07-parallel-deployment", "11-quick-goroutines", "16-hello-world", "17-pipeline", "21-build-task-fragment", "23-hello-world-modern"} {
		t.Run(name, func(t *testing.T) {
			path := specFile(t, name+".sloth")
			p, err := newRig(t, dsl.Options{}).loader.LoadFile(context.Background(), path)
			if err != nil && !strings.Contains(err.Error(), `"state"`) {
				t.Fatal(err)
			}
			if err == nil && (len(p.Workflows) != 1 || len(p.Tasks) == 0) {
				t.Fatalf("%d workflows, %d tasks", len(p.Workflows), len(p.Tasks))
			}
		})
	}
}
