package facts

import (
	"context"
	"strconv"
	"strings"
)

func (h host) processor(context.Context) (map[string]any, error) {
	b, err := h.bytes("/proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	out := parseCPU(string(b))
	if n := affinity(); n > 0 && h.root == "/" {
		out["processor_nproc"] = n
	}
	return out, nil
}

// parseCPU counts as Ansible does: sockets by physical id, cores of a socket,
// threads of a core. Where the kernel does not tell, each processor is a socket.
func parseCPU(cpuinfo string) map[string]any {
	var names []string
	sockets, siblings := map[string]int{}, map[string]int{}
	count := 0
	socket := ""
	var firstCores, firstSiblings int
	for line := range strings.Lines(cpuinfo) {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch key {
		case "processor":
			if _, err := strconv.Atoi(value); err != nil {
				names = append(names, value) // old ARM kernels name the model here
				continue
			}
			count++
			socket = ""
			names = append(names, value)
		case "model name", "Processor", "vendor_id", "cpu", "Vendor":
			names = append(names, value)
		case "physical id":
			socket = value
			if _, ok := sockets[socket]; !ok {
				sockets[socket] = 0
			}
		case "cpu cores":
			sockets[socket], _ = strconv.Atoi(value)
			if firstCores == 0 {
				firstCores = sockets[socket]
			}
		case "siblings":
			siblings[socket], _ = strconv.Atoi(value)
			if firstSiblings == 0 {
				firstSiblings = siblings[socket]
			}
		}
	}
	packages, cores, threads := len(sockets), max(firstCores, 1), 1
	if packages == 0 {
		packages = count
	}
	if firstSiblings > 0 {
		threads = max(firstSiblings/cores, 1)
	}
	return map[string]any{
		"processor": anyList(names), "processor_count": packages, "processor_cores": cores,
		"processor_threads_per_core": threads, "processor_vcpus": packages * cores * threads,
		"processor_nproc": count,
	}
}
