// Package infratest is the module infra_test: assertions about a host, answered
// from /proc, stat and sockets, so that hosts need no tools for them.
package infratest

import "github.com/sloth-runner/sloth/modules"

const yes = "true; raises with what was expected and what was found"

// Module describes the module infra_test.
func Module() modules.Module {
	return modules.Module{
		Name:    "infra_test",
		Summary: "Assert what a host should be like; every function raises when it is not so.",
		Funcs: withNames([]modules.Func{
			{Name: "file_exists", Summary: "Assert that something is at a path.", Returns: yes,
				Example: `infra_test.file_exists("/etc/hosts")`, New: func() any { return &fileIs{} }},
			{Name: "is_directory", Summary: "Assert that a path is a folder, or leads to one.", Returns: yes,
				Example: `infra_test.is_directory("/etc")`, New: func() any { return &fileIs{kind: "directory"} }},
			{Name: "is_file", Summary: "Assert that a path is a regular file, or leads to one.", Returns: yes,
				Example: `infra_test.is_file("/etc/hosts")`, New: func() any { return &fileIs{kind: "file"} }},
			{Name: "file_mode", Summary: "Assert the permissions of a file.", Returns: yes,
				Example: `infra_test.file_mode("/etc/passwd", "0644")`, New: func() any { return &fileMode{} }},
			{Name: "file_owner", Summary: "Assert the owner of a file.", Returns: yes,
				Example: `infra_test.file_owner("/etc/passwd", "root")`, New: func() any { return &fileOwner{} }},
			{Name: "file_group", Summary: "Assert the group of a file.", Returns: yes,
				Example: `infra_test.file_group("/etc/passwd", "root")`, New: func() any { return &fileGroup{} }},
			{Name: "file_size", Summary: "Assert the size of a file in bytes.", Returns: yes,
				Example: `pcall(infra_test.file_size, "/etc/hostname", 7)`, New: func() any { return &fileSize{} }},
			{Name: "file_contains", Summary: "Assert that a text occurs in a file.", Returns: yes,
				Example: `infra_test.file_contains("/etc/passwd", "root:x:0:0")`, New: func() any { return &fileContains{} }},
			{Name: "port_is_listening", Summary: "Assert that something listens on a TCP or UDP port of the host.", Returns: yes,
				Example: `pcall(infra_test.port_is_listening, 22)`, New: func() any { return &port{} }},
			{Name: "port_is_tcp", Summary: "Assert that something listens on a TCP port of the host.", Returns: yes,
				Example: `pcall(infra_test.port_is_tcp, 22)`, New: func() any { return &port{proto: "tcp"} }},
			{Name: "port_is_udp", Summary: "Assert that something listens on a UDP port of the host.", Returns: yes,
				Example: `pcall(infra_test.port_is_udp, 53)`, New: func() any { return &port{proto: "udp"} }},
			{Name: "can_connect", Summary: "Assert that a TCP connection can be made from the host.", Returns: yes,
				Example: `pcall(infra_test.can_connect, "127.0.0.1", 22, 500)`, New: func() any { return &connect{Timeout: "5000"} }},
			{Name: "ping", Summary: "Assert that another host answers, to ICMP or where that is not allowed by TCP.", Returns: yes,
				Example: `pcall(infra_test.ping, "127.0.0.1")`, New: func() any { return &ping{Count: 3} }},
			{Name: "service_is_running", Summary: "Assert that a service runs.", Returns: yes,
				Example: `pcall(infra_test.service_is_running, "sshd")`, New: func() any { return &service{} }},
			{Name: "service_is_enabled", Summary: "Assert that a service starts at boot.", Returns: yes,
				Example: `pcall(infra_test.service_is_enabled, "ssh")`, New: func() any { return &service{enabled: true} }},
			{Name: "process_is_running", Summary: "Assert that a program runs, other than sloth itself.", Returns: yes,
				Example: `pcall(infra_test.process_is_running, "sshd")`, New: func() any { return &process{} }},
			{Name: "process_count", Summary: "Assert how many processes of a program run; those of sloth do not count.", Returns: yes,
				Example: `pcall(infra_test.process_count, "nginx", 4)`, New: func() any { return &processCount{} }},
			{Name: "command_succeeds", Summary: "Assert that a command ends with 0; it is not run in a plan.", Returns: yes,
				Example: `infra_test.command_succeeds("true")`, New: func() any { return &exits{} }},
			{Name: "command_fails", Summary: "Assert that a command ends with another code than 0; it is not run in a plan.", Returns: yes,
				Example: `infra_test.command_fails("false")`, New: func() any { return &exits{fails: true} }},
			{Name: "command_stdout_contains", Summary: "Assert that a text occurs in what a command prints; it is not run in a plan.", Returns: yes,
				Example: `infra_test.command_stdout_contains("echo hello", "hell")`, New: func() any { return &prints{} }},
			{Name: "command_stderr_is_empty", Summary: "Assert that a command does not complain; it is not run in a plan.", Returns: yes,
				Example: `infra_test.command_stderr_is_empty("true")`, New: func() any { return &silent{} }},
			{Name: "command_output_equals", Summary: "Assert what a command prints, but for line breaks at the end; it is not run in a plan.", Returns: yes,
				Example: `infra_test.command_output_equals("echo hello", "hello")`, New: func() any { return &prints{whole: true} }},
			{Name: "package_is_installed", Summary: "Assert that a package is installed.", Returns: yes,
				Example: `pcall(infra_test.package_is_installed, "bash")`, New: func() any { return &pack{} }},
			{Name: "package_version", Summary: "Assert the version of a package: all of it, or its first parts.", Returns: yes,
				Example: `pcall(infra_test.package_version, "bash", "5.2")`, New: func() any { return &packVersion{} }},
		}),
	}
}
