package modulestest

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/spec"
)

// Options say what the examples of a module's functions find.
type Options struct {
	// Host holds files by absolute path, on a host that has nothing else; a name
	// that ends in / is a folder. Controller holds those of the controller. In
	// both "app.tar.gz!bin/app" is an entry of an archive.
	Host, Controller map[string]string
	// Skip names functions whose example cannot run here, with the reason.
	Skip map[string]string
	// Vary is the folder with the .vary files, one folder for each module.
	Vary string
}

// Contract checks every function of mods.
func Contract(t *testing.T, mods []modules.Module, o Options) {
	o.Controller = withArchives(t, o.Controller)
	for _, m := range mods {
		if m.Name == "" || !sentence.MatchString(m.Summary) {
			t.Errorf("module %q: its summary %q is no sentence", m.Name, m.Summary)
		}
		for _, f := range m.Funcs {
			full := m.Name + "." + f.Name
			t.Run(full, func(t *testing.T) {
				documented(t, f)
				if spec.Of(f).Kind != spec.Changer {
					return
				}
				t.Run("example", func(t *testing.T) { example(t, mods, f, o, full) })
				t.Run("arguments", func(t *testing.T) { vary(t, mods, m, f, o, full) })
			})
		}
	}
}

var sentence = regexp.MustCompile(`^[A-Z].*\.$`)

// documented checks what a reader is told.
func documented(t *testing.T, f modules.Func) {
	t.Helper()
	if !sentence.MatchString(f.Summary) {
		t.Errorf("its summary %q is no sentence", f.Summary)
	}
	if f.Example == "" || f.Returns == "" {
		t.Error("it has no example, or does not say what it returns")
	}
	for _, a := range spec.Of(f).Args {
		switch {
		case a.Doc == "":
			t.Errorf("argument %s is not documented", a.Name)
		case strings.HasSuffix(a.Doc, ".") || a.Doc[:1] != strings.ToUpper(a.Doc[:1]):
			t.Errorf("argument %s: %q should begin with a capital and end without a full stop", a.Name, a.Doc)
		case a.Required && a.Default != "":
			t.Errorf("argument %s is required and has the default %s", a.Name, a.Default)
		}
	}
}

// host builds the throw-away host of the examples.
func host(t *testing.T, o Options) string {
	t.Helper()
	files := map[string]string{}
	for path, text := range o.Host {
		files[strings.TrimPrefix(path, "/")] = text
	}
	return archive{before: withArchives(t, files)}.build(t)
}

// example plans, applies and plans again; and lets every change on the way fail.
func example(t *testing.T, mods []modules.Module, f modules.Func, o Options, full string) {
	if why, skip := o.Skip[full]; skip {
		t.Skip(why)
	}
	root := host(t, o)
	programs := NewPrograms(t)
	r := run{mods: mods, machine: programs.On(machine.New(), root), controller: &Controller{Files: o.Controller}, root: "/", plan: true}
	before := look(t, root)
	planned := r.do(t, full, f.Example)
	if planned.err != "" || !planned.changed() {
		t.Fatalf("planning the example: changed %t, %s", planned.changed(), planned.err)
	}
	if d := before.same(look(t, root)) + r.controller.kept(); d != "" {
		t.Errorf("the plan changed something:\n%s", d)
	}
	r.plan = false
	count := &faulty{Machine: r.machine}
	r.machine = count
	if done := r.do(t, full, f.Example); done.err != "" || !done.changed() {
		t.Fatalf("the example: changed %t, %s", done.changed(), done.err)
	}
	after := look(t, root)
	if before.alike(after)+r.controller.kept() == "" {
		t.Error("it says it changed something, and nothing changed")
	}
	if rep, ok := f.New().(modules.Repeater); !ok || !rep.Repeats() {
		if again := r.do(t, full, f.Example); again.err != "" || again.changed() {
			t.Errorf("another run: changed %t, %s\n%s", again.changed(), again.err, r.diff(again))
		}
		if d := after.alike(look(t, root)); d != "" {
			t.Errorf("another run changed\n%s", d)
		}
	}
	for n := range count.seen {
		failAt(t, mods, f, o, programs, full, n+1, after)
	}
}

// failAt lets the nth change fail. Each file is then the old one or the new
// one, and another run ends where a good one does.
func failAt(t *testing.T, mods []modules.Module, f modules.Func, o Options, programs *Programs, full string, n int, after tree) {
	t.Helper()
	root := host(t, o)
	good := programs.On(machine.New(), root)
	r := run{mods: mods, machine: &faulty{Machine: good, n: n}, controller: &Controller{Files: o.Controller}, root: "/"}
	before := look(t, root)
	if failed := r.do(t, full, f.Example); !strings.Contains(failed.err, errInjected.Error()) {
		t.Errorf("change %d failed, and the call ended with %q", n, failed.err)
	}
	for path, node := range look(t, root) {
		b, was := before[path]
		a, will := after[path]
		switch {
		case was && b.content == node.content && b.kind == node.kind:
		case will && a.content == node.content && a.kind == node.kind:
		default:
			t.Errorf("change %d failed and left %s as %s", n, path, node)
		}
	}
	r.machine = good
	if again := r.do(t, full, f.Example); again.err != "" {
		t.Errorf("after change %d had failed, another run ended with %s", n, again.err)
	}
	if rep, ok := f.New().(modules.Repeater); ok && rep.Repeats() {
		return
	}
	if d := after.alike(look(t, root)); d != "" {
		t.Errorf("after change %d had failed, another run gave\n%s", n, d)
	}
}

// vary proves that each argument matters.
func vary(t *testing.T, mods []modules.Module, m modules.Module, f modules.Func, o Options, full string) {
	if len(spec.Of(f).Args) == 0 {
		return
	}
	file := filepath.Join(o.Vary, m.Name, f.Name+".vary")
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("nothing proves that its arguments matter: %v", err)
	}
	a := open(t, file)
	proved := map[string]bool{}
	var programs *Programs
	if a.rooted {
		programs = NewPrograms(t)
	}
	for _, group := range groups(t, a) {
		base := outcomeOf(t, mods, a, programs, full, group.base)
		for _, change := range group.changes {
			args := maps.Clone(group.base)
			if len(change) != 1 {
				t.Fatalf("%s: %v changes more than one argument", file, change)
			}
			for name, v := range change {
				args[name] = v
				proved[name] = true
				if got := outcomeOf(t, mods, a, programs, full, args); got == base {
					t.Errorf("%s = %v makes no difference to %v:\n%s", name, v, group.base, got)
				}
			}
		}
	}
	for _, arg := range spec.Of(f).Args {
		if !proved[arg.Name] {
			t.Errorf("%s does not vary %s", file, arg.Name)
		}
		delete(proved, arg.Name)
	}
	for name := range proved {
		t.Errorf("%s varies %s, which is no argument (or an alias)", file, name)
	}
}
