// Package sysctl is the module sysctl: parameters of the running kernel, and
// the files that set them at boot.
package sysctl

import "github.com/sloth-runner/sloth/modules"

const result = "{success, changed, message, diff, path, backup_file}"

// Module describes the module sysctl.
func Module() modules.Module {
	return modules.Module{
		Name:    "sysctl",
		Summary: "Parameters of the kernel, now and at the next boot; raises when the kernel refuses a value.",
		Funcs: []modules.Func{
			{Name: "set", Aliases: []string{"present"}, Summary: "Set a parameter in a file that is read at boot, and in the running kernel.", Returns: result,
				Example: `sysctl.set("net.ipv4.ip_forward", 1)`,
				New:     func() any { return &set{State: modules.Present, Reload: true, file: file{File: defaultFile}} }},
			{Name: "absent", Aliases: []string{"remove"}, Summary: "Take a parameter out of its file; the running kernel keeps its value.", Returns: result,
				Example: `sysctl.absent({ name = "vm.swappiness", file = "old" })`,
				New:     func() any { return &absent{file: file{File: defaultFile}} }},
			{Name: "get", Summary: "Return the value of a parameter in the running kernel; raises when there is no such parameter.", Returns: "text",
				Example: `local on = sysctl.get("net.ipv4.ip_forward")`, New: func() any { return &get{} }},
		},
	}
}
