package spec_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/spec"
)

// written turns values of a call into how a script would write them.
func written(v any) any {
	switch t := v.(type) {
	case []any:
		out := spec.Table{List: []any{}}
		for _, item := range t {
			out.List = append(out.List, written(item))
		}
		return out
	case map[string]any:
		out := spec.Table{Named: map[string]any{}}
		for k, item := range t {
			out.Named[k] = written(item)
		}
		return out
	case spec.Mixed:
		out := spec.Table{Named: map[string]any{}}
		for _, item := range t.List {
			out.List = append(out.List, written(item))
		}
		for k, item := range t.Named {
			out.Named[k] = written(item)
		}
		return out
	}
	return v
}

// TestExamineAgreesWithParse: where everything is written out, both see a mistake
// or none does, and where Examine sees one with some of it unknown, there is one.
func TestExamineAgreesWithParse(t *testing.T) {
	for seed := range 2 {
		agrees(t, seed)
	}
}

func agrees(t *testing.T, seed int) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(seed), 2))
	one := func() any {
		return []any{
			"text", "", "/etc/x", "present", "0644", "12", "5m", int64(3), 2.5, int64(-1), true, false, nil, []any{"a", "b"}, []any{int64(1), map[string]any{}},
			map[string]any{"a": "b"}, map[string]any{}, spec.Function, modules.NewSecret("s"), spec.Mixed{List: []any{"a"}, Named: map[string]any{"b": int64(1)}},
		}[r.IntN(20)]
	}
	var agreed, wrong int
	for _, m := range all.Modules() {
		for _, f := range m.Funcs {
			sig := spec.Of(f)
			for range 60 {
				var args []any
				for range r.IntN(3) {
					args = append(args, one())
				}
				if n := r.IntN(5); n > 0 && len(sig.Args) > 0 {
					named := map[string]any{}
					for range n {
						a := sig.Args[r.IntN(len(sig.Args))]
						if v := one(); v != nil { // a table of Lua has no nil
							named[a.Name] = v
						}
						if len(a.Enum) > 0 && r.IntN(2) == 0 {
							named[a.Name] = a.Enum[0]
						}
					}
					if r.IntN(8) == 0 {
						named["nosuch"] = true
					}
					args = append(args, named)
				}
				source := make([]any, len(args))
				for i, a := range args {
					source[i] = written(a)
				}
				_, err := spec.Parse(f, args, "/")
				found := spec.Examine(f, source)
				if (err != nil) != (len(found) > 0) {
					t.Fatalf("%s.%s(%#v): Parse says %v, Examine %v", m.Name, f.Name, args, err, found)
				}
				if err != nil {
					wrong++
					if len(found) == 1 && found[0].Err.Error() != err.Error() {
						t.Errorf("%s.%s(%#v): %v, and before it runs %v", m.Name, f.Name, args, err, found[0].Err)
					}
				}
				agreed++
				hide(r, source)
				if found := spec.Examine(f, source); len(found) > 0 && err == nil {
					t.Fatalf("%s.%s(%#v): Examine sees %v where Parse sees nothing", m.Name, f.Name, source, found)
				}
			}
		}
	}
	if wrong < agreed/10 || wrong > agreed*9/10 {
		t.Errorf("%d of %d calls were wrong: that tests little", wrong, agreed)
	}
}

// hide makes some values unknown.
func hide(r *rand.Rand, args []any) {
	for i, a := range args {
		t, isTable := a.(spec.Table)
		switch {
		case r.IntN(3) == 0:
			args[i] = spec.Unknown{}
		case isTable:
			for k := range t.Named {
				if r.IntN(3) == 0 {
					t.Named[k] = spec.Unknown{}
				}
			}
			for j := range t.List {
				if r.IntN(3) == 0 {
					t.List[j] = spec.Unknown{}
				}
			}
			if r.IntN(4) == 0 {
				t.Open = true
				args[i] = t
			}
		}
	}
}

func TestExamineUnknown(t *testing.T) {
	find := func(name string) modules.Func {
		t.Helper()
		module, function, _ := strings.Cut(name, ".")
		for _, m := range all.Modules() {
			for _, f := range m.Funcs {
				if m.Name == module && f.Name == function {
					return f
				}
			}
		}
		t.Fatalf("there is no %s", name)
		return modules.Func{}
	}
	for _, c := range []struct {
		function string
		args     []any
		want     string // key and message of each mistake
	}{
		{"file_ops.copy", []any{spec.Unknown{}}, ""},
		{"file_ops.copy", []any{spec.Table{Named: map[string]any{"mode": int64(644)}, Open: true}}, `mode: mode: mode 644 is decimal in Lua, which is not the octal meant; write "0644" or 0o644`},
		{"file_ops.copy", []any{spec.Table{Named: map[string]any{"dest": spec.Unknown{}, "content": spec.Unknown{}}}}, ""},
		{"file_ops.copy", []any{spec.Table{Named: map[string]any{"dset": spec.Unknown{}}}}, `dset: unknown argument "dset"; did you mean "dest"?`},
		{"pkg.install", []any{spec.Table{List: []any{"nginx"}, Named: map[string]any{"stat": spec.Unknown{}}}}, `stat: unknown argument "stat"; did you mean "state"?`},
		{"infra_test.file_exists", []any{}, ": path is missing: the file or folder; links are followed"},
	} {
		var got []string
		for _, m := range spec.Examine(find(c.function), c.args) {
			got = append(got, m.Key+": "+m.Err.Error())
		}
		if s := strings.Join(got, "\n"); s != c.want {
			t.Errorf("%s(%#v)\ngot  %s\nwant %s", c.function, c.args, s, c.want)
		}
	}
}
