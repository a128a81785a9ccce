//go:build lab

// On a host that can be thrown away, as root:
//
//	go test -c -tags lab -o lab.test ./modules/sysctl && scp lab.test HOST: && ssh HOST ./lab.test -test.run Lab

package sysctl

import (
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/exec"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

var labModules = []modules.Module{Module(), exec.Module()}

func TestLab(t *testing.T) {
	modulestest.Lab(t, labModules, `
exec.run("rm -f /etc/sysctl.d/lab.conf; sed -i /lab-x/d /etc/sysctl.conf; sysctl -w net.ipv4.ip_forward=0")
changes(sysctl.set, { name = "net.ipv4.ip_forward", value = true, file = "lab" })
equal(sysctl.get("net.ipv4.ip_forward"), "1")
equal(exec.run("cat /etc/sysctl.d/lab.conf").stdout, "net.ipv4.ip_forward=1\n")
exec.run("sysctl -w net.ipv4.ip_forward=0")
changes(sysctl.set, { name = "net.ipv4.ip_forward", value = 1, file = "lab" })
equal(exec.run("sysctl -n net.ipv4.ip_forward").stdout, "1\n")
changes(sysctl.set, { name = "net.ipv4.tcp_rmem", value = "4096 131072 6291457", file = "lab" })
changes(sysctl.set, { name = "net.ipv4.ip_forward", value = 0, reload = false, file = "lab" })
equal(sysctl.get("net.ipv4.ip_forward"), "1")
equal(exec.run("sysctl -p /etc/sysctl.d/lab.conf").success, true)
equal(sysctl.get("net.ipv4.ip_forward"), "0")
raises("did you mean \"net.ipv4.ip_forward\"?", sysctl.set, "net.ipv4.ip_forwrd", 1)
raises("Invalid argument; the file is untouched", sysctl.set, { name = "net.ipv4.ip_forward", value = "many", file = "lab" })
changes(sysctl.absent, { name = "net.ipv4.tcp_rmem", file = "lab" })
exec.run("rm -f /etc/sysctl.d/lab.conf")
`)
}
