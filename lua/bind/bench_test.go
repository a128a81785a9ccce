package bind_test

import (
	"context"
	"testing"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/machine"
)

// BenchmarkUnchangedCopy is a step that finds everything as it should be.
func BenchmarkUnchangedCopy(b *testing.B) {
	vm := engine.New(engine.Options{})
	defer vm.Close()
	bind.Install(vm, all.Modules())
	env := &bind.Env{Call: modules.Call{Machine: machine.New(), Workdir: b.TempDir()}}
	ctx := bind.WithEnv(context.Background(), env)
	chunk, err := vm.Load("bench.sloth", []byte(`file_ops.copy({ content = "hello\n", dest = "motd", mode = "0644", owner = "root" })`))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := vm.Run(ctx, chunk); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkInstall is what every attempt of a step pays for modules.
func BenchmarkInstall(b *testing.B) {
	mods := all.Modules()
	for b.Loop() {
		vm := engine.New(engine.Options{})
		bind.Install(vm, mods)
		vm.Close()
	}
}
