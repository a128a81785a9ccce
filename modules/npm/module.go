// Package npm is the module npm: packages of Node.js, in a project or for the
// whole host.
package npm

import "github.com/sloth-runner/sloth/modules"

const result = "{success, changed, message, diff}"

// Module describes the module npm.
func Module() modules.Module {
	return modules.Module{
		Name:    "npm",
		Summary: "Packages of Node.js; what is installed is read from the host, so that only a change needs the network.",
		Funcs: []modules.Func{
			{Name: "install", Aliases: []string{"package"}, Summary: "Bring a package, or all that a package.json lists, into the state described.", Returns: result,
				Example: `npm.install({ name = "express", version = "4.18.2", path = "/srv/shop" })`, New: func() any { return newInstall() }},
			{Name: "remove", Aliases: []string{"uninstall"}, Summary: "Remove a package.", Returns: result,
				Example: `npm.remove({ name = "left-pad", path = "/srv/shop" })`, New: func() any { return &remove{} }},
			{Name: "list", Summary: "List the packages that are installed at the top of a project, or for the whole host.", Returns: "list of {name, version}",
				Example: `local all = npm.list({ path = "/srv/shop" })`, New: func() any { return &list{} }},
		},
	}
}
