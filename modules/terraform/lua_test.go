package terraform_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/git"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/terraform"
)

// deploy is what scripts do: clone, prepare, write variables, plan and apply.
const deploy = `
local where = ...
local repository = git.clone(where .. "/remote", where .. "/clone")
local client = terraform.init(where .. "/clone/prod/")
local tfvars = client:create_tfvars("terraform.tfvars", { size = "small" })
assert(tfvars.filename == "terraform.tfvars")
local plan = client:plan({ var_file = tfvars.filename })
if not plan.success then error(plan.error) end
local applied = client:apply({ var_file = tfvars.filename, auto_approve = true })
assert(repository.path == where .. "/clone")
assert(applied.planned or repository:status().branch == "main")
return applied.success, applied.changed, applied.planned, applied.outputs and applied.outputs.size
`

func TestDeployFromLua(t *testing.T) {
	for _, program := range []string{"git", "terraform"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("SLOTH_MUST_RUN") == "1" {
				t.Fatal(program + " is not installed")
			}
			t.Skip(program + " is not installed")
		}
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", dir)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("TF_CLI_CONFIG_FILE", filepath.Join(dir, "terraformrc"))
	sh := exec.Command("/bin/sh", "-e", "-c", `: >terraformrc
mkdir -p remote/prod && cd remote && git init -q --initial-branch=main
printf 'variable "size" {}\nresource "terraform_data" "one" {\n  input = var.size\n}\noutput "size" {\n  value = var.size\n}\n' >prod/main.tf
git add -A && git -c user.name=a -c user.email=a@example.com commit -qm first`)
	sh.Dir = dir
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(env *bind.Env) []any {
		t.Helper()
		vm := engine.New(engine.Options{})
		defer vm.Close()
		bind.Install(vm, []modules.Module{git.Module(), terraform.Module()})
		chunk, err := vm.Load("deploy.lua", []byte(deploy))
		if err != nil {
			t.Fatal(err)
		}
		out, err := vm.Run(bind.WithEnv(context.Background(), env), chunk, lua.LString(dir))
		if err != nil {
			t.Fatal(err)
		}
		var got []any
		for _, v := range out {
			g, err := bind.ToGo(v)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, g)
		}
		return got
	}
	m := machine.New()
	view := machine.NewOverlay(m)
	planned := run(&bind.Env{Call: modules.Call{Machine: m, Workdir: dir}, Check: true, Viewer: view, Overlay: view})
	if len(planned) != 4 || planned[0] != true || planned[2] != true {
		t.Errorf("the plan gives %v", planned)
	}
	if _, err := os.Stat(filepath.Join(dir, "clone")); err == nil {
		t.Error("the plan cloned")
	}
	done := run(&bind.Env{Call: modules.Call{Machine: m, Workdir: dir}})
	if len(done) != 4 || done[0] != true || done[1] != true || done[3] != "small" {
		t.Errorf("it gives %v", done)
	}
	if again := run(&bind.Env{Call: modules.Call{Machine: m, Workdir: dir}}); again[0] != true || again[1] != false {
		t.Errorf("once more it gives %v", again)
	}
}
