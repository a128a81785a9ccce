// Package systemd is the module systemd: units of systemd, and the services of
// OpenRC and SysV init where there is none.
package systemd

import "github.com/sloth-runner/sloth/modules"

const result = "{success, changed, message, diff}"

// Module describes the module systemd.
func Module() modules.Module {
	change := func(verb string) func() any { return func() any { return &change{verb: verb} } }
	repeat := func(verb string) func() any { return func() any { return &repeat{verb: verb} } }
	return modules.Module{
		Name:    "systemd",
		Aliases: []string{"service"},
		Summary: "Start, stop, enable and describe services, and write units; raises when systemd refuses.",
		Call:    "ensure",
		Funcs: []modules.Func{
			{Name: "ensure", Summary: "Bring services into a state: started, enabled, masked, restarted, all at once.", Returns: result,
				Example: `systemd.ensure({ name = "nginx", state = "started" })`, New: func() any { return &ensure{} }},
			{Name: "enable", Summary: "Let services start at boot.", Returns: result,
				Example: `systemd.enable("nginx")`, New: change("enable")},
			{Name: "disable", Summary: "Keep services from starting at boot.", Returns: result,
				Example: `systemd.disable("cron")`, New: change("disable")},
			{Name: "start", Summary: "Start services that do not run; raises with the end of the journal when one fails.", Returns: result,
				Example: `systemd.start("nginx")`, New: change("start")},
			{Name: "stop", Summary: "Stop services that run.", Returns: result,
				Example: `systemd.stop("cron")`, New: change("stop")},
			{Name: "mask", Summary: "Make it impossible to start services.", Returns: result,
				Example: `systemd.mask("apache2")`, New: change("mask")},
			{Name: "unmask", Summary: "Undo mask.", Returns: result,
				Example: `systemd.unmask("cups")`, New: change("unmask")},
			{Name: "restart", Summary: "Restart services, at every call; those that do not run are started.", Returns: result,
				Example: `systemd.restart("nginx")`, New: repeat("restart")},
			{Name: "reload", Summary: "Let services read their configuration again, at every call.", Returns: result,
				Example: `systemd.reload("nginx")`, New: repeat("reload")},
			{Name: "daemon_reload", Summary: "Let systemd read all unit files again, at every call.", Returns: result,
				Example: `systemd.daemon_reload()`, New: func() any { return &daemonReload{} }},
			{Name: "status", Summary: "Describe one service; one that is not there has exists = false.",
				Returns: "{name, exists, is_active, is_enabled, state, sub_state, enabled, load_state, pid, result, restarts, description, path}",
				Example: `local s = systemd.status("ssh")`, New: func() any { return &status{} }},
			{Name: "is_active", Summary: "Tell whether a service runs.", Returns: "boolean",
				Example: `local yes = systemd.is_active("ssh")`, New: func() any { return &is{} }},
			{Name: "is_enabled", Summary: "Tell whether a service starts at boot.", Returns: "boolean",
				Example: `local yes = systemd.is_enabled("ssh")`, New: func() any { return &is{enabled: true} }},
			{Name: "show", Summary: "Return the properties of a unit as systemctl show names them, or one of them.",
				Returns: "table of text, or text", Example: `local limit = systemd.show("ssh", "LimitNOFILE")`, New: func() any { return &show{} }},
			{Name: "list_services", Summary: "List the services that systemd has loaded.",
				Returns: "list of what status returns", Example: `local failed = systemd.list_services({ state = "failed" })`, New: func() any { return &list{} }},
			{Name: "create_service", Summary: "Write the unit file of a service, and enable or start it when asked.", Returns: "{success, changed, message, diff, path}",
				Example: `systemd.create_service("myapp", { exec_start = "/usr/bin/sleep infinity" })`, New: newCreate},
			{Name: "remove_service", Summary: "Stop and disable a service and remove its unit file.", Returns: "{success, changed, message, diff, path}",
				Example: `systemd.remove_service("oldapp")`, New: newRemove},
		},
	}
}
