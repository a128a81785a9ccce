package terraform

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/spec"
)

type m = map[string]any

const configuration = `
variable "size" {
  type = string
}
variable "password" {
  type      = string
  default   = "none"
  sensitive = true
}
variable "tags" {
  type    = map(string)
  default = {}
}
resource "terraform_data" "one" {
  input = "${var.size}-${var.password}"
}
output "size" {
  value = var.size
}
output "tags" {
  value = var.tags
}
output "password" {
  value     = var.password
  sensitive = true
}
`

type world struct {
	t   *testing.T
	dir string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		if os.Getenv("SLOTH_MUST_RUN") == "1" {
			t.Fatal("terraform is not installed")
		}
		t.Skip("terraform is not installed")
	}
	w := &world{t, t.TempDir()}
	w.write("terraformrc", "")
	w.write("site/main.tf", configuration)
	t.Setenv("TF_CLI_CONFIG_FILE", filepath.Join(w.dir, "terraformrc"))
	t.Setenv("TMPDIR", t.TempDir())
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(w.dir, name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) surround() modules.Call {
	return modules.Call{Machine: machine.New(), Workdir: w.dir, Output: func(string, []byte) {}, Log: func(string, string, map[string]any) {}}
}

func filled(function string, args ...any) (any, error) {
	for _, f := range Module().Funcs {
		if f.Name == function {
			return spec.Parse(f, args, "/nowhere")
		}
	}
	panic("there is no " + function)
}

// call runs a function; one that changes files is checked, applied and checked
// again.
func (w *world) call(function string, args ...any) m {
	w.t.Helper()
	made, err := filled(function, args...)
	if err != nil {
		w.t.Fatalf("%s%v: %v", function, args, err)
	}
	ctx := modules.WithCall(context.Background(), w.surround())
	if tool, ok := made.(modules.Tool); ok {
		out, err := tool.Run(ctx, w.surround())
		if err != nil {
			w.t.Fatalf("%s%v raised: %v", function, args, err)
		}
		return out[0].(m)
	}
	c := made.(modules.Changer)
	d, err := c.Check(ctx, machine.New())
	if err == nil && !d.Empty() {
		err = c.Apply(ctx, machine.New(), d)
	}
	if err != nil {
		w.t.Fatalf("%s%v raised: %v", function, args, err)
	}
	r := c.(modules.Resulter).Result()
	r["changed"] = !d.Empty()
	if again, err := c.Check(ctx, machine.New()); err != nil || !again.Empty() {
		w.t.Errorf("%s%v: a second look finds %v, %v", function, args, again, err)
	}
	return r
}

func (w *world) expect(r, want m) {
	w.t.Helper()
	for k, v := range want {
		if !reflect.DeepEqual(r[k], v) {
			w.t.Errorf("%s is %#v, want %#v\n%v\n%s", k, r[k], v, r["error"], r["stderr"])
		}
	}
}

func TestTerraform(t *testing.T) {
	w := newWorld(t)
	site := filepath.Join(w.dir, "site")
	client := w.call("init", site)
	w.expect(client, m{"success": true, "changed": false, "workdir": site, "exit_code": 0, "error": nil})
	w.write("with-module/main.tf", "module \"m\" {\n  source = \"../site\"\n  size   = \"x\"\n}\n")
	nested := m{"workdir": filepath.Join(w.dir, "with-module")}
	w.expect(w.call("init", nested), m{"success": true, "changed": true})
	w.expect(w.call("init", nested), m{"success": true, "changed": false})
	w.expect(w.call("validate", client), m{"success": true, "diagnostics": []any{}})

	tfvars := w.call("create_tfvars", client, "terraform.tfvars", m{"size": "a ${b} \"c\"", "tags": m{"k": "v"}})
	w.expect(tfvars, m{
		"changed": true, "filename": "terraform.tfvars", "full_path": site + "/terraform.tfvars",
		"content": "size = \"a $${b} \\\"c\\\"\"\ntags = {\n  k = \"v\"\n}\n",
	})
	w.expect(w.call("fmt", m{"workdir": site, "check": true}), m{"success": true, "files": []any{}})

	p := w.call("plan", client, m{"var_file": tfvars["filename"], "out": "tfplan", "vars": m{"password": modules.NewSecret("s3cret")}})
	w.expect(p, m{"success": true, "changed": false, "exit_code": 0, "has_changes": true, "add": 1, "change": 0, "destroy": 0, "plan": "tfplan"})
	w.expect(w.call("apply", client, m{"plan": "tfplan"}), m{"success": true, "changed": true, "add": 1, "outputs": m{
		"size": `a ${b} "c"`, "tags": m{"k": "v"}, "password": modules.NewSecret("s3cret"),
	}})
	w.expect(w.call("output", client, "size"), m{"success": true, "value": `a ${b} "c"`, "stdout": ""})
	w.expect(w.call("output", m{"workdir": site, "name": "password"}), m{"value": modules.NewSecret("s3cret")})
	w.expect(w.call("output", client, "nope"), m{"success": false, "error": "there is no output nope"})

	again := m{"auto_approve": true, "vars": m{"size": "two", "password": "s3cret"}}
	w.expect(w.call("apply", client, again), m{"success": true, "changed": true, "change": 1})
	w.expect(w.call("apply", client, again), m{"success": true, "changed": false, "add": 0, "change": 0})
	w.expect(w.call("plan", client, m{"vars": again["vars"]}), m{"success": true, "has_changes": false})
	w.expect(w.call("plan", client, m{"vars": again["vars"], "destroy": true, "refresh": false}), m{"has_changes": true, "destroy": 1})

	w.expect(w.call("apply", client), m{"success": false, "changed": false, "error": "nobody can be asked here: say auto_approve = true, or give the plan that client:plan({ out = … }) kept"})
	w.expect(w.call("destroy", client), m{"success": false, "error": "nobody can be asked here: say auto_approve = true to destroy everything"})
	w.expect(w.call("apply", client, m{"plan": "tfplan", "vars": m{"size": "x"}}), m{"success": false, "error": "a plan holds its variables and targets already: give them to plan instead"})
	w.expect(w.call("destroy", client, m{"auto_approve": true, "vars": again["vars"]}), m{"success": true, "changed": true, "destroy": 1})

	for _, dir := range []string{"/dev/shm", os.Getenv("TMPDIR")} {
		if left, _ := filepath.Glob(filepath.Join(dir, "sloth-private-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestTrouble(t *testing.T) {
	w := newWorld(t)
	site := filepath.Join(w.dir, "site")
	w.expect(w.call("init", w.dir+"/nowhere"), m{"success": false, "changed": false, "exit_code": 127, "error": "workdir " + w.dir + "/nowhere: no such file or directory"})
	w.expect(w.call("init", m{"workdir": site, "binary": "no-such-terraform"}), m{"success": false, "exit_code": 127})
	w.expect(w.call("init", m{"workdir": site, "timeout": 0.001}), m{"success": false, "error": "timed out after 1ms"})
	w.call("init", site)
	w.expect(w.call("plan", site), m{"success": false, "error": "main.tf:2: No value for required variable"})
	w.write("site/main.tf", "resource \"terraform_data\" \"x\" {\n  input  =   1\n  inptu = 2\n}\n")
	w.expect(w.call("validate", site), m{"success": false, "error": "main.tf:3: Unsupported argument"})
	w.expect(w.call("plan", site), m{"success": false, "error": "main.tf:3: Unsupported argument"})
	w.expect(w.call("fmt", m{"workdir": site, "check": true}), m{"success": false, "changed": false, "files": []any{"main.tf"}, "error": "1 files are not in the usual form"})
	w.expect(w.call("fmt", site), m{"success": true, "changed": true, "files": []any{"main.tf"}})
	w.expect(w.call("fmt", site), m{"success": true, "changed": false})
	t.Setenv("PATH", w.dir)
	w.expect(w.call("plan", m{"workdir": site, "binary": "/no/terraform"}), m{"success": false, "exit_code": 127})
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		function string
		args     []any
		want     string
	}{
		{"plan", []any{m{"workdir": "/x", "varfile": "y"}}, `unknown argument "varfile"; did you mean "var_file"?`},
		{"create_tfvars", []any{"/x"}, "file is missing: name of the file"},
		{"create_tfvars", []any{m{"workdir": "/x", "values": m{}}}, "file is missing: name of the file"},
	} {
		if _, err := filled(c.function, c.args...); err == nil || err.Error() != c.want {
			t.Errorf("%s%v: got %v", c.function, c.args, err)
		}
	}
	made, err := filled("plan", m{"workdir": "/x", "out": "p", "refresh": false})
	if err != nil {
		t.Fatal(err)
	}
	if p := made.(*plan); p.where() != "/x" || p.Out != "p" || p.Refresh == nil || *p.Refresh {
		t.Errorf("got %+v", p)
	}
	made, err = filled("plan", m{"success": true, "workdir": "/y", "exit_code": int64(0)}, m{"out": "q"})
	if err != nil {
		t.Fatal(err)
	}
	if p := made.(*plan); p.where() != "/y" || p.Out != "q" {
		t.Errorf("got %+v", p)
	}
	made, err = filled("init", "/z")
	if err != nil || !reflect.DeepEqual(made.(modules.Resulter).Result(), m{"workdir": "/z"}) {
		t.Errorf("a planned client is %v, %v", made, err)
	}
}

func TestHCL(t *testing.T) {
	text, secret, err := hcl(m{
		"s": "line\nend\t\x01 ${x} %{y} $z", "n": int64(3), "f": 1.5, "b": true, "nil": nil,
		"l": []any{int64(1), "x", []any{}}, "m": m{"a b": int64(1), "empty": m{}}, "longer": m{"k": modules.NewSecret("pw")},
	})
	want := `b = true
f = 1.5
l = [1, "x", []]
longer = {
  k = "pw"
}
m = {
  "a b" = 1
  empty = {}
}
n   = 3
nil = null
s   = "line\nend\t\u0001 $${x} %%{y} $z"
`
	if err != nil || !secret || text != want {
		t.Errorf("got %v, %v\n%s", secret, err, text)
	}
	for _, bad := range []m{{"a b": 1}, {"x": modules.Callback(nil)}, {"x": map[any]any{}}} {
		if text, _, err := hcl(bad); err == nil {
			t.Errorf("%v became %q", bad, text)
		}
	}
}

func TestSecretVariablesArePrivate(t *testing.T) {
	w := &world{t, t.TempDir()}
	r := w.call("create_tfvars", w.dir, "x.tfvars.json", m{"password": modules.NewSecret("pw")})
	w.expect(r, m{"changed": true, "content": modules.NewSecret("{\"password\":\"pw\"}\n")})
	st, err := os.Stat(filepath.Join(w.dir, "x.tfvars.json"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("it is %v, %v", st, err)
	}
	made, err := filled("create_tfvars", w.dir, "y.tfvars", m{"password": modules.NewSecret("pw")})
	if err != nil {
		t.Fatal(err)
	}
	d, err := made.(modules.Changer).Check(context.Background(), machine.New())
	if err != nil || !d.Changes[1].Hidden {
		t.Errorf("the diff shows a secret: %v, %v", d, err)
	}
}

func TestReason(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"\nError: Unsupported argument\n\n  on main.tf line 3, in resource \"x\":\n   3:   y = 1\n", "main.tf:3: Unsupported argument"},
		{"╷\n│ Error: Invalid\n│ \n│   on a.tf line 12:\n╵\n", "a.tf:12: Invalid"},
		{"Error: First\n\nError: Second\n\n  on x.tf line 1:\n", "First"},
		{"something else\n", "exit code 1: something else"},
	} {
		if got := reason(facts.Answer{ExitCode: 1, Stderr: []byte(c.text)}); got != c.want {
			t.Errorf("%q: got %q", c.text, got)
		}
	}
}

func FuzzHCL(f *testing.F) {
	f.Add("plain")
	f.Add("${x} %{y} \"\\\n\x00")
	f.Fuzz(func(t *testing.T, s string) {
		q := quote(s)
		inner := strings.ReplaceAll(strings.ReplaceAll(q[1:len(q)-1], "$${", ""), "%%{", "")
		if strings.Contains(inner, "${") || strings.Contains(inner, "%{") || strings.ContainsAny(inner, "\n\r\x00") {
			t.Errorf("%q became %s", s, q)
		}
	})
}
