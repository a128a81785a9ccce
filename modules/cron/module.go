// Package cron is the module cron: jobs and variables in users' crontabs and in
// files of /etc/cron.d. Jobs carry the marker of Ansible's module of that name,
// so that both find each other's.
package cron

import "github.com/sloth-runner/sloth/modules"

const result = "{success, changed, message, diff, cron_file, backup_file}"

// Module describes the module cron.
func Module() modules.Module {
	return modules.Module{
		Name:    "cron",
		Summary: "Jobs that cron runs, in users' crontabs and in /etc/cron.d; raises when cron would not understand them.",
		Funcs: []modules.Func{
			{Name: "present", Aliases: []string{"job"}, Summary: "Let cron run a job, known by its name.", Returns: result,
				Example: `cron.present({ name = "backup", minute = 15, hour = 3, user = "root", job = "/usr/local/bin/backup", cron_file = "backup" })`,
				New: func() any {
					return &present{State: modules.Present, times: times{Minute: "*", Hour: "*", Day: "*", Month: "*", Weekday: "*"}}
				}},
			{Name: "absent", Aliases: []string{"remove"}, Summary: "Remove a job; a file that holds nothing else goes too.", Returns: result,
				Example: `cron.absent({ name = "old report", cron_file = "reports" })`, New: func() any { return &absent{} }},
			{Name: "env", Summary: "Set or remove a variable that the jobs of a crontab see.", Returns: result,
				Example: `cron.env({ name = "MAILTO", value = "ops@example.com", cron_file = "backup" })`,
				New:     func() any { return &variable{State: modules.Present} }},
			{Name: "list", Summary: "List the jobs of a crontab, and its variables.",
				Returns: "list of {name, job, user, minute, hour, day, month, weekday, special_time, disabled}, and a table of the variables",
				Example: `local jobs, vars = cron.list({ cron_file = "e2scrub_all" })`, New: func() any { return &list{} }},
		},
	}
}
