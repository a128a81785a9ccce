package mount

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

func options(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

func isBind(opts string) bool {
	all := options(opts)
	return slices.Contains(all, "bind") || slices.Contains(all, "rbind")
}

// device is the file that a source stands for: UUID=… and links are followed.
func device(v facts.Viewer, src string) (string, bool) {
	for tag, dir := range map[string]string{"UUID=": "by-uuid", "LABEL=": "by-label", "PARTUUID=": "by-partuuid", "PARTLABEL=": "by-partlabel"} {
		if value, ok := strings.CutPrefix(src, tag); ok {
			src = path.Join("/dev/disk", dir, strings.Trim(value, `"`))
		}
	}
	if !strings.HasPrefix(src, "/dev/") {
		return "", false
	}
	if _, err := v.Stat(src); err != nil {
		return "", false
	}
	file, err := hostfile.Resolve(v, src)
	return file, err == nil
}

// verdict says what two sources are to each other.
type verdict int

const (
	unsure verdict = iota
	equal
	different
)

// compare tells whether m is a mount of src.
func compare(v facts.Viewer, all []live, m live, src, opts string) verdict {
	if isBind(opts) {
		from, err := real(v, all, src)
		if err != nil {
			return unsure
		}
		base := over(all, from)
		if base == nil || base.network {
			return unsure
		}
		if m.dev == base.dev && m.root == path.Join(base.root, strings.TrimPrefix(from, base.path)) {
			return equal
		}
		return different
	}
	if strings.TrimRight(m.src, "/") == strings.TrimRight(src, "/") {
		return equal
	}
	if number, ok := strings.CutPrefix(m.src, "/dev/loop"); ok && path.IsAbs(src) {
		if b, err := hostfile.Read(v, "/sys/block/loop"+number+"/loop/backing_file"); err == nil && strings.TrimSpace(string(b)) == src {
			return equal
		}
	}
	is, ok := device(v, m.src)
	want, ok2 := device(v, src)
	switch {
	case ok && ok2 && is == want:
		return equal
	case ok && ok2, strings.Contains(m.src, ":/") && strings.Contains(src, ":/"):
		return different
	}
	return unsure
}

// visible are the options that the kernel shows, and what takes them back.
var visible = map[string]string{
	"ro": "rw", "nosuid": "suid", "nodev": "dev", "noexec": "exec", "noatime": "atime", "nodiratime": "diratime", "sync": "async",
}

// satisfied reports whether m has all options that can be seen.
func (m live) satisfied(opts string) bool {
	has := append(options(m.opts), options(m.superOpts)...)
	for _, o := range options(opts) {
		for set, unset := range visible {
			if o == set && !slices.Contains(has, set) || o == unset && slices.Contains(has, set) {
				return false
			}
		}
		key, want, valued := strings.Cut(o, "=")
		if !valued {
			continue
		}
		for _, h := range has {
			if k, is, ok := strings.Cut(h, "="); ok && k == key && !sameValue(key, is, want) {
				return false
			}
		}
	}
	return true
}

// sameValue takes 64m for 65536k, and 0755 for 755.
func sameValue(key, a, b string) bool {
	if a == b {
		return true
	}
	if strings.HasSuffix(key, "mode") || strings.HasSuffix(key, "mask") {
		return strings.TrimLeft(a, "0") == strings.TrimLeft(b, "0")
	}
	x, ok := size(a)
	y, ok2 := size(b)
	return ok && ok2 && x == y
}

func size(text string) (int64, bool) {
	shift := 0
	if text != "" {
		if at := strings.IndexByte("kmg", text[len(text)-1]|0x20); at >= 0 {
			shift, text = 10*(at+1), text[:len(text)-1]
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n << shift, err == nil
}
