package facts

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// networked are file systems whose server may be gone: asking one for its sizes
// could block for ever, inside the kernel, so they are listed without.
var networked = map[string]bool{
	"nfs": true, "nfs4": true, "cifs": true, "smb3": true, "smbfs": true, "ceph": true, "glusterfs": true, "afs": true,
	"9p": true, "lustre": true, "ocfs2": true, "gfs2": true, "beegfs": true, "orangefs": true, "ncpfs": true, "autofs": true,
}

func remote(fstype string) bool {
	return networked[fstype] || strings.HasPrefix(fstype, "fuse.") || fstype == "fuse"
}

// mounts lists what is mounted from a device or a server, as Ansible does.
func (h host) mounts(ctx context.Context) (map[string]any, error) {
	entries, err := h.mountTable()
	if err != nil {
		return nil, err
	}
	list := []any{}
	ids := h.fsUUIDs()
	for _, m := range entries {
		if m.fstype == "none" || !strings.HasPrefix(m.device, "/") && !strings.Contains(m.device, ":/") && !strings.HasPrefix(m.device, "//") {
			continue
		}
		f := map[string]any{"mount": m.at, "device": m.device, "fstype": m.fstype, "options": m.options, "uuid": "N/A"}
		if id := ids[filepath.Base(m.device)]; id != "" {
			f["uuid"] = id
		}
		switch {
		case remote(m.fstype):
			f["note"] = "sizes of network file systems are not asked for"
		case ctx.Err() != nil:
			return map[string]any{"mounts": list}, ctx.Err()
		default:
			for k, v := range fsSizes(m.at) {
				f[k] = v
			}
		}
		list = append(list, f)
	}
	return map[string]any{"mounts": list}, nil
}

// fsUUIDs maps device names to the UUIDs of their file systems, as udev links them.
func (h host) fsUUIDs() map[string]string {
	const dir = "/dev/disk/by-uuid"
	out := map[string]string{}
	entries, err := os.ReadDir(h.path(dir))
	if err != nil {
		return out
	}
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(h.path(dir), e.Name())); err == nil {
			out[filepath.Base(to)] = e.Name()
		}
	}
	return out
}

type mount struct{ device, at, fstype, options string }

// parseMountinfo reads /proc/self/mountinfo:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMountinfo(lines []string) []mount {
	var out []mount
	for _, line := range lines {
		left, right, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 6 || len(g) < 2 {
			continue
		}
		m := mount{device: unescape(g[1]), at: unescape(f[4]), fstype: g[0], options: f[5]}
		if len(g) > 2 {
			m.options = joinOptions(f[5], g[2])
		}
		out = append(out, m)
	}
	return out
}

// joinOptions puts the mount's options before those of its file system, each once.
func joinOptions(mount, super string) string {
	seen := map[string]bool{}
	var all []string
	for _, o := range append(strings.Split(mount, ","), strings.Split(super, ",")...) {
		if seen[o] || o == "rw" && seen["ro"] || o == "ro" && seen["rw"] {
			continue
		}
		seen[o] = true
		all = append(all, o)
	}
	return strings.Join(all, ",")
}

// unescape undoes the kernel's octal escapes for blanks.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#").Replace(s)
}
