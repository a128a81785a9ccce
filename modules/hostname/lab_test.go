//go:build lab

// On a host that can be thrown away, as root:
//
//	go test -c -tags lab -o lab.test ./modules/hostname && scp lab.test HOST: && ssh HOST ./lab.test -test.run Lab

package hostname

import (
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/exec"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

var labModules = []modules.Module{Module(), exec.Module()}

func TestLab(t *testing.T) {
	modulestest.Lab(t, labModules, `
local was = hostname.get()
changes(hostname.set, "lab-name.example.com", { hosts = true })
equal(exec.run("hostname").stdout, "lab-name.example.com\n")
equal(exec.run("hostnamectl --static").stdout, "lab-name.example.com\n")
equal(exec.run("hostnamectl --transient").stdout, "lab-name.example.com\n")
equal(exec.run("getent hosts lab-name").stdout:gsub("%s+", " "), "127.0.1.1 lab-name.example.com lab-name ")
exec.run("hostname other")
changes(hostname.set, "lab-name.example.com")
exec.run("sed -i /127.0.1.1/d /etc/hosts")
changes(hostname.set, was)
`)
}
