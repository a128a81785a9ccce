// Package mount is the module mount: file systems that are mounted, and those
// that /etc/fstab lists. What is mounted is read from the kernel's table, so
// that a server that does not answer holds nothing up.
package mount

import (
	"time"

	"github.com/sloth-runner/sloth/modules"
)

const (
	result       = "{success, changed, message, diff, path, fstab, backup_file}"
	defaultFstab = "/etc/fstab"
	patience     = 90 * time.Second
)

const (
	stateMounted   = "mounted"
	stateUnmounted = "unmounted"
	stateRemounted = "remounted"
	stateEphemeral = "ephemeral"
	stateUnlisted  = "absent_from_fstab"
)

// Module describes the module mount.
func Module() modules.Module {
	in := fstab{Fstab: defaultFstab}
	take := limit{Timeout: patience}
	listed := func(state string) func() any {
		return func() any {
			return &listed{Opts: "defaults", Boot: true, State: state, fstab: in, limit: take}
		}
	}
	return modules.Module{
		Name:    "mount",
		Summary: "Mount file systems, now and at boot; raises when one cannot be mounted.",
		Funcs: []modules.Func{
			{Name: "mounted", Summary: "List a file system in fstab and mount it; its folder is made when it is missing.", Returns: result,
				Example: `mount.mounted("/srv/data", { src = "/dev/vdb1", fstype = "ext4", opts = "noatime" })`, New: listed(stateMounted)},
			{Name: "present", Summary: "List a file system in fstab, and leave what is mounted as it is.", Returns: result,
				Example: `mount.present("/srv/data", { src = "/dev/vdb1", fstype = "ext4" })`, New: listed(modules.Present)},
			{Name: "ephemeral", Summary: "Mount a file system until the next boot; fstab is left alone.", Returns: result,
				Example: `mount.ephemeral("/srv/scratch", { src = "tmpfs", fstype = "tmpfs", opts = "size=64m" })`,
				New:     func() any { return &ephemeral{Opts: "defaults", limit: take} }},
			{Name: "unmounted", Summary: "Unmount what is mounted at a folder; fstab is left alone.", Returns: result,
				Example: `mount.unmounted("/mnt/old")`, New: func() any { return &unmounted{limit: take} }},
			{Name: "absent", Summary: "Unmount a file system, take it out of fstab and remove its empty folder.", Returns: result,
				Example: `mount.absent("/mnt/old")`, New: func() any { return &absent{unlisted: unlisted{fstab: in}, limit: take} }},
			{Name: stateUnlisted, Summary: "Take a file system out of fstab; what is mounted stays so.", Returns: result,
				Example: `mount.absent_from_fstab("/mnt/old")`, New: func() any { return &unlisted{fstab: in} }},
			{Name: "remounted", Summary: "Mount what is mounted again with other options, at every call.", Returns: result,
				Example: `mount.remounted("/mnt/old", { opts = "ro" })`, New: func() any { return &remounted{Fstab: defaultFstab, limit: take} }},
			{Name: "get", Summary: "Describe what is mounted at a folder; nil when nothing is.", Returns: "{path, src, fstype, opts, root} or nil",
				Example: `local root = mount.get("/")`, New: func() any { return &get{} }},
			{Name: "list", Summary: "List what is mounted.", Returns: "list of what get returns",
				Example: `local all = mount.list({ fstype = "ext4" })`, New: func() any { return &list{} }},
		},
	}
}
