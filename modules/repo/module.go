// Package repo is the module repo: where the package manager gets packages from,
// and the keys by which it believes them.
package repo

import "github.com/sloth-runner/sloth/modules"

const result = "{success, changed, message, diff, path}"

// Module describes the module repo.
func Module() modules.Module {
	return modules.Module{
		Name:    "repo",
		Summary: "Repositories of packages and their keys; a change that leaves the package manager without its lists is undone.",
		Funcs: []modules.Func{
			{Name: "apt", Summary: "Bring a repository of apt and its key about, or do away with them.", Returns: result,
				Example: `repo.apt({ name = "tools", uris = "https://deb.example.com", suites = "bookworm", components = "main" })`, New: newApt},
			{Name: "dnf", Aliases: []string{"yum"}, Summary: "Bring a repository of dnf or yum about, or do away with it.", Returns: result,
				Example: `repo.dnf({ name = "tools", baseurl = "https://rpm.example.com/9/$basearch", gpgkey = "https://rpm.example.com/KEY" })`, New: func() any { return newRPM(false) }},
			{Name: "zypper", Summary: "Bring a repository of zypper about, or do away with it.", Returns: result,
				Example: `repo.zypper({ name = "tools", baseurl = "https://rpm.example.com/suse", gpgkey = "https://rpm.example.com/KEY" })`, New: func() any { return newRPM(true) }},
			{Name: "add", Summary: "Bring a repository about, in the form that the host's package manager has.", Returns: result,
				Example: `repo.add("tools", "https://deb.example.com", { suites = "bookworm" })`, New: func() any { return &add{Enabled: true, Update: true} }},
			{Name: "remove", Summary: "Do away with a repository, and with its key where nothing else needs it.", Returns: result,
				Example: `repo.remove("old-tools")`, New: func() any { return &remove{Update: true} }},
			{Name: "list", Summary: "List the repositories that the host's package manager is told of.", Returns: "list of {name, file, enabled, uris, key, …}: of apt also types, suites, components, architectures",
				Example: `local all = repo.list()`, New: func() any { return &list{} }},
		},
	}
}
