// Package exec is the module exec: programs and scripts on the host.
package exec

import (
	"github.com/sloth-runner/sloth/modules"
)

const returns = "{stdout, stderr, exit_code, success, error, changed, duration}"

// Module describes the module exec. Its functions never raise: what went wrong
// is in the result.
func Module() modules.Module {
	return modules.Module{
		Name:    "exec",
		Summary: "Run commands and scripts; never raises, the result says how it went.",
		Funcs: []modules.Func{
			{
				Name:    "run",
				Summary: "Run a command through the shell and wait for it.",
				Example: `local r = exec.run("uname -s", { timeout = "10s" })`,
				Returns: returns,
				New:     func() any { return &run{options: options{Shell: "/bin/sh"}} },
			},
			{
				Name:    "script",
				Summary: "Run a script that lies beside the .sloth file.",
				Example: `local r = exec.script("scripts/setup.sh", { args = { "--quiet" } })`,
				Returns: returns,
				New:     func() any { return &script{} },
			},
		},
	}
}
