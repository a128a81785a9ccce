// Package hostname is the module hostname: the name that a host gives itself,
// now and after the next boot.
package hostname

import "github.com/sloth-runner/sloth/modules"

// Module describes the module hostname.
func Module() modules.Module {
	return modules.Module{
		Name:    "hostname",
		Summary: "The name of the host; raises when it is no name that RFC 1123 allows.",
		Funcs: []modules.Func{
			{Name: "set", Summary: "Name the host, in /etc/hostname and in the running kernel.",
				Returns: "{success, changed, message, diff, name}", Example: `hostname.set("web-02")`, New: func() any { return &set{} }},
			{Name: "get", Summary: "Return the name that the running kernel has, and the one of /etc/hostname.", Returns: "text, and text or nil",
				Example: `local now, at_boot = hostname.get()`, New: func() any { return &get{} }},
		},
	}
}
