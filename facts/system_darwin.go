package facts

import (
	"context"
	"encoding/xml"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// system reads the name and version of macOS from its property list.
func (h host) system(context.Context) (map[string]any, error) {
	b, err := h.bytes("/System/Library/CoreServices/SystemVersion.plist")
	if err != nil {
		return nil, err
	}
	values := plist(string(b))
	version := values["ProductVersion"]
	major, minor, _ := strings.Cut(version, ".")
	minor, _, _ = strings.Cut(minor, ".")
	release, _ := unix.Sysctl("kern.osrelease")
	return map[string]any{
		"distribution": "MacOSX", "os_family": "Darwin", "distribution_version": version,
		"distribution_major_version": major, "distribution_minor_version": minor, "distribution_release": release,
	}, nil
}

// plist reads the text keys of a flat property list.
func plist(text string) map[string]string {
	out := map[string]string{}
	dec := xml.NewDecoder(strings.NewReader(text))
	key := ""
	for {
		t, err := dec.Token()
		if err == io.EOF || err != nil {
			return out
		}
		start, ok := t.(xml.StartElement)
		if !ok || start.Name.Local != "key" && start.Name.Local != "string" {
			continue
		}
		var value string
		if dec.DecodeElement(&value, &start) != nil {
			return out
		}
		if start.Name.Local == "key" {
			key = value
		} else {
			out[key] = value
		}
	}
}

func (h host) kernel(context.Context) (map[string]any, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	machine := unix.ByteSliceToString(u.Machine[:])
	return map[string]any{
		"system": unix.ByteSliceToString(u.Sysname[:]), "kernel": unix.ByteSliceToString(u.Release[:]),
		"kernel_version": unix.ByteSliceToString(u.Version[:]), "machine": machine, "architecture": machine,
		"userspace_architecture": machine, "userspace_bits": "64",
	}, nil
}

func (h host) darwinProcessor(context.Context) (map[string]any, error) {
	n := func(name string) int {
		v, err := unix.SysctlUint32(name)
		if err != nil {
			return 0
		}
		return int(v)
	}
	brand, _ := unix.Sysctl("machdep.cpu.brand_string")
	cores, threads := max(n("hw.physicalcpu"), 1), max(n("hw.logicalcpu"), 1)
	return map[string]any{
		"processor": anyList([]string{brand}), "processor_count": 1, "processor_cores": cores,
		"processor_threads_per_core": max(threads/cores, 1), "processor_vcpus": threads, "processor_nproc": threads,
	}, nil
}

func (h host) darwinMemory(context.Context) (map[string]any, error) {
	total, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return nil, err
	}
	out := map[string]any{"memtotal_mb": int(total >> 20)}
	if free, err := unix.SysctlUint32("vm.page_free_count"); err == nil {
		out["memfree_mb"] = int(uint64(free) * uint64(unix.Getpagesize()) >> 20)
	}
	return out, nil
}

func affinity() int { return 0 }

func bootID() string {
	id, _ := unix.Sysctl("kern.bootsessionuuid")
	return id
}

func bootSeconds() (int, error) {
	tv, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return 0, err
	}
	return int(time.Since(time.Unix(tv.Unix())).Seconds()), nil
}

func (h host) mountTable() ([]mount, error) {
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return nil, err
	}
	list := make([]unix.Statfs_t, n)
	if n, err = unix.Getfsstat(list, unix.MNT_NOWAIT); err != nil {
		return nil, err
	}
	var out []mount
	for _, s := range list[:n] {
		m := mount{
			device: unix.ByteSliceToString(s.Mntfromname[:]), at: unix.ByteSliceToString(s.Mntonname[:]),
			fstype: unix.ByteSliceToString(s.Fstypename[:]), options: "rw",
		}
		if s.Flags&unix.MNT_RDONLY != 0 {
			m.options = "ro"
		}
		out = append(out, m)
	}
	return out, nil
}

func fsSizes(at string) map[string]any {
	var s unix.Statfs_t
	if unix.Statfs(at, &s) != nil {
		return nil
	}
	return sizes(int64(s.Bsize), int64(s.Blocks), int64(s.Bavail), int64(s.Files), int64(s.Ffree))
}
