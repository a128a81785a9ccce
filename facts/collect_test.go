package facts

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// unavailable skips, or fails where everything has to run.
func unavailable(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("SLOTH_MUST_RUN") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

func command(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		unavailable(t, strings.Join(argv, " ")+": "+err.Error())
	}
	return strings.TrimSpace(string(out))
}

func TestCollectAgreesWithCommands(t *testing.T) {
	f := Collect(context.Background())
	for fact, argv := range map[string][]string{
		"kernel":          {"uname", "-r"},
		"kernel_version":  {"uname", "-v"},
		"system":          {"uname", "-s"},
		"machine":         {"uname", "-m"},
		"nodename":        {"uname", "-n"},
		"processor_nproc": {"nproc"},
		"user_id":         {"id", "-un"},
		"user":            {"id", "-un"},
		"user_uid":        {"id", "-u"},
		"user_gid":        {"id", "-g"},
	} {
		want := command(t, argv...)
		got, ok := f[fact]
		if n, isInt := got.(int); isInt {
			got = strconv.Itoa(n)
		}
		if !ok || got != want {
			t.Errorf("%s is %v, %s says %q", fact, got, strings.Join(argv, " "), want)
		}
	}
	for _, name := range []string{"os_family", "distribution", "distribution_version", "processor_vcpus", "memtotal_mb", "memfree_mb",
		"swaptotal_mb", "interfaces", "mounts", "service_mgr", "pkg_mgr", "virtualization_type", "virtualization_role", "boot_id",
		"hostname", "fqdn", "date_time", "env", "uptime_seconds", "selinux", "local", "default_ipv4", "default_ipv6"} {
		if f[name] == nil {
			t.Errorf("%s is missing: %v", name, f[Errors])
		}
	}
	if f["python"] != nil {
		t.Error("there is no Python to tell about")
	}
	if up := f["uptime_seconds"].(int); up < 1 || up > 10*365*24*3600 {
		t.Errorf("uptime_seconds is %d", up)
	}
	if lo, _ := f["lo"].(map[string]any); lo == nil || lo["type"] != "loopback" {
		t.Errorf("lo is %v", f["lo"])
	}
}

// TestCollectAgreesWithAnsible compares what does not change from one second to
// the next with what Ansible's own setup module says.
func TestCollectAgreesWithAnsible(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs Ansible")
	}
	if _, err := exec.LookPath("ansible"); err != nil {
		unavailable(t, "ansible is not installed")
	}
	cmd := exec.Command("ansible", "localhost", "-c", "local", "-m", "setup")
	cmd.Env = append(os.Environ(), "ANSIBLE_LOCALHOST_WARNING=0", "ANSIBLE_NOCOLOR=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(out), "=> ")
	var answer struct {
		Facts map[string]any `json:"ansible_facts"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	mine := overJSON(t, Collect(context.Background()))
	for _, name := range []string{
		"all_ipv4_addresses", "all_ipv6_addresses", "apparmor", "architecture", "cmdline", "default_ipv4", "default_ipv6",
		"distribution", "distribution_major_version", "distribution_minor_version", "distribution_release", "distribution_version",
		"dns", "fips", "hostname", "kernel", "kernel_version", "lo", "machine", "memtotal_mb", "nodename", "os_family", "pkg_mgr",
		"processor", "processor_cores", "processor_count", "processor_nproc", "processor_threads_per_core", "processor_vcpus",
		"product_name", "real_group_id", "real_user_id", "selinux", "service_mgr", "swaptotal_mb", "system", "user_dir",
		"user_gecos", "user_gid", "user_id", "user_shell", "user_uid", "userspace_architecture", "userspace_bits",
		"virtualization_role", "virtualization_type",
	} {
		if want := answer.Facts["ansible_"+name]; !reflect.DeepEqual(mine[name], want) {
			t.Errorf("%s is %v, Ansible says %v", name, mine[name], want)
		}
	}
}

func overJSON(t *testing.T, m map[string]any) map[string]any {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCollectChooses(t *testing.T) {
	f := Collect(context.Background(), "kernel", "ansible_os_family", "memory", "lo", "nonsense")
	for _, name := range []string{"kernel", "os_family", "memtotal_mb", "memory_mb", "lo"} {
		if f[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
	if f["architecture"] != nil || f["interfaces"] != nil {
		t.Error("more came than was asked for")
	}
	want := map[string]any{"nonsense": "this machine does not have it"}
	if !reflect.DeepEqual(f[Errors], want) {
		t.Errorf("errors are %v, want %v", f[Errors], want)
	}
}

func TestOneStuckCollectorHidesItsOwnFactsOnly(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	list := []collector{
		{name: "good", facts: []string{"a"}, find: func(host, context.Context) (map[string]any, error) { return map[string]any{"a": 1}, nil }},
		{name: "stuck", facts: []string{"b"}, limit: 20 * time.Millisecond, find: func(host, context.Context) (map[string]any, error) {
			<-release // a system call that does not care about contexts
			return nil, nil
		}},
		{name: "broken", facts: []string{"c"}, find: func(host, context.Context) (map[string]any, error) { panic("oh") }},
		{name: "late", facts: []string{"a"}, find: func(host, context.Context) (map[string]any, error) { return map[string]any{"a": 2}, nil }},
	}
	f := host{root: "/"}.collect(context.Background(), list, nil)
	reasons, _ := f[Errors].(map[string]any)
	if f["a"] != 1 || len(reasons) != 2 || reasons["broken"] != "the collector failed: oh" ||
		!strings.HasPrefix(reasons["stuck"].(string), "no answer within ") {
		t.Errorf("got %v", f)
	}
}

func TestCollectEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	list := []collector{{name: "x", facts: []string{"x"}, limit: time.Hour, find: func(_ host, ctx context.Context) (map[string]any, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}}}
	f := host{root: "/"}.collect(ctx, list, nil)
	if reasons := f[Errors].(map[string]any); reasons["x"] != "context canceled" {
		t.Errorf("got %v", f)
	}
}

func TestNames(t *testing.T) {
	names := Names()
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] {
			t.Errorf("%s is there twice", n)
		}
		seen[n] = true
	}
	if len(names) < 80 {
		t.Errorf("only %d facts", len(names))
	}
}

// tree makes a root folder of files.
func tree(t *testing.T, files map[string]string) host {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return host{root: root}
}

func TestDistributions(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  [5]string // distribution, family, version, release, major
	}{
		{"debian", map[string]string{"etc/os-release": "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n", "etc/debian_version": "12.11\n"}, [5]string{"Debian", "Debian", "12.11", "bookworm", "12"}},
		{"debian testing", map[string]string{"etc/os-release": "ID=debian\nVERSION_CODENAME=trixie\n", "etc/debian_version": "trixie/sid\n"}, [5]string{"Debian", "Debian", "NA", "trixie", "NA"}},
		{"ubuntu", map[string]string{"etc/os-release": "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"22.04\"\nVERSION_CODENAME=jammy\n", "etc/debian_version": "bookworm/sid\n"}, [5]string{"Ubuntu", "Debian", "22.04", "jammy", "22"}},
		{"alma", map[string]string{"etc/os-release": "NAME=\"AlmaLinux\"\nVERSION=\"9.3 (Shamrock Pampas Cat)\"\nID=\"almalinux\"\nVERSION_ID=\"9.3\"\n"}, [5]string{"AlmaLinux", "RedHat", "9.3", "Shamrock Pampas Cat", "9"}},
		{"centos 7", map[string]string{"etc/os-release": "ID=\"centos\"\nVERSION=\"7 (Core)\"\nVERSION_ID=\"7\"\n", "etc/centos-release": "CentOS Linux release 7.9.2009 (Core)\n"}, [5]string{"CentOS", "RedHat", "7.9.2009", "Core", "7"}},
		{"stream", map[string]string{"etc/os-release": "NAME=\"CentOS Stream\"\nID=\"centos\"\nVERSION=\"9\"\nVERSION_ID=\"9\"\n"}, [5]string{"CentOS", "RedHat", "9", "Stream", "9"}},
		{"alpine", map[string]string{"etc/os-release": "ID=alpine\nVERSION_ID=3.19.1\n"}, [5]string{"Alpine", "Alpine", "3.19.1", "NA", "3"}},
		{"arch", map[string]string{"etc/os-release": "ID=arch\nNAME=\"Arch Linux\"\n"}, [5]string{"Archlinux", "Archlinux", "rolling", "NA", "rolling"}},
		{"leap", map[string]string{"etc/os-release": "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID=\"15.5\"\n"}, [5]string{"openSUSE Leap", "Suse", "15.5", "NA", "15"}},
		{"a child of debian", map[string]string{"usr/lib/os-release": "ID=someos\nNAME=\"Some OS\"\nID_LIKE=\"ubuntu debian\"\nVERSION_ID='1.2'\n"}, [5]string{"Some OS", "Debian", "1.2", "NA", "1"}},
		{"nothing", nil, [5]string{"Linux", "Linux", "NA", "NA", "NA"}},
	} {
		f, err := tree(t, c.files).distribution(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		got := [5]string{}
		for i, k := range []string{"distribution", "os_family", "distribution_version", "distribution_release", "distribution_major_version"} {
			got[i] = f[k].(string)
		}
		if got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestProcessors(t *testing.T) {
	two := "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon\nphysical id\t: 0\nsiblings\t: 4\ncpu cores\t: 2\n\n"
	var intel strings.Builder
	for i := range 8 {
		s := strings.Replace(two, "processor\t: 0", "processor\t: "+strconv.Itoa(i), 1)
		intel.WriteString(strings.Replace(s, "physical id\t: 0", "physical id\t: "+strconv.Itoa(i/4), 1))
	}
	for _, c := range []struct {
		name, text                             string
		count, cores, threads, vcpus, nproc, n int
	}{
		{"two sockets with threads", intel.String(), 2, 2, 2, 8, 8, 24},
		{"arm", "processor\t: 0\nBogoMIPS\t: 50\n\nprocessor\t: 1\nBogoMIPS\t: 50\n", 2, 1, 1, 2, 2, 2},
		{"old arm", "Processor\t: ARMv7 rev 5\nprocessor\t: 0\n", 1, 1, 1, 1, 1, 2},
		{"empty", "", 0, 1, 1, 0, 0, 0},
	} {
		f := parseCPU(c.text)
		got := []any{f["processor_count"], f["processor_cores"], f["processor_threads_per_core"], f["processor_vcpus"], f["processor_nproc"], len(f["processor"].([]any))}
		if want := []any{c.count, c.cores, c.threads, c.vcpus, c.nproc, c.n}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", c.name, got, want)
		}
	}
}

func TestMemory(t *testing.T) {
	f, err := parseMemory("MemTotal:       2048000 kB\nMemFree:         512000 kB\nMemAvailable:   1024000 kB\nBuffers:          10240 kB\nCached:          102400 kB\nSwapTotal:       204800 kB\nSwapFree:        102400 kB\n")
	if err != nil {
		t.Fatal(err)
	}
	if f["memtotal_mb"] != 2000 || f["memfree_mb"] != 500 || f["memavailable_mb"] != 1000 || f["swaptotal_mb"] != 200 || f["swapfree_mb"] != 100 {
		t.Errorf("got %v", f)
	}
	if _, err := parseMemory("nonsense"); err == nil {
		t.Error("nonsense was taken for memory")
	}
}

func TestMountinfo(t *testing.T) {
	got := parseMountinfo(strings.Split(`22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
30 22 0:26 / /mnt/with\040blank ro,nosuid - nfs4 server:/export rw,vers=4.2
31 22 0:27 / /proc rw - proc proc rw
torn line
`, "\n"))
	want := []mount{
		{"/dev/vda1", "/", "ext4", "rw,relatime,errors=remount-ro"},
		{"server:/export", "/mnt/with blank", "nfs4", "ro,nosuid,vers=4.2"},
		{"proc", "/proc", "proc", "rw"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestServiceAndPackageManagers(t *testing.T) {
	for _, c := range []struct {
		files        map[string]string
		service, pkg string
	}{
		{map[string]string{"run/systemd/system/x": "", "etc/os-release": "ID=debian\n", "usr/bin/apt-get": "", "usr/bin/dnf": ""}, "systemd", "apt"},
		{map[string]string{"proc/1/comm": "init\n", "sbin/openrc": "", "etc/os-release": "ID=alpine\n", "sbin/apk": ""}, "openrc", "apk"},
		{map[string]string{"proc/1/comm": "init\n", "etc/init.d/x": "", "etc/os-release": "ID=fedora\n", "usr/bin/apt-get": "", "usr/bin/dnf": ""}, "sysvinit", "dnf"},
		{map[string]string{"proc/1/comm": "tini\n"}, "tini", "unknown"},
		{map[string]string{"proc/1/comm": "bash\n"}, "service", "unknown"},
	} {
		h := tree(t, c.files)
		s, _ := h.serviceManager(context.Background())
		p, _ := h.packageManager(context.Background())
		if s["service_mgr"] != c.service || p["pkg_mgr"] != c.pkg {
			t.Errorf("%v: got %v and %v", sortedKeys(c.files), s, p)
		}
	}
}

func TestVirtualization(t *testing.T) {
	const id = "sys/devices/virtual/dmi/id/"
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{nil, "NA NA"},
		{map[string]string{".dockerenv": "", id + "sys_vendor": "QEMU"}, "docker guest"},
		{map[string]string{"run/.containerenv": ""}, "podman guest"},
		{map[string]string{"run/systemd/container": "systemd-nspawn\n"}, "systemd-nspawn guest"},
		{map[string]string{"proc/1/environ": "A=b\x00container=lxc\x00"}, "lxc guest"},
		{map[string]string{id + "product_name": "VMware Virtual Platform"}, "VMware guest"},
		{map[string]string{id + "product_name": "VirtualBox"}, "virtualbox guest"},
		{map[string]string{id + "product_name": "Virtual Machine", id + "sys_vendor": "Microsoft Corporation"}, "VirtualPC guest"},
		{map[string]string{id + "sys_vendor": "Amazon EC2"}, "kvm guest"},
		{map[string]string{id + "product_name": "PowerEdge R740", "dev/kvm": ""}, "kvm host"},
		{map[string]string{"proc/xen/capabilities": "control_d\n", "sys/hypervisor/type": "xen\n"}, "xen host"},
	} {
		f, err := tree(t, c.files).virtualization(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got := f["virtualization_type"].(string) + " " + f["virtualization_role"].(string); got != c.want {
			t.Errorf("%v: got %s, want %s", sortedKeys(c.files), got, c.want)
		}
	}
}

func TestHostNames(t *testing.T) {
	for _, c := range []struct{ hosts, want string }{
		{"127.0.1.1 web.example.com web\n", "web.example.com"},
		{"127.0.1.1 web web.example.com # web.wrong\n", "web.example.com"},
		{"127.0.1.1 other\n10.0.0.1 web\n", "web"},
		{"# web.example.com web\n", ""},
	} {
		if got := inHosts(strings.Split(c.hosts, "\n"), "web"); got != c.want {
			t.Errorf("%q: got %q, want %q", c.hosts, got, c.want)
		}
	}
}

func TestDateTime(t *testing.T) {
	now := time.Date(2024, 3, 5, 7, 8, 9, 123456000, time.FixedZone("CET", 3600))
	got := dateTime(now)
	want := map[string]any{
		"year": "2024", "month": "03", "day": "05", "hour": "07", "minute": "08", "second": "09", "weekday": "Tuesday",
		"weekday_number": "2", "weeknumber": "10", "epoch": "1709618889", "epoch_int": "1709618889", "date": "2024-03-05",
		"time": "07:08:09", "iso8601": "2024-03-05T06:08:09Z", "iso8601_micro": "2024-03-05T06:08:09.123456Z",
		"iso8601_basic": "20240305T070809123456", "iso8601_basic_short": "20240305T070809", "tz": "CET", "tz_dst": "CET", "tz_offset": "+0100",
	}
	for _, k := range sortedKeys(want) {
		if got[k] != want[k] {
			t.Errorf("%s is %v, want %v", k, got[k], want[k])
		}
	}
}

func TestSecurity(t *testing.T) {
	h := tree(t, map[string]string{
		"sys/fs/selinux/enforce": "1", "sys/fs/selinux/policyvers": "33",
		"etc/selinux/config": "# x\nSELINUX=enforcing\nSELINUXTYPE=targeted\n", "proc/sys/crypto/fips_enabled": "1\n",
	})
	f, _ := h.security(context.Background())
	want := map[string]any{"status": "enabled", "mode": "enforcing", "policyvers": "33", "config_mode": "enforcing", "type": "targeted"}
	if !reflect.DeepEqual(f["selinux"], want) || f["fips"] != true {
		t.Errorf("got %v", f)
	}
}

func BenchmarkCollect(b *testing.B) {
	for b.Loop() {
		if f := Collect(context.Background()); len(f) < 80 {
			b.Fatal(len(f))
		}
	}
}

func FuzzParsers(f *testing.F) {
	f.Add("processor: 0\nMemTotal: 1 kB\n36 35 98:0 / / rw - ext4 /dev/x rw\n[a]\nb=c\nID=\"x\n")
	f.Fuzz(func(t *testing.T, text string) {
		parseCPU(text)
		if m, err := parseMemory(text); err == nil && len(m) == 0 {
			t.Error("memory without facts")
		}
		lines := strings.Split(text, "\n")
		parseMountinfo(lines)
		inHosts(lines, "web")
		v, err := parseFact([]byte(text))
		if err == nil {
			if _, err := json.Marshal(v); err != nil {
				t.Errorf("%q gives what is no data: %v", text, err)
			}
		}
		for _, line := range lines {
			unquote(line)
		}
	})
}
