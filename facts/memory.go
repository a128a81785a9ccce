package facts

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

func (h host) memory(context.Context) (map[string]any, error) {
	b, err := h.bytes("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	return parseMemory(string(b))
}

// parseMemory turns the kibibytes of /proc/meminfo into mebibytes, cut off as
// Ansible does.
func parseMemory(meminfo string) (map[string]any, error) {
	kb := map[string]int{}
	for line := range strings.Lines(meminfo) {
		key, value, _ := strings.Cut(line, ":")
		number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		n, err := strconv.Atoi(number)
		if err == nil {
			kb[key] = n
		}
	}
	if kb["MemTotal"] == 0 {
		return nil, errors.New("/proc/meminfo has no MemTotal")
	}
	mb := func(key string) int { return kb[key] / 1024 }
	total, free := mb("MemTotal"), mb("MemFree")
	idle := (kb["MemFree"] + kb["Buffers"] + kb["Cached"]) / 1024
	out := map[string]any{
		"memtotal_mb": total, "memfree_mb": free, "swaptotal_mb": mb("SwapTotal"), "swapfree_mb": mb("SwapFree"),
		"memory_mb": map[string]any{
			"real":    map[string]any{"total": total, "used": total - free, "free": free},
			"nocache": map[string]any{"free": idle, "used": total - idle},
			"swap": map[string]any{
				"total": mb("SwapTotal"), "free": mb("SwapFree"), "used": (kb["SwapTotal"] - kb["SwapFree"]) / 1024,
				"cached": mb("SwapCached"),
			},
		},
	}
	if _, ok := kb["MemAvailable"]; ok {
		out["memavailable_mb"] = mb("MemAvailable")
	}
	return out, nil
}
