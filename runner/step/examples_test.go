package step_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/state/mem"
	"github.com/sloth-runner/sloth/state/values"
)

// stateful answers the state module from memory.
type stateful struct {
	services
	values *values.Values
}

func (s *stateful) State(ctx context.Context, op string, args []any) ([]any, error) {
	return s.values.Do(ctx, op, args)
}

// example is a file of the language's specification.
func example(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("SLOTH_SPEC")
	if dir == "" {
		if os.Getenv("SLOTH_MUST_RUN") != "" {
			t.Fatal("SLOTH_SPEC is unset")
		}
		t.Skip("SLOTH_SPEC is unset: it names the folder of the specification")
	}
	text, err := os.ReadFile(filepath.Join(dir, "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func exampleRig(t *testing.T) (*rig, *stateful) {
	s := &stateful{values: values.New(mem.New(), "test")}
	return newRig(t, func(r *rig) { r.services = s }), s
}

// runAll runs the only workflow of a file, in list order.
func (r *rig) runAll(p *dsl.Program) []event.Status {
	r.t.Helper()
	if len(p.Workflows) != 1 {
		r.t.Fatalf("%d workflows", len(p.Workflows))
	}
	var out []event.Status
	for _, task := range p.Workflows[0].Tasks {
		res := r.run(task)
		if res.Status.Bad() {
			r.t.Errorf("%s: %s %q %+v", task.Name, res.Status, res.Message, res.Failure)
		}
		out = append(out, res.Status)
	}
	return out
}

func TestExampleParallelDeployment(t *testing.T) {
	r, _ := exampleRig(t)
	p := r.load(example(t, "07-parallel-deployment.sloth"))
	start := time.Now()
	r.runAll(p)
	if took := time.Since(start); took < 2*time.Second || took > 4*time.Second {
		t.Errorf("took %s instead of about 2 s", took)
	}
	times := regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)
	mask := func(s string) []string {
		return strings.Split(times.ReplaceAllString(strings.TrimSpace(s), "TIME"), "\n")
	}
	var got []string
	for _, line := range r.logged() {
		if !strings.HasPrefix(line, "  →") {
			got = append(got, line)
		}
	}
	// When a goroutine gets to say that it deploys is its own affair; all else
	// has an order.
	want, lines := mask(example(t, "parallel-deployment.expected.txt")), mask(strings.Join(got, "\n"))
	ordered := func(lines []string) string {
		return strings.Join(slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, "📦") }), "\n")
	}
	if ordered(lines) != ordered(want) {
		t.Errorf("got\n%s\nwant\n%s", ordered(lines), ordered(want))
	}
	slices.Sort(lines)
	slices.Sort(want)
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if w := p.Workflows[0]; w.Name != "parallel_deployment" || w.Version != "1.0.0" || w.Config.Timeout != 5*time.Minute {
		t.Errorf("%+v", w)
	}
}

func TestExampleGoroutines(t *testing.T) {
	r, _ := exampleRig(t)
	p := r.load(example(t, "11-quick-goroutines.sloth"))
	start := time.Now()
	r.runAll(p)
	if took := time.Since(start); took < time.Second || took > 3*time.Second {
		t.Errorf("took %s instead of about 1 s", took)
	}
	var got []string
	for _, line := range r.logged() {
		if rest, ok := strings.CutPrefix(line, "  📦 "); ok {
			got = append(got, rest)
		}
	}
	want := "Result from operation 1|Result from operation 2|Result from operation 3|Result from operation 4|Result from operation 5"
	if strings.Join(got, "|") != want {
		t.Errorf("got %q", got)
	}
}

func TestExampleHello(t *testing.T) {
	r, _ := exampleRig(t)
	p := r.load(example(t, "16-hello-world.sloth"))
	r.runAll(p)
	logged := strings.Join(r.logged(), "\n")
	if !strings.Contains(logged, "💬 Message: Hello World") {
		t.Errorf("on_success did not get the outputs: %s", logged)
	}
	if n := strings.Count(logged, "🌟 Hello World from Sloth Runner!"); n != 1 {
		t.Errorf("it ran %d times", n)
	}
	if c := p.Workflows[0].Config; c.MaxParallelTasks != 1 {
		t.Errorf("%+v", c)
	}

	r, _ = exampleRig(t)
	r.runAll(r.load(example(t, "23-hello-world-modern.sloth")))
	if got := r.logged(); len(got) != 1 || got[0] != "🚀 Hello from Modern DSL!" {
		t.Errorf("%q", got)
	}
}

func TestExamplePipeline(t *testing.T) {
	r, s := exampleRig(t)
	r.runAll(r.load(example(t, "17-pipeline.sloth")))
	ctx := context.Background()
	got, err := s.values.Do(ctx, "get", []any{"last_result"})
	if err != nil || len(got) == 0 || got[0] != "processed_api_data" {
		t.Errorf("last_result is %v, %v", got, err)
	}
	ttl, err := s.values.Do(ctx, "get_ttl", []any{"last_result"})
	if err != nil || len(ttl) == 0 {
		t.Fatalf("%v %v", ttl, err)
	}
	switch n := ttl[0].(type) {
	case int64:
		if n < 3500 || n > 3600 {
			t.Errorf("its TTL is %d", n)
		}
	case float64:
		if n < 3500 || n > 3600 {
			t.Errorf("its TTL is %g", n)
		}
	default:
		t.Errorf("its TTL is %v", ttl[0])
	}
}

// The state fragment is module calls at the top level: they happen while the
// file loads.
func TestExampleState(t *testing.T) {
	r, s := exampleRig(t)
	prelude := `function deploy_application() deployed = true return "deployed it" end
state.set("status", "deploying")
`
	p := r.load(prelude + example(t, "04-state-fragment.sloth"))
	if len(p.Tasks) != 0 || p.Effects == 0 {
		t.Errorf("%d tasks, %d effects", len(p.Tasks), p.Effects)
	}
	ctx := context.Background()
	for key, want := range map[string]any{"deployment_count": int64(2), "status": "deployed"} {
		if got, err := s.values.Do(ctx, "get", []any{key}); err != nil || got[0] != want {
			t.Errorf("%s is %v (%v), want %v", key, got, err, want)
		}
	}
}

// Read without effects, nothing of it happens.
func TestExampleStateInertly(t *testing.T) {
	r, s := exampleRig(t)
	store := s.values
	s.values = values.Plan(store)
	loader := dsl.Install(r.vm, dsl.Options{Modules: r.mods, Inert: true, Env: r.env()})
	r.vm.Pristine()
	p, err := loader.LoadSource(context.Background(), "site.sloth", []byte("function deploy_application() end\n"+example(t, "04-state-fragment.sloth")))
	if err != nil {
		t.Fatal(err)
	}
	if p.Effects == 0 {
		t.Error("no effect was recorded")
	}
	if got, _ := store.Do(context.Background(), "get", []any{"deployment_count"}); got[0] != nil {
		t.Errorf("the state was changed: %v", got)
	}
}
