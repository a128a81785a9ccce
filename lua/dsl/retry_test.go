package dsl_test

import (
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/modules"
)

// script runs a file's top level and gives what it logged.
func script(t *testing.T, check bool, src string) ([]string, error) {
	t.Helper()
	var said []string
	log := func(level, message string, _ map[string]any) { said = append(said, level+": "+message) }
	r := newRig(t, dsl.Options{Env: &bind.Env{Check: check, Call: modules.Call{Log: log}}})
	_, err := r.load(t, src+"\ntask('a'):command('true'):build()")
	return said, err
}

const unsteady = `
local n = 0
local function unsteady() n = n + 1 if n < 3 then error("not yet") end return "done", n end
`

func TestRetryForms(t *testing.T) {
	for call, want := range map[string]string{
		`retry(5, unsteady, { delay = 0 })`:                                               "done 3",
		`retry({ times = 5, delay = 0, backoff = "exponential" }, unsteady)`:              "done 3",
		`retry({ attempts = 3, delay = "0s", strategy = "linear" }, unsteady)`:            "done 3",
		`retry({ delay = 0 }, unsteady)`:                                                  "done 3",
		`retry(2, function() n = n + 1 return false, n end, { delay = 0 })`:               "false 2",
		`retry({ times = 1 }, function() return nil, "why" end)`:                          "nil why",
		`retry(4, function() n = n + 1 return { success = n > 1 }, n end, { delay = 0 })`: "table 2",
	} {
		said, err := script(t, false, unsteady+"local a, b = "+call+"\nlog.info((type(a) == 'table' and 'table' or tostring(a)) .. ' ' .. tostring(b))")
		if err != nil || len(said) == 0 || said[len(said)-1] != "info: "+want {
			t.Errorf("%s: %q, %v", call, said, err)
		}
	}
}

func TestRetryGivesUp(t *testing.T) {
	said, err := script(t, false, unsteady+"retry({ times = 2, delay = 0 }, unsteady)")
	if err == nil || err.Error() != "site.sloth:3: not yet" {
		t.Errorf("%v", err)
	}
	if len(said) != 1 || !strings.HasPrefix(said[0], "warn: attempt 1 of 2 failed, next in 0s: site.sloth:3: not yet") {
		t.Errorf("%q", said)
	}
}

// A plan does not fail because what it waits for is only planned.
func TestRetryInPlan(t *testing.T) {
	for _, call := range []string{`retry(5, unsteady)`, `retry({ times = 5, delay = "1h" }, unsteady)`, `retry(5, function() return false end)`} {
		said, err := script(t, true, unsteady+"local r = "+call+"\nlog.info(tostring(r.planned) .. r.stdout)")
		if err != nil || len(said) != 2 || said[1] != "info: true" || !strings.HasPrefix(said[0], "warn: retry: not planned, for it did not work the first time: ") {
			t.Errorf("%s: %q, %v", call, said, err)
		}
	}
}

func TestRetryErrors(t *testing.T) {
	for call, want := range map[string]string{
		`retry()`:                               "retry needs how often to try, from 1, not nil",
		`retry(0, unsteady)`:                    "retry needs how often to try, from 1, not the number 0",
		`retry(2)`:                              "retry got nil: is the variable defined above?",
		`retry({ time = 2 }, unsteady)`:         `retry has no option "time"; did you mean "times"?`,
		`retry({ times = 0 }, unsteady)`:        "retry times must be how often to try, from 1, not the number 0",
		`retry({ backoff = "expo" }, unsteady)`: `retry strategy there is no strategy "expo"; did you mean "exponential"?`,
		`retry({ backoff = "linear", strategy = "linear" }, unsteady)`: "retry got both backoff and strategy, which are the same",
		`retry(2, unsteady, { times = 2 })`:                            `retry has no option "times"`,
		`retry({ times = 2 }, unsteady, { delay = 1 })`:                "retry takes its options in one table: retry({times=, delay=, backoff=}, fn)",
		`retry(2, unsteady, 3)`:                                        "retry needs a table of options, not the number 3",
	} {
		_, err := script(t, false, unsteady+call)
		if err == nil || !strings.HasPrefix(err.Error(), "site.sloth:4: "+want) {
			t.Errorf("%s: %v", call, err)
		}
	}
}
