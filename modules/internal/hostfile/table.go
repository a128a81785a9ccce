package hostfile

import (
	"io/fs"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
)

// Table describes a file as Lua sees it. mtime is Unix seconds.
func Table(st facts.FileInfo) map[string]any {
	out := map[string]any{
		"exists": true, "path": st.Path, "name": st.Name, "type": machine.Kind(st.Mode),
		"size": st.Size, "mode": modules.ModeText(st.Mode), "owner": st.Owner, "group": st.Group,
		"uid": st.UID, "gid": st.GID, "mtime": st.MTime / 1e9, "inode": st.Inode, "nlink": st.Nlink,
		"is_file": st.Mode.IsRegular(), "is_dir": st.Mode.IsDir(), "is_link": st.Mode&fs.ModeSymlink != 0,
	}
	if st.Link != "" {
		out["link"] = st.Link
	}
	return out
}
