// Package pip is the module pip: packages of Python, in virtual environments or
// in the system's own Python.
package pip

import "github.com/sloth-runner/sloth/modules"

const result = "{success, changed, message, diff}"

// Module describes the module pip.
func Module() modules.Module {
	return modules.Module{
		Name:    "pip",
		Summary: "Packages of Python; what is installed is read from the host, so that only a change needs the network.",
		Funcs: []modules.Func{
			{Name: "install", Aliases: []string{"package"}, Summary: "Bring packages into the state described, and the virtual environment into being.", Returns: result,
				Example: `pip.install({ name = "gunicorn==21.2.0", virtualenv = "/srv/app/venv" })`, New: func() any { return newInstall() }},
			{Name: "remove", Aliases: []string{"uninstall"}, Summary: "Remove packages.", Returns: result,
				Example: `pip.remove({ name = "flask", virtualenv = "/srv/old/venv" })`, New: func() any { return &remove{} }},
			{Name: "list", Summary: "List the packages that are installed.", Returns: "list of {name, version}",
				Example: `local all = pip.list({ virtualenv = "/srv/app/venv" })`, New: func() any { return &list{} }},
		},
	}
}
