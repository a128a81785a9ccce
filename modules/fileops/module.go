// Package fileops is the module file_ops: files, folders and links with the
// content, owner and mode they should have, and edits inside files. What is
// there is replaced whole or not at all.
package fileops

import (
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/pack"
)

const result = "{success, changed, message, diff"

// Module is file_ops.
func Module() modules.Module {
	return modules.Module{
		Name:    "file_ops",
		Summary: "Files, folders and links as they should be, replaced whole or not at all.",
		Funcs: []modules.Func{
			{
				Name:    "copy",
				Summary: "Give a host a file with this content.",
				Example: `file_ops.copy({ content = "hello\n", dest = "/etc/motd", mode = "0644" })`,
				Returns: result + ", dest, backup_file}",
				New:     func() any { return &Copy{} },
			},
			{
				Name:    "template",
				Summary: "Render a template of the controller into a file on the host.",
				Example: `file_ops.template({ src = "site.conf.j2", dest = "/etc/site.conf", vars = { port = 8080 } })`,
				Returns: result + ", dest, backup_file}",
				New:     func() any { return &Template{} },
			},
			{
				Name:    "file",
				Summary: "Make a file, folder or link exist, not exist, or have these attributes.",
				Example: `file_ops.file({ path = "/srv/app/shared", state = "directory", mode = "0755" })`,
				Returns: result + ", path}",
				New:     func() any { return &File{State: stateFile, Follow: true} },
			},
			{
				Name:    "lineinfile",
				Summary: "Make one line of a file be there, or not.",
				Example: `file_ops.lineinfile({ path = "/etc/app.conf", regexp = "^port=", line = "port=80", create = true })`,
				Returns: result + ", backup_file}",
				New:     func() any { return &LineInFile{State: modules.Present} },
			},
			{
				Name:    "blockinfile",
				Summary: "Keep a block of lines in a file, between two marker lines.",
				Example: `file_ops.blockinfile({ path = "/etc/hosts", block = "10.0.0.5 db\n10.0.0.6 cache" })`,
				Returns: result + ", backup_file}",
				New: func() any {
					return &BlockInFile{State: modules.Present, Marker: "# {mark} SLOTH MANAGED BLOCK", MarkerBegin: "BEGIN", MarkerEnd: "END"}
				},
			},
			{
				Name:    "replace",
				Summary: "Replace what a regular expression matches, everywhere in a file.",
				Example: `file_ops.replace({ path = "/etc/app.conf", regexp = "debug=\\w+", replace = "debug=off" })`,
				Returns: result + ", backup_file}",
				New:     func() any { return &Replace{} },
			},
			{
				Name:    "stat",
				Summary: "Describe a file.",
				Example: `local st = file_ops.stat("/etc/hostname")`,
				Returns: "{exists, path, type, size, mode, owner, group, uid, gid, mtime, inode, nlink, link, is_file, is_dir, is_link, checksum}",
				New:     func() any { return &Stat{} },
			},
			{
				Name:    "sync",
				Summary: "Make a folder of the host like one of the controller, sending only what differs.",
				Example: `file_ops.sync({ src = "site", dest = "/srv/site", delete = true })`,
				Returns: result + ", sent, removed}",
				New:     func() any { return &Sync{} },
			},
			{
				Name:    "fetch",
				Summary: "Bring a file or folder of the host to the controller; what is there already is not sent.",
				Example: `file_ops.fetch({ src = "/etc/hostname", dest = "fetched" })`,
				Returns: result + ", dest, found, fetched, checksum}",
				New:     func() any { return &Fetch{FailOnMissing: true} },
			},
			UnarchiveFunc("unarchive", "file_ops.unarchive"),
			ArchiveFunc("archive", "file_ops.archive"),
		},
	}
}

// UnarchiveFunc is unarchive under another name; full is how a script calls it.
func UnarchiveFunc(name, full string) modules.Func {
	return modules.Func{
		Name:    name,
		Summary: "Unpack an archive into a folder; only what differs is written.",
		Example: full + `({ src = "app.tar.gz", dest = "/srv/app", strip_components = 1 })`,
		Returns: result + ", dest, unpacked}",
		New:     func() any { return &Unarchive{MaxSize: pack.DefaultMaxSize} },
	}
}

// ArchiveFunc is archive under another name; full is how a script calls it.
func ArchiveFunc(name, full string) modules.Func {
	return modules.Func{
		Name:    name,
		Summary: "Put files and folders of the host into an archive; written anew only when it would hold something else.",
		Example: full + `({ path = "/srv/app", dest = "/srv/app.tar.gz", exclude = { "*.log" } })`,
		Returns: result + ", dest, archived}",
		New:     func() any { return &Archive{} },
	}
}
