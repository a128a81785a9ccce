// Package knownhosts is the module known_hosts: the keys by which the SSH client
// of a host recognizes others.
package knownhosts

import "github.com/sloth-runner/sloth/modules"

const (
	result  = "{success, changed, message, diff, path}"
	example = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBhRcXGhT0mZr3l2Z2cY0d0b7wB4T3d9dmCqS6yE0qkV"
)

// Module describes the module known_hosts.
func Module() modules.Module {
	return modules.Module{
		Name:    "known_hosts",
		Summary: "Keys by which the SSH client of a host recognizes others; raises when a key is none, with its line.",
		Funcs: []modules.Func{
			{Name: "present", Aliases: []string{"add"}, Summary: "Let the SSH client know a host by its keys; another key of the same type is replaced.", Returns: result,
				Example: `known_hosts.present({ name = "git.example.com", key = "` + example + `", path = "/etc/ssh/ssh_known_hosts" })`,
				New:     func() any { return &present{} }},
			{Name: "absent", Aliases: []string{"remove"}, Summary: "Let the SSH client forget a host, or one of its keys; other names on a line stay, and so do marked lines.", Returns: result,
				Example: `known_hosts.absent({ name = "old.example.com", path = "/etc/ssh/ssh_known_hosts" })`,
				New:     func() any { return &absent{} }},
			{Name: "list", Summary: "List the keys in the file, or those of one host; the name of a hashed line is its hash.",
				Returns: "list of {names, marker, type, key, comment, hashed, fingerprint, line}",
				Example: `local keys = known_hosts.list({ path = "/etc/ssh/ssh_known_hosts" })`, New: func() any { return &list{} }},
		},
	}
}
