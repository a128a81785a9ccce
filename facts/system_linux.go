package facts

import (
	"context"
	"strings"

	"golang.org/x/sys/unix"
)

func (h host) system(ctx context.Context) (map[string]any, error) { return h.distribution(ctx) }

func (h host) kernel(context.Context) (map[string]any, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	machine := unix.ByteSliceToString(u.Machine[:])
	bits := "32"
	if strings.Contains(machine, "64") || machine == "s390x" {
		bits = "64"
	}
	userland, userBits := machine, bits
	// A 32-bit userland under a 64-bit kernel has no 64-bit loader.
	if bits == "64" && pointerBits == 32 {
		userland, userBits = goMachine, "32"
	}
	return map[string]any{
		"system": unix.ByteSliceToString(u.Sysname[:]), "kernel": unix.ByteSliceToString(u.Release[:]),
		"kernel_version": unix.ByteSliceToString(u.Version[:]), "machine": machine,
		"architecture": ansibleArch(machine), "userspace_architecture": ansibleArch(userland), "userspace_bits": userBits,
	}, nil
}

// ansibleArch folds the many names of 32-bit Intel.
func ansibleArch(machine string) string {
	switch machine {
	case "i486", "i586", "i686":
		return "i386"
	}
	return machine
}

func affinity() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return 0
	}
	return set.Count()
}

func bootID() string { return "" }

func bootSeconds() (int, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, err
	}
	return int(info.Uptime), nil
}

func (h host) mountTable() ([]mount, error) {
	b, err := readCapped(h.path("/proc/self/mountinfo"), 8<<20)
	if err != nil {
		return nil, err
	}
	return parseMountinfo(strings.Split(string(b), "\n")), nil
}

func fsSizes(at string) map[string]any {
	var s unix.Statfs_t
	if unix.Statfs(at, &s) != nil {
		return nil
	}
	size := int64(s.Frsize) //nolint:unconvert // 32-bit platforms
	if size == 0 {
		size = int64(s.Bsize) //nolint:unconvert // 32-bit platforms
	}
	return sizes(size, int64(s.Blocks), int64(s.Bavail), int64(s.Files), int64(s.Ffree))
}
