// Package waitfor is the module wait_for: wait until a port, a file, a command
// or a function says that something is ready, or say at the deadline what was
// seen last.
package waitfor

import (
	"time"

	"github.com/sloth-runner/sloth/modules"
)

const result = "{success, changed = false, elapsed, attempts, seen, …}"

// Module describes the module wait_for.
func Module() modules.Module {
	patient := patience{Timeout: 5 * time.Minute, Interval: time.Second}
	return modules.Module{
		Name:    "wait_for",
		Summary: "Wait until a port, a file, a command or a function says that something is ready; a plan does not wait.",
		Call:    "condition",
		Funcs: []modules.Func{
			{
				Name: "condition", Summary: "Wait for what the named arguments say; raises at the deadline with what was seen last.",
				Example: `wait_for({ port = 22, timeout = 60 })`, Returns: result,
				New: func() any { return &condition{patience: patient} },
			},
			{
				Name: "port", Summary: "Wait until something answers at a TCP port, or until nothing does.",
				Example: `wait_for.port(22, { timeout = "1m" })`, Returns: result,
				New: func() any { return &onPort{patience: patient} },
			},
			{
				Name: "file", Aliases: []string{"path"}, Summary: "Wait until a file is there, holds something, or is gone.",
				Example: `wait_for.file("/etc/hostname")`, Returns: result + "; with search_regex also match and groups",
				New: func() any { return &onFile{patience: patient} },
			},
			{
				Name: "command", Summary: "Wait until a command succeeds, and prints a text where one is expected; it must change nothing.",
				Example: `wait_for.command("systemctl is-system-running --wait || true")`, Returns: result + "; also stdout, stderr and exit_code",
				New: func() any { return &onCommand{patience: patient} },
			},
			{
				// until is a keyword of Lua: written with a dot it does not parse.
				Name: "check", Aliases: []string{"until", "fn"}, Summary: "Wait until a function neither raises nor returns false or nil.",
				Example: `wait_for.check(function() return fs.exists("/etc/hostname") end)`, Returns: result + "; value is what the function returned",
				New: func() any { return &onCheck{patience: patient} },
			},
		},
	}
}

// patience is what all kinds of waiting have in common.
type patience struct {
	Timeout  time.Duration `lua:"timeout" doc:"How long to wait, in seconds or text such as \"5m\""`
	Delay    time.Duration `lua:"delay" doc:"How long to wait before the first look"`
	Interval time.Duration `lua:"interval" alias:"sleep,poll" doc:"Time between two looks"`
	Msg      string        `lua:"msg" alias:"message" doc:"Said at the deadline, before what was seen last"`
}

type portArgs struct {
	Host  string `lua:"host" alias:"address" pos:"2" doc:"Name or address to connect to; this host by default. With drained: the local address whose connections count"`
	State string `lua:"state" enum:"started,present,stopped,absent,drained" doc:"Something answers (started, present), nothing does (stopped, absent), or no connection to the port is left (drained)"`
	Regex string `lua:"search_regex" alias:"regex" doc:"What the server must say by itself once connected"`
}

type onPort struct {
	Port int `lua:"port,required" pos:"1" doc:"Number of the TCP port"`
	portArgs
	patience
}

type onFile struct {
	Path  string `lua:"path,required,path" alias:"file,name" pos:"1" doc:"The file or folder"`
	State string `lua:"state" enum:"present,started,absent,stopped" doc:"Whether it must be there"`
	Regex string `lua:"search_regex" alias:"regex" doc:"What a line of the file must match"`
	patience
}

type onCommand struct {
	Cmd    string `lua:"command,required" alias:"cmd" pos:"1" doc:"Command for the shell, which must change nothing"`
	Expect string `lua:"expect" alias:"until" pos:"2" doc:"Text that it must print"`
	Regex  string `lua:"search_regex" alias:"regex" doc:"What its output must match"`
	patience
}

type onCheck struct {
	Fn modules.Callback `lua:"fn,required" alias:"check,until" pos:"1" doc:"The function; an error counts as not yet"`
	patience
}

type condition struct {
	Port   int    `lua:"port" doc:"Number of a TCP port to wait for"`
	Path   string `lua:"path,path" alias:"file" doc:"A file or folder to wait for"`
	Cmd    string `lua:"command" alias:"cmd" doc:"A command for the shell to wait for, which must change nothing"`
	Check  any    `lua:"check" alias:"until,expect" doc:"A function to wait for; or, with command, the text that it must print"`
	Host   string `lua:"host" alias:"address" doc:"Where the port is; this host by default"`
	State  string `lua:"state" enum:"started,present,stopped,absent,drained" doc:"For port: started, stopped or drained; for path: present or absent"`
	Search string `lua:"search_regex" alias:"regex" doc:"What the server must say by itself, the file hold, or the command print"`
	patience
}
