// Package timezone is the module timezone: the time zone of a host, and whether
// its hardware clock runs in it.
package timezone

import "github.com/sloth-runner/sloth/modules"

// Module describes the module timezone.
func Module() modules.Module {
	return modules.Module{
		Name:    "timezone",
		Summary: "The time zone of the host; raises when it does not know the zone.",
		Funcs: []modules.Func{
			{Name: "set", Summary: "Set the time zone: the link /etc/localtime, and /etc/timezone where there is one. Programs that run, such as cron, learn of it when they start again.",
				Returns: "{success, changed, message, diff, name}", Example: `timezone.set("Europe/Berlin")`, New: func() any { return &set{} }},
			{Name: "get", Summary: "Return the time zone of the host; nil when /etc/localtime names none.", Returns: "text or nil",
				Example: `local zone = timezone.get()`, New: func() any { return &get{} }},
		},
	}
}
