package facts

import (
	"maps"
	"slices"
	"time"
)

// collectors are all of them. A deadline other than the default belongs to one
// that may wait for something outside this machine or for somebody's script.
var collectors = []collector{
	{name: "distribution", find: host.system, facts: []string{
		"distribution", "os_family", "distribution_version", "distribution_release", "distribution_major_version",
		"distribution_minor_version",
	}},
	{name: "platform", find: host.kernel, facts: []string{
		"system", "kernel", "kernel_version", "machine", "architecture", "userspace_architecture", "userspace_bits",
	}},
	{name: "hardware", find: processorOf, facts: []string{
		"processor", "processor_count", "processor_cores", "processor_threads_per_core", "processor_vcpus", "processor_nproc",
	}},
	{name: "memory", find: memoryOf, facts: []string{
		"memtotal_mb", "memfree_mb", "memavailable_mb", "swaptotal_mb", "swapfree_mb", "memory_mb",
	}},
	{name: "load", find: host.load, facts: []string{"loadavg"}},
	{name: "uptime", find: host.uptime, facts: []string{"uptime_seconds"}},
	{name: "identity", find: host.identity, facts: []string{"machine_id", "boot_id"}},
	{name: "names", find: host.names, facts: []string{"hostname", "nodename"}},
	{name: "fullname", find: host.fullName, limit: 300 * time.Millisecond, facts: []string{"fqdn", "domain"}},
	{name: "dns_client", find: host.dns, facts: []string{"dns"}},
	{name: "mount_table", find: host.mounts, facts: []string{"mounts"}},
	{name: "service", find: host.serviceManager, facts: []string{"service_mgr"}},
	{name: "package", find: host.packageManager, facts: []string{"pkg_mgr"}},
	{name: "virtual", find: host.virtualization, facts: []string{
		"virtualization_type", "virtualization_role", "virtualization_tech_guest", "virtualization_tech_host",
	}},
	{name: "dmi", find: host.firmware, facts: slices.Sorted(maps.Keys(dmi))},
	{name: "security", find: host.security, facts: []string{"selinux", "apparmor", "fips"}},
	{name: "boot", find: host.commandLine, facts: []string{"cmdline"}},
	{name: "host_keys", find: host.hostKeys, facts: []string{
		"ssh_host_key_rsa_public", "ssh_host_key_rsa_public_keytype", "ssh_host_key_ecdsa_public",
		"ssh_host_key_ecdsa_public_keytype", "ssh_host_key_ed25519_public", "ssh_host_key_ed25519_public_keytype",
	}},
	{name: "date", find: host.clock, facts: []string{"date_time"}},
	{name: "account", find: host.account, facts: []string{
		"user", "user_id", "user_uid", "user_gid", "user_gecos", "user_dir", "user_shell",
		"real_user_id", "effective_user_id", "real_group_id", "effective_group_id",
	}},
	{name: "environment", find: host.environment, facts: []string{"env"}},
	{name: "custom", find: host.custom, limit: localLimit, facts: []string{"local"}},
	// The names of interfaces are facts too, so the network comes last: a name
	// that another collector has already given stays that one's.
	{name: "network", find: host.network, facts: []string{
		"interfaces", "default_ipv4", "default_ipv6", "all_ipv4_addresses", "all_ipv6_addresses",
	}},
}
