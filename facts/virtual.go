package facts

import (
	"context"
	"slices"
	"strings"
)

// virtualization says what this machine runs in, or what runs in it, as Ansible
// names it: a container before the virtual machine around it.
func (h host) virtualization(context.Context) (map[string]any, error) {
	guests := h.containers()
	if vm := h.virtualMachine(); vm != "" {
		guests = append(guests, vm)
	}
	hosts := h.hypervisors()
	kind, role := "NA", "NA"
	switch {
	case len(guests) > 0:
		kind, role = guests[0], "guest"
	case len(hosts) > 0:
		kind, role = hosts[0], "host"
	}
	if kind != "NA" && role == "guest" && len(h.containers()) > 0 {
		guests = append(guests, "container")
	}
	slices.Sort(guests)
	return map[string]any{
		"virtualization_type": kind, "virtualization_role": role,
		"virtualization_tech_guest": anyList(slices.Compact(guests)), "virtualization_tech_host": anyList(hosts),
	}, nil
}

func (h host) containers() []string {
	var found []string
	add := func(kind string, is bool) {
		if is && !slices.Contains(found, kind) {
			found = append(found, kind)
		}
	}
	add("docker", h.exists("/.dockerenv") || h.exists("/.dockerinit"))
	add("podman", h.exists("/run/.containerenv"))
	group := h.read("/proc/1/cgroup")
	add("docker", strings.Contains(group, "/docker") || strings.Contains(group, "/kubepods"))
	add("lxc", strings.Contains(group, "/lxc/") || strings.Contains(group, "/lxc.payload"))
	add("openvz", h.exists("/proc/vz") && !h.exists("/proc/lve") && !h.exists("/proc/bc"))
	if in := h.read("/run/systemd/container"); in != "" {
		add(in, true)
	} else if environment, err := h.bytes("/proc/1/environ"); err == nil {
		for _, v := range strings.Split(string(environment), "\x00") {
			if kind, ok := strings.CutPrefix(v, "container="); ok && kind != "" {
				add(kind, true)
			}
		}
	}
	return found
}

// virtualMachine goes by the firmware, which only a hypervisor would name so.
func (h host) virtualMachine() string {
	id := func(f string) string { return h.read("/sys/devices/virtual/dmi/id/" + f) }
	product, vendor, bios, board := id("product_name"), id("sys_vendor"), id("bios_vendor"), id("board_vendor")
	has := func(s string, words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) })
	}
	switch {
	case h.read("/sys/hypervisor/type") == "xen" || has(bios, "Xen"):
		if strings.Contains(h.read("/proc/xen/capabilities"), "control_d") {
			return ""
		}
		return "xen"
	case has(product, "oVirt"):
		return "oVirt"
	case has(product, "RHEV"):
		return "RHEV"
	case has(product, "OpenStack"):
		return "openstack"
	case has(product, "VMware"):
		return "VMware"
	case has(product, "VirtualBox") || has(bios, "innotek"):
		return "virtualbox"
	case product == "Virtual Machine" && has(vendor, "Microsoft"):
		return "VirtualPC"
	case has(product, "Parallels") || has(vendor, "Parallels"):
		return "parallels"
	case has(product, "BHYVE"):
		return "bhyve"
	case has(vendor, "QEMU", "Amazon EC2", "Google", "DigitalOcean", "Hetzner", "Scaleway", "UpCloud", "Vultr", "Red Hat", "Nutanix", "Alibaba"),
		has(product, "KVM", "Bochs", "AHV", "Google Compute Engine", "Standard PC"), has(board, "Amazon EC2"), has(bios, "SeaBIOS", "Amazon EC2"):
		return "kvm"
	}
	cpu := h.read("/proc/cpuinfo")
	switch {
	case strings.Contains(cpu, "QEMU Virtual CPU"):
		return "kvm"
	case strings.Contains(cpu, "User Mode Linux"):
		return "uml"
	case strings.Contains(cpu, "PowerVM"):
		return "powervm_lx86"
	}
	return ""
}

// hypervisors are those whose kernel side is in use here.
func (h host) hypervisors() []string {
	var out []string
	if strings.Contains(h.read("/proc/xen/capabilities"), "control_d") {
		out = append(out, "xen")
	}
	if h.exists("/dev/kvm") {
		out = append(out, "kvm")
	}
	for _, line := range h.lines("/proc/modules") {
		if strings.HasPrefix(line, "vboxdrv ") {
			out = append(out, "virtualbox")
		}
	}
	return out
}
