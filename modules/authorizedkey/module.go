// Package authorizedkey is the module authorized_key: the keys that may log in
// as a user over SSH.
package authorizedkey

import "github.com/sloth-runner/sloth/modules"

const (
	result  = "{success, changed, message, diff, path}"
	example = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBhRcXGhT0mZr3l2Z2cY0d0b7wB4T3d9dmCqS6yE0qkV ann@example"
	former  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPt1MdqmbYEiaECdXDoAgDSYUulJuDnvFDG8TWutGXCy"
)

// Module describes the module authorized_key.
func Module() modules.Module {
	return modules.Module{
		Name:    "authorized_key",
		Aliases: []string{"authorized_keys"},
		Summary: "Keys that may log in as a user over SSH; raises when a key is none, with its line.",
		Funcs: []modules.Func{
			{Name: "present", Aliases: []string{"add"}, Summary: "Let keys log in as a user, each with the options said and no others.", Returns: result,
				Example: `authorized_key.present("root", "` + example + `")`,
				New:     func() any { return &present{} }},
			{Name: "absent", Aliases: []string{"remove"}, Summary: "Let keys no longer log in as a user.", Returns: result,
				Example: `authorized_key.absent("root", "` + former + `")`,
				New:     func() any { return &absent{} }},
			{Name: "list", Summary: "List the keys that may log in as a user; lines that are no keys are left out.",
				Returns: "list of {type, key, comment, options, fingerprint, line}",
				Example: `local keys = authorized_key.list("root")`, New: func() any { return &list{} }},
		},
	}
}
