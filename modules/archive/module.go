// Package archive is the module archive: file_ops.archive and unarchive under
// names of their own, and a look into an archive.
package archive

import (
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/fileops"
)

// Module is archive.
func Module() modules.Module {
	return modules.Module{
		Name:    "archive",
		Summary: "Archives: tar, tar.gz, tar.xz, tar.zst and zip, made, unpacked and listed.",
		Funcs: []modules.Func{
			fileops.ArchiveFunc("create", "archive.create"),
			fileops.UnarchiveFunc("extract", "archive.extract"),
			{
				Name:    "list",
				Summary: "Return what is in an archive of the host.",
				Example: `local list = archive.list("/srv/backup.tar")`,
				Returns: "list of {name, type, size, mode, uid, gid, owner, group, mtime, link}",
				New:     func() any { return &List{} },
			},
		},
	}
}
