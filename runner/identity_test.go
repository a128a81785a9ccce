package runner

import (
	"testing"

	"github.com/sloth-runner/sloth/lua/dsl"
	lua "github.com/yuin/gopher-lua"
)

// The order in which a task's functions are looked at must not name it anew: a
// run that is resumed, or a plan that is applied, would not know it again.
func TestATaskOfTheControllerHasOneIdentity(t *testing.T) {
	function := func(constant string) *lua.LFunction {
		return &lua.LFunction{Proto: &lua.FunctionProto{Constants: []lua.LValue{lua.LString(constant)}}}
	}
	name := func(task *dsl.Task) string {
		t.Helper()
		r := &Runner{occurs: map[string]int{}}
		c := &cell{host: Local, node: &node{task: task}}
		if err := r.identify(c, Local); err != nil {
			t.Fatal(err)
		}
		return c.id
	}
	task := &dsl.Task{Name: "a", Command: function("1"), OnStart: function("2"), OnSuccess: function("3"), OnFailure: function("4")}
	first := name(task)
	for range 50 {
		if again := name(task); again != first {
			t.Fatalf("%s, then %s", first, again)
		}
	}
	swapped := &dsl.Task{Name: "a", Command: function("2"), OnStart: function("1"), OnSuccess: function("3"), OnFailure: function("4")}
	if name(swapped) == first {
		t.Error("which function is the hook does not count")
	}
}
