package runner

import (
	"slices"

	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/runner/runlog"
)

// met takes note of who answered on a host. One machine under two names is told:
// what is done there under one name may meet what is done under the other. Copies
// of one image may share an id, but not a boot.
func (r *Runner) met(host string, w wire.Welcome) {
	if w.Refused != "" {
		return
	}
	if r.durable() != nil {
		r.recordFailed(r.opt.Record.Met(runlog.Met{Host: host, MachineID: w.MachineID, BootID: w.BootID, Kept: w.Kept}))
	}
	if w.MachineID == "" || w.BootID == "" {
		return
	}
	id := [2]string{w.MachineID, w.BootID}
	r.mu.Lock()
	names := r.machines[id]
	if known := slices.Contains(names, host); !known {
		names = append(names, host)
		r.machines[id] = names
	}
	second := len(names) == 2 && names[1] == host && !r.twins[id]
	if second {
		r.twins[id] = true
	}
	r.mu.Unlock()
	if second {
		r.notice("warn", "%s and %s are one machine (machine id %.40q): steps for the two may run there at the same time. Leave one of the names out, or use serial = 1", names[0], host, w.MachineID)
	}
}

// expected is who answered an earlier controller of this run; nil: nobody did.
func (r *Runner) expected(host string) *shim.Identity {
	if r.opt.Before == nil {
		return nil
	}
	m, ok := r.opt.Before.Met[host]
	if !ok {
		return nil
	}
	return &shim.Identity{MachineID: m.MachineID, Kept: m.Kept != ""}
}
