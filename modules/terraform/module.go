// Package terraform is the module terraform, over the program of that name or
// tofu. Its functions do not raise: what went wrong is in the result.
package terraform

import (
	"github.com/sloth-runner/sloth/modules"
)

const returns = "{success, changed, exit_code, stdout, stderr, error, duration}"

// Module describes the module terraform.
func Module() modules.Module {
	return modules.Module{
		Name:    "terraform",
		Summary: "Plan and apply infrastructure with terraform or tofu, whichever is there.",
		Funcs: []modules.Func{
			{
				Name: "init", Summary: "Prepare a folder; the result is a client for it.",
				Example: `local client = terraform.init("/tmp/none")`, Returns: "{workdir, " + returns[1:] + ", with the functions as methods",
				Methods: true, New: newSetup,
			},
			{
				Name: "plan", Summary: "Tell what apply would change.",
				Example: `local p = terraform.plan({ workdir = "/tmp/none", out = "tfplan" })`,
				Returns: "{has_changes, add, change, destroy, " + returns[1:], New: newPlan,
			},
			{
				Name: "apply", Summary: "Change the infrastructure to what the files say.",
				Example: `local a = terraform.apply({ workdir = "/tmp/none", auto_approve = true })`,
				Returns: "{add, change, destroy, outputs, " + returns[1:], New: newApply,
			},
			{
				Name: "destroy", Summary: "Destroy the infrastructure.",
				Example: `local d = terraform.destroy({ workdir = "/tmp/none", auto_approve = true })`,
				Returns: "{destroy, " + returns[1:], New: newDestroy,
			},
			{
				Name: "validate", Summary: "Check the files.",
				Example: `local v = terraform.validate("/tmp/none")`,
				Returns: "{diagnostics = {{severity, summary, detail, file, line}, …}, " + returns[1:], New: newCheck,
			},
			{
				Name: "fmt", Summary: "Put the files into their usual form.",
				Example: `local f = terraform.fmt({ workdir = "/tmp/none", check = true })`,
				Returns: "{files, " + returns[1:], New: newFormat,
			},
			{
				Name: "output", Summary: "Give the outputs, or one of them; sensitive ones are secrets.",
				Example: `local o = terraform.output("/tmp/none")`, Returns: "{outputs, value, " + returns[1:], New: newOutput,
			},
			{
				Name: "create_tfvars", Summary: "Write a file of variables, as JSON when its name ends so.",
				Example: `local t = terraform.create_tfvars("/srv/app", "terraform.tfvars", { region = "eu" })`,
				Returns: "{success, changed, filename, full_path, content}", New: newVars,
			},
		},
	}
}
