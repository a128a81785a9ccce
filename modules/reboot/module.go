// Package reboot is the module reboot: restart a host in the middle of a
// workflow, which goes on once the host is back.
package reboot

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// Module describes the module reboot.
func Module() modules.Module {
	return modules.Module{
		Name:    "reboot",
		Summary: "Restart the host when the task is done; the next task runs once the host has come back.",
		Call:    "now",
		Funcs: []modules.Func{
			{
				Name: "now", Summary: "Restart the host as soon as this task's function has returned, and go on with the next task when it has come back with another boot id.",
				Returns: "{success, changed, message, boot_id}", Example: `reboot({ timeout = "10m", msg = "new kernel" })`,
				New: func() any { return &now{Timeout: 10 * time.Minute} },
			},
			{
				Name: "needed", Summary: "Tell whether the system asks for a restart (/run/reboot-required, or a running kernel whose modules are gone).",
				Returns: "boolean, reason", Example: `if reboot.needed() then reboot() end`, New: func() any { return &needed{} },
			},
		},
	}
}

type now struct {
	Timeout time.Duration `lua:"timeout" alias:"reboot_timeout" pos:"1" doc:"How long the host may take to come back, in seconds or text such as \"10m\""`
	Delay   time.Duration `lua:"delay" alias:"pre_reboot_delay" doc:"Time between the end of the task and the restart"`
	Settle  time.Duration `lua:"settle" alias:"post_reboot_delay" doc:"Time to wait once the host is back"`
	Msg     string        `lua:"msg" alias:"message" doc:"Why, for those who are logged in"`
	Command string        `lua:"command" alias:"reboot_command" doc:"Command for the shell that restarts the host; systemctl reboot, shutdown or reboot by default"`
}

// Validate refuses what would never end.
func (n *now) Validate() error {
	if n.Timeout <= 0 || n.Delay < 0 || n.Settle < 0 {
		return errors.New("timeout must be more than 0, delay and settle not less")
	}
	return nil
}

// PlanSafe is false: it restarts the host.
func (n *now) PlanSafe() bool { return false }

// Run asks for the restart; it happens when the task's function has returned.
func (n *now) Run(_ context.Context, c modules.Call) ([]any, error) {
	if c.Restart == nil {
		return nil, errors.New("only a task that runs on a host, in an apply or run, can restart it")
	}
	if os.Geteuid() != 0 && n.Command == "" {
		return nil, errors.New("only root may restart the host; let the task become root, or name a command")
	}
	boot := bootID(c.Machine)
	if boot == "" {
		return nil, errors.New("this system has no boot id, so nobody could tell that it came back")
	}
	c.Restart(modules.Restart{Timeout: n.Timeout, Delay: n.Delay, Settle: n.Settle, Message: n.Msg, Command: n.Command})
	return []any{map[string]any{"success": true, "changed": true, "message": "restarts when this task is done", "boot_id": boot}}, nil
}

const bootFile = "/proc/sys/kernel/random/boot_id"

func bootID(v facts.Viewer) string {
	text, err := line(v, bootFile)
	if err != nil {
		return ""
	}
	return text
}

// line reads a file of one line.
func line(v facts.Viewer, path string) (string, error) {
	f, err := v.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 200))
	return strings.TrimSpace(string(b)), err
}

type needed struct{}

// Query looks for what package managers leave behind.
func (needed) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	for _, f := range []string{"/run/reboot-required", "/var/run/reboot-required"} {
		if _, err := v.Stat(f); err == nil {
			return []any{true, f + " is there"}, nil
		}
	}
	release, err := line(v, "/proc/sys/kernel/osrelease")
	if err != nil {
		return []any{false, ""}, nil // a system without /proc does not say
	}
	// A kernel that was replaced, and whose modules went with it.
	if _, err := v.Stat("/lib/modules"); err == nil {
		if _, err := v.Stat("/lib/modules/" + release); errors.Is(err, os.ErrNotExist) {
			return []any{true, "the modules of the running kernel " + release + " are gone"}, nil
		}
	}
	return []any{false, ""}, nil
}
