package systemd

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

// Hosts without systemd have their services in /etc/init.d, under OpenRC (with
// rc-service and rc-update) as well as under SysV init (with service, and
// update-rc.d or chkconfig). A service that runs answers status with 0.

const initFolder = "/etc/init.d"

var errNoInit = errors.New("this host runs neither systemd nor OpenRC nor SysV init, so it has no services to speak of")

func has(v facts.Viewer, program string) bool {
	_, err := v.LookPath(program)
	return err == nil
}

// runner is the command that passes a verb to a service.
func runner(v facts.Viewer) (string, error) {
	for _, p := range []string{"rc-service", "service"} {
		if has(v, p) {
			return p, nil
		}
	}
	return "", errNoInit
}

func lookClassic(ctx context.Context, v facts.Viewer, names []string) ([]Unit, error) {
	run, err := runner(v)
	if err != nil {
		return nil, err
	}
	var out []Unit
	for _, full := range names {
		name := strings.TrimSuffix(full, ".service")
		u := Unit{Name: full, Props: map[string]string{"LoadState": notFound, "ActiveState": inactive}}
		script := path.Join(initFolder, name)
		if _, err := v.Stat(script); err != nil {
			if !hostfile.Missing(err) {
				return nil, err
			}
			out = append(out, u)
			continue
		}
		u.Props["LoadState"], u.Props["FragmentPath"] = "loaded", script
		a, err := v.Query(ctx, run, name, "status")
		if err != nil {
			return nil, err
		}
		if a.ExitCode == 0 {
			u.Props["ActiveState"] = active
		}
		u.Props["UnitFileState"] = disabled
		if startsAtBoot(v, name) {
			u.Props["UnitFileState"] = enabled
		}
		out = append(out, u)
	}
	return out, nil
}

// startsAtBoot looks for the links that enabling leaves.
func startsAtBoot(v facts.Viewer, name string) bool {
	return len(runlevels(v, name)) > 0 || linked(v, 'S', name)
}

// runlevels are those of OpenRC's that a boot passes through and the service is in.
func runlevels(v facts.Viewer, name string) []string {
	var in []string
	for _, level := range []string{"sysinit", "boot", "default"} {
		if _, err := v.Lstat(path.Join("/etc/runlevels", level, name)); err == nil {
			in = append(in, level)
		}
	}
	return in
}

// linked looks for S20name or K80name among the links of the runlevels.
func linked(v facts.Viewer, kind byte, name string) bool {
	for _, dir := range []string{"/etc/rc2.d", "/etc/rc3.d", "/etc/rc.d/rc3.d"} {
		list, err := v.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, st := range list {
			if len(st.Name) > 3 && st.Name[0] == kind && st.Name[3:] == name {
				return true
			}
		}
	}
	return false
}

func listClassic(ctx context.Context, v facts.Viewer) ([]Unit, error) {
	list, err := v.ReadDir(initFolder)
	if hostfile.Missing(err) {
		return nil, errNoInit
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, st := range list {
		if st.Mode.IsRegular() && st.Mode.Perm()&0o111 != 0 {
			names = append(names, st.Name)
		}
	}
	return lookClassic(ctx, v, names)
}

func actClassic(ctx context.Context, m modules.Machine, verb, name string) error {
	var argv []string
	switch verb {
	case "enable", "disable":
		argv = enableClassic(m, verb, name)
		if argv == nil {
			return fmt.Errorf("none of rc-update, update-rc.d and chkconfig is on this host to %s %s", verb, name)
		}
	default:
		run, err := runner(m)
		if err != nil {
			return err
		}
		argv = []string{run, name, verb}
	}
	a, err := m.Run(ctx, modules.Cmd{Argv: argv})
	if err != nil {
		return err
	}
	if a.ExitCode != 0 {
		return fmt.Errorf("%s: %s", strings.Join(argv, " "), tool.Failure(a, false))
	}
	return nil
}

func enableClassic(v facts.Viewer, verb, name string) []string {
	on := verb == "enable"
	pick := func(a, b string) string {
		if on {
			return a
		}
		return b
	}
	switch {
	case has(v, "rc-update") && on:
		return []string{"rc-update", "add", name, "default"}
	case has(v, "rc-update"):
		return append([]string{"rc-update", "del", name}, runlevels(v, name)...)
	case has(v, "update-rc.d"):
		on := "enable"
		if !linked(v, 'K', name) { // update-rc.d enable only turns links around
			on = "defaults"
		}
		return []string{"update-rc.d", name, pick(on, "disable")}
	case has(v, "chkconfig"):
		return []string{"chkconfig", name, pick("on", "off")}
	}
	return nil
}
