package facts

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
)

func (h host) serviceManager(context.Context) (map[string]any, error) {
	return map[string]any{"service_mgr": h.initSystem()}, nil
}

// initSystem names what starts services: by process 1, else by what is there.
func (h host) initSystem() string {
	if h.exists("/run/systemd/system") {
		return "systemd"
	}
	one := h.read("/proc/1/comm")
	switch one {
	case "systemd", "launchd", "runit", "s6-svscan":
		return one
	case "runit-init":
		return "runit"
	case "openrc-init":
		return "openrc"
	case "procd":
		return "openwrt_init"
	}
	switch {
	case h.exists("/sbin/openrc") || h.exists("/run/openrc"):
		return "openrc"
	case h.exists("/System/Library/CoreServices/SystemVersion.plist"):
		return "launchd"
	case one == "init" && h.exists("/etc/init.d"), one == "" && h.exists("/etc/init.d"):
		return "sysvinit"
	case one == "" || one == "init" || one == "sh" || one == "bash":
		return "service"
	}
	return one
}

// managers are tried in order; what an image has beside its own (apt on Fedora,
// dnf on Debian) comes after the family's.
var managers = []struct{ name, family, file string }{
	{"apt", "Debian", "/usr/bin/apt-get"},
	{"dnf5", "RedHat", "/usr/bin/dnf5"},
	{"dnf", "RedHat", "/usr/bin/dnf"},
	{"dnf", "RedHat", "/usr/bin/dnf-3"},
	{"yum", "RedHat", "/usr/bin/yum"},
	{"dnf", "RedHat", "/usr/bin/microdnf"},
	{"zypper", "Suse", "/usr/bin/zypper"},
	{"pacman", "Archlinux", "/usr/bin/pacman"},
	{"apk", "Alpine", "/sbin/apk"},
	{"apk", "Alpine", "/usr/bin/apk"},
	{"portage", "Gentoo", "/usr/bin/emerge"},
	{"xbps", "Void", "/usr/bin/xbps-install"},
	{"opkg", "OpenWrt", "/bin/opkg"},
	{"urpmi", "Mandrake", "/usr/sbin/urpmi"},
	{"swupd", "ClearLinux", "/usr/bin/swupd"},
	{"nix", "NixOS", "/run/current-system/sw/bin/nix"},
	{"homebrew", "Darwin", "/opt/homebrew/bin/brew"},
	{"homebrew", "Darwin", "/usr/local/bin/brew"},
}

func (h host) packageManager(ctx context.Context) (map[string]any, error) {
	family := ""
	if d, err := h.system(ctx); err == nil {
		family, _ = d["os_family"].(string)
	}
	other := ""
	for _, m := range managers {
		if !h.exists(m.file) {
			continue
		}
		if m.family == family {
			return map[string]any{"pkg_mgr": m.name}, nil
		}
		if other == "" {
			other = m.name
		}
	}
	if other == "" {
		other = "unknown"
	}
	return map[string]any{"pkg_mgr": other}, nil
}

func (h host) identity(context.Context) (map[string]any, error) {
	out := map[string]any{}
	id := h.read("/etc/machine-id")
	if id == "" {
		id = h.read("/var/lib/dbus/machine-id")
	}
	put(out, "machine_id", id)
	boot := h.read("/proc/sys/kernel/random/boot_id")
	if boot == "" {
		boot = bootID()
	}
	put(out, "boot_id", boot)
	return out, nil
}

func (h host) names(context.Context) (map[string]any, error) {
	node, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	short, _, _ := strings.Cut(node, ".")
	return map[string]any{"nodename": node, "hostname": short}, nil
}

// fullName is the host's name with its domain, as "hostname -f" finds it: in
// /etc/hosts, else from DNS.
func (h host) fullName(ctx context.Context) (map[string]any, error) {
	node, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	name := node
	if !strings.Contains(node, ".") {
		if found := inHosts(h.lines("/etc/hosts"), node); found != "" {
			name = found
		} else if cname, err := net.DefaultResolver.LookupCNAME(ctx, node); err == nil {
			name = strings.TrimSuffix(cname, ".")
		}
	}
	_, domain, _ := strings.Cut(name, ".")
	return map[string]any{"fqdn": name, "domain": domain}, nil
}

// inHosts returns the canonical name of node: the first with a dot on its line,
// else the node's own.
func inHosts(lines []string, node string) string {
	for _, line := range lines {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		for _, name := range f[1:] {
			if !strings.EqualFold(name, node) {
				continue
			}
			for _, full := range f[1:] {
				if strings.HasPrefix(full, node+".") {
					return full
				}
			}
			return node
		}
	}
	return ""
}

func (h host) security(context.Context) (map[string]any, error) {
	out := map[string]any{
		"fips":     h.read("/proc/sys/crypto/fips_enabled") == "1",
		"apparmor": map[string]any{"status": map[bool]string{true: "enabled", false: "disabled"}[h.exists("/sys/kernel/security/apparmor")]},
	}
	se := map[string]any{"status": "disabled"}
	if enforce := h.read("/sys/fs/selinux/enforce"); enforce != "" {
		se["status"] = "enabled"
		se["mode"] = map[bool]string{true: "enforcing", false: "permissive"}[enforce == "1"]
		put(se, "policyvers", h.read("/sys/fs/selinux/policyvers"))
		for _, line := range h.lines("/etc/selinux/config") {
			switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
			case "SELINUX":
				se["config_mode"] = value
			case "SELINUXTYPE":
				se["type"] = value
			}
		}
	}
	out["selinux"] = se
	return out, nil
}

func (h host) commandLine(context.Context) (map[string]any, error) {
	text := h.read("/proc/cmdline")
	if text == "" {
		return nil, nil
	}
	out := map[string]any{}
	for _, word := range strings.Fields(text) {
		if k, v, ok := strings.Cut(word, "="); ok {
			out[k] = v
		} else {
			out[word] = true
		}
	}
	return map[string]any{"cmdline": out}, nil
}

func (h host) hostKeys(context.Context) (map[string]any, error) {
	out := map[string]any{}
	for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
		f := strings.Fields(h.read(fmt.Sprintf("/etc/ssh/ssh_host_%s_key.pub", kind)))
		if len(f) >= 2 {
			out["ssh_host_key_"+kind+"_public"] = f[1]
			out["ssh_host_key_"+kind+"_public_keytype"] = f[0]
		}
	}
	return out, nil
}

// dmi are Ansible's names of what the firmware says about the machine.
var dmi = map[string]string{
	"bios_date": "bios_date", "bios_vendor": "bios_vendor", "bios_version": "bios_version",
	"board_asset_tag": "board_asset_tag", "board_name": "board_name", "board_serial": "board_serial",
	"board_vendor": "board_vendor", "board_version": "board_version", "chassis_asset_tag": "chassis_asset_tag",
	"chassis_serial": "chassis_serial", "chassis_vendor": "chassis_vendor", "chassis_version": "chassis_version",
	"product_name": "product_name", "product_serial": "product_serial", "product_uuid": "product_uuid",
	"product_version": "product_version", "system_vendor": "sys_vendor",
}

// firmware reads DMI; what only root may read, or what is not there, is "NA".
func (h host) firmware(context.Context) (map[string]any, error) {
	out := map[string]any{}
	for fact, file := range dmi {
		v := h.read("/sys/devices/virtual/dmi/id/" + file)
		if v == "" {
			v = "NA"
		}
		out[fact] = v
	}
	return out, nil
}
