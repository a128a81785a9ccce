package facts

import (
	"context"
	"strings"
)

// families maps the distribution names of Ansible to its os_family.
var families = map[string]string{
	"Debian": "Debian", "Ubuntu": "Debian", "Raspbian": "Debian", "Linux Mint": "Debian", "Kali": "Debian",
	"Pop!_OS": "Debian", "Devuan": "Debian", "Neon": "Debian", "KDE neon": "Debian", "elementary OS": "Debian",
	"Deepin": "Debian", "Parrot": "Debian", "Univention Corporate Server": "Debian", "Zorin OS": "Debian",
	"RedHat": "RedHat", "CentOS": "RedHat", "Fedora": "RedHat", "Rocky": "RedHat", "AlmaLinux": "RedHat",
	"OracleLinux": "RedHat", "Amazon": "RedHat", "Scientific": "RedHat", "EuroLinux": "RedHat", "MIRACLE": "RedHat",
	"openEuler": "RedHat", "Anolis": "RedHat", "VirtuozzoLinux": "RedHat", "TencentOS": "RedHat",
	"SLES": "Suse", "SLED": "Suse", "openSUSE": "Suse", "openSUSE Leap": "Suse", "openSUSE Tumbleweed": "Suse",
	"openSUSE MicroOS": "Suse", "SLE Micro": "Suse", "SL-Micro": "Suse",
	"Archlinux": "Archlinux", "Manjaro": "Archlinux", "Antergos": "Archlinux", "EndeavourOS": "Archlinux",
	"Gentoo": "Gentoo", "Funtoo": "Gentoo", "Alpine": "Alpine", "Slackware": "Slackware", "Void": "Void",
	"NixOS": "NixOS", "Altlinux": "Altlinux", "Mandriva": "Mandrake", "Mageia": "Mandrake", "ClearLinux": "ClearLinux",
	"OpenWrt": "OpenWrt", "Flatcar": "Flatcar", "MacOSX": "Darwin",
}

// distributions maps the ID of /etc/os-release to Ansible's name.
var distributions = map[string]string{
	"debian": "Debian", "ubuntu": "Ubuntu", "raspbian": "Raspbian", "linuxmint": "Linux Mint", "kali": "Kali",
	"pop": "Pop!_OS", "devuan": "Devuan", "neon": "KDE neon", "elementary": "elementary OS", "deepin": "Deepin",
	"parrot": "Parrot", "zorin": "Zorin OS", "ucs": "Univention Corporate Server",
	"rhel": "RedHat", "centos": "CentOS", "fedora": "Fedora", "rocky": "Rocky", "almalinux": "AlmaLinux",
	"ol": "OracleLinux", "amzn": "Amazon", "scientific": "Scientific", "eurolinux": "EuroLinux",
	"miraclelinux": "MIRACLE", "openEuler": "openEuler", "anolis": "Anolis", "virtuozzo": "VirtuozzoLinux",
	"tencentos": "TencentOS",
	"sles":      "SLES", "sled": "SLED", "opensuse-leap": "openSUSE Leap", "opensuse-tumbleweed": "openSUSE Tumbleweed",
	"opensuse-microos": "openSUSE MicroOS", "opensuse": "openSUSE", "sle-micro": "SLE Micro", "sl-micro": "SL-Micro",
	"arch": "Archlinux", "manjaro": "Manjaro", "manjaro-arm": "Manjaro", "endeavouros": "EndeavourOS",
	"gentoo": "Gentoo", "funtoo": "Funtoo", "alpine": "Alpine", "slackware": "Slackware", "void": "Void",
	"nixos": "NixOS", "altlinux": "Altlinux", "mageia": "Mageia", "clear-linux-os": "ClearLinux", "openwrt": "OpenWrt",
	"flatcar": "Flatcar",
}

var likes = map[string]string{
	"debian": "Debian", "ubuntu": "Debian", "rhel": "RedHat", "fedora": "RedHat", "centos": "RedHat",
	"suse": "Suse", "opensuse": "Suse", "arch": "Archlinux", "gentoo": "Gentoo", "alpine": "Alpine",
}

func (h host) distribution(context.Context) (map[string]any, error) {
	rel := h.osRelease()
	id := rel["ID"]
	name := distributions[id]
	if name == "" {
		if name = rel["NAME"]; name == "" {
			name = "Linux"
		}
	}
	version, release := rel["VERSION_ID"], rel["VERSION_CODENAME"]
	switch name {
	case "Debian":
		// The point release is in debian_version alone; testing has words there.
		if v := h.read("/etc/debian_version"); v != "" && v[0] >= '0' && v[0] <= '9' && strings.HasPrefix(v, version) {
			version = v
		}
	case "Archlinux":
		if version == "" {
			version = "rolling"
		}
	case "CentOS":
		if v := versionIn(h.read("/etc/centos-release")); v != "" && strings.HasPrefix(v, version) {
			version = v
		}
		if strings.Contains(rel["NAME"], "Stream") {
			release = "Stream"
		}
	case "openSUSE Tumbleweed":
		release = rel["VERSION_ID"]
	}
	if release == "" {
		if at := strings.Index(rel["VERSION"], "("); at >= 0 {
			release = strings.Trim(rel["VERSION"][at:], "()")
		}
	}
	family := families[name]
	if family == "" {
		for _, like := range append([]string{id}, strings.Fields(rel["ID_LIKE"])...) {
			if family = likes[like]; family != "" {
				break
			}
		}
	}
	if family == "" {
		family = name
	}
	major, minor, _ := strings.Cut(version, ".")
	minor, _, _ = strings.Cut(minor, ".")
	na := func(s string) string {
		if s == "" {
			return "NA"
		}
		return s
	}
	return map[string]any{
		"distribution": name, "os_family": family, "distribution_version": na(version),
		"distribution_release": na(release), "distribution_major_version": na(major),
		"distribution_minor_version": na(minor),
	}, nil
}

// osRelease reads the shell assignments of os-release without any shell.
func (h host) osRelease() map[string]string {
	lines := h.lines("/etc/os-release")
	if lines == nil {
		lines = h.lines("/usr/lib/os-release")
	}
	out := map[string]string{}
	for _, line := range lines {
		k, v, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(k, "#") {
			out[k] = unquote(v)
		}
	}
	return out
}

// unquote takes the shell's quotes off one word.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		inner := s[1 : len(s)-1]
		if s[0] == '"' {
			inner = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\$`, `$`, "\\`", "`").Replace(inner)
		}
		return inner
	}
	return s
}

// versionIn finds the first dotted number in a line such as
// "CentOS Linux release 7.9.2009 (Core)".
func versionIn(s string) string {
	for _, word := range strings.Fields(s) {
		if word[0] >= '0' && word[0] <= '9' {
			return word
		}
	}
	return ""
}
