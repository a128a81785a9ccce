// Package pkg is the module pkg: packages, through whichever package manager
// the host has. It calls the manager's programs and reads its database with
// them; bindings of other languages are never needed.
package pkg

import "github.com/sloth-runner/sloth/modules"

const result = "{success, changed, message, diff}"

// Module describes the module pkg.
func Module() modules.Module {
	return modules.Module{
		Name:    "pkg",
		Summary: "Install, remove and look up packages with the host's package manager; raises when it fails.",
		Call:    "install",
		Funcs: []modules.Func{
			{Name: "install", Summary: "Install packages, all in one transaction; lists that lack one of them and are old are refreshed first.", Returns: result,
				Example: `pkg.install({ "nginx", "curl" })`, New: newInstall},
			{Name: "remove", Aliases: []string{"uninstall"}, Summary: "Remove packages.", Returns: result,
				Example: `pkg.remove("telnet")`, New: func() any { return &remove{options: newOptions()} }},
			{Name: "update", Aliases: []string{"update_cache", "refresh"}, Summary: "Refresh the lists of what can be installed.", Returns: result,
				Example: `pkg.update()`, New: func() any { return &refresh{options: newOptions()} }},
			{Name: "upgrade", Summary: "Bring packages, or all that are installed, to the newest version known.", Returns: result,
				Example: `pkg.upgrade("openssl")`, New: func() any { return &upgrade{options: newOptions()} }},
			{Name: "clean", Summary: "Remove downloaded package files.", Returns: result,
				Example: `pkg.clean()`, New: func() any { return &clean{options: newOptions()} }},
			{Name: "autoremove", Summary: "Remove packages that were installed for others and that nothing needs any more.", Returns: result,
				Example: `pkg.autoremove()`, New: func() any { return &autoremove{options: newOptions()} }},
			{Name: "install_local", Summary: "Install a package file that is on the host, with what it depends on.", Returns: result,
				Example: `pkg.install_local("/tmp/app_1.0_all.deb")`, New: func() any { return &installLocal{options: newOptions()} }},
			{Name: "hold", Summary: "Keep packages at the version they have, whatever is upgraded.", Returns: result,
				Example: `pkg.hold("openssl")`, New: func() any { return &hold{on: true, options: newOptions()} }},
			{Name: "unhold", Summary: "Undo hold.", Returns: result,
				Example: `pkg.unhold("curl")`, New: func() any { return &hold{options: newOptions()} }},
			{Name: "search", Summary: "Find packages by name and description.", Returns: "list of {name, description}",
				Example: `local ok, found = pcall(pkg.search, "nginx")`, New: func() any { return &search{} }},
			{Name: "info", Summary: "Describe a package; nil when neither host nor lists know it.", Returns: "{name, installed, version, candidate, description, …} or nil",
				Example: `local ok, i = pcall(pkg.info, "bash")`, New: func() any { return &info{} }},
			{Name: "list", Summary: "List the installed packages.", Returns: "list of {name, version}",
				Example: `local ok, all = pcall(pkg.list)`, New: func() any { return &list{} }},
			{Name: "is_installed", Summary: "Tell whether a package is installed.", Returns: "boolean",
				Example: `local ok, yes = pcall(pkg.is_installed, "bash")`, New: func() any { return &isInstalled{} }},
			{Name: "version", Summary: "Return the installed version of a package, or nil.", Returns: "text or nil",
				Example: `local ok, v = pcall(pkg.version, "bash")`, New: func() any { return &version{} }},
			{Name: "get_manager", Summary: "Return the name of the package manager, or nil where there is none.", Returns: `"apt", "dnf", "yum", "zypper", "pacman", "apk", "brew" or nil`,
				Example: `local name = pkg.get_manager()`, New: func() any { return &getManager{} }},
			{Name: "which", Summary: "Return the package that a file or program belongs to, or nil.", Returns: "text or nil",
				Example: `local ok, p = pcall(pkg.which, "/bin/sh")`, New: func() any { return &which{} }},
			{Name: "deps", Aliases: []string{"dependencies"}, Summary: "List what a package depends on.", Returns: "list of text",
				Example: `local ok, d = pcall(pkg.deps, "bash")`, New: func() any { return &deps{} }},
		},
	}
}
