// Package fs is the module fs: small file functions with positional arguments,
// for people who think in cp, mv and mkdir. What changes something is checked,
// planned and atomic as in file_ops, which it is made of.
package fs

import "github.com/sloth-runner/sloth/modules"

const result = "{success, changed, message, diff}"

// Module is fs.
func Module() modules.Module {
	return modules.Module{
		Name:    "fs",
		Summary: "Small file functions: read, write, list, move, with positional arguments.",
		Funcs: []modules.Func{
			{Name: "stat", Summary: "Describe a file; nil when it does not exist.", Returns: "{path, name, type, size, mode, owner, group, mtime, is_file, is_dir, is_link, …} or nil",
				Example: `local st = fs.stat("/etc/hostname")`, New: func() any { return &Stat{} }},
			{Name: "read", Aliases: []string{"read_file"}, Summary: "Return the content of a file.", Returns: "text",
				Example: `local name = fs.read("/etc/hostname")`, New: func() any { return &Read{} }},
			{Name: "write", Aliases: []string{"write_file"}, Summary: "Give a file this content.", Returns: result,
				Example: `fs.write("/etc/motd", "hello\n", "0644")`, New: func() any { return &Write{} }},
			{Name: "append", Summary: "Add text at the end of a file, at every call.", Returns: result,
				Example: `fs.append("/var/log/deploys", "deployed\n")`, New: func() any { return &Append{} }},
			{Name: "exists", Summary: "Report whether something is at a path; a link that leads nowhere is not.", Returns: "boolean",
				Example: `local yes = fs.exists("/etc/passwd")`, New: func() any { return &Exists{} }},
			{Name: "mkdir", Summary: "Make a folder, with all folders above it.", Returns: result,
				Example: `fs.mkdir("/srv/app/releases", "0755")`, New: func() any { return &Mkdir{} }},
			{Name: "rm", Summary: "Remove a file, a link or an empty folder.", Returns: result,
				Example: `fs.rm("/etc/motd.old")`, New: func() any { return &Remove{} }},
			{Name: "rmr", Summary: "Remove a folder and everything below it.", Returns: result,
				Example: `fs.rmr("/srv/app/old")`, New: func() any { return &Remove{Recurse: true} }},
			{Name: "ls", Summary: "Return the names in a folder, sorted.", Returns: "list of names",
				Example: `local names = fs.ls("/etc")`, New: func() any { return &List{} }},
			{Name: "glob", Summary: "Return the paths that match a pattern, sorted.", Returns: "list of paths",
				Example: `local found = fs.glob("/etc/*.conf")`, New: func() any { return &Glob{} }},
			{Name: "tmpname", Summary: "Return a path in the folder for temporary files where nothing is.", Returns: "path",
				Example: `local path = fs.tmpname()`, New: func() any { return &Tmpname{Prefix: "sloth-"} }},
			{Name: "size", Summary: "Return the size of a file in bytes.", Returns: "number",
				Example: `local bytes = fs.size("/etc/passwd")`, New: func() any { return &Size{} }},
			{Name: "copy", Aliases: []string{"cp"}, Summary: "Copy a file of the host.", Returns: result,
				Example: `fs.copy("/etc/hostname", "/etc/hostname.bak")`, New: func() any { return &Copy{} }},
			{Name: "move", Aliases: []string{"mv", "rename"}, Summary: "Give a file or folder another name; done when only the new name exists.", Returns: result,
				Example: `fs.move("/etc/motd", "/etc/motd.bak")`, New: func() any { return &Move{} }},
			{Name: "symlink", Aliases: []string{"link"}, Summary: "Make a symbolic link.", Returns: result,
				Example: `fs.symlink("/etc/hostname", "/srv/name")`, New: func() any { return &Symlink{} }},
			{Name: "basename", Summary: "Return the last name of a path.", Returns: "text",
				Example: `local name = fs.basename("/etc/hostname")`, New: func() any { return &Basename{} }},
			{Name: "dirname", Summary: "Return a path without its last name.", Returns: "text",
				Example: `local dir = fs.dirname("/etc/hostname")`, New: func() any { return &Dirname{} }},
			{Name: "chmod", Summary: "Change permissions.", Returns: result,
				Example: `fs.chmod("/etc/motd", "0600")`, New: func() any { return &Chmod{} }},
			{Name: "chown", Summary: "Change owner and group.", Returns: result,
				Example: `fs.chown("/etc/motd", "nobody")`, New: func() any { return &Chown{} }},
		},
	}
}
