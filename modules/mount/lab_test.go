//go:build lab

// On a host that can be thrown away, as root:
//
//	go test -c -tags lab -o lab.test ./modules/mount && scp lab.test HOST: && ssh HOST ./lab.test -test.run Lab

package mount

import (
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/exec"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

var labModules = []modules.Module{Module(), exec.Module()}

func TestLab(t *testing.T) {
	modulestest.Lab(t, labModules, `
exec.run("umount /srv/lab/* ; rm -rf /srv/lab /srv/lab-src; sed -i /srv.lab/d /etc/fstab; mkdir -p /srv/lab-src; touch /srv/lab-src/here")
local scratch = { path = "/srv/lab/a b", src = "tmpfs", fstype = "tmpfs", opts = "size=8m,nosuid,mode=0750" }
changes(mount.mounted, scratch)
assert(exec.run("tail -1 /etc/fstab").stdout:find("tmpfs /srv/lab/a\\040b tmpfs size=8m,nosuid,mode=0750 0 0", 1, true))
equal(mount.get("/srv/lab/a b").fstype, "tmpfs")
scratch.opts = "size=16m,nosuid,mode=0750"
changes(mount.mounted, scratch)
assert(mount.get("/srv/lab/a b").opts:find("size=16384k", 1, true))
changes(mount.unmounted, "/srv/lab/a b")
changes(mount.mounted, scratch)
changes(mount.absent, "/srv/lab/a b")
equal(exec.run("ls -d '/srv/lab/a b'").success, false)
equal(exec.run("grep -c srv.lab /etc/fstab").stdout, "0\n")

local bind = { path = "/srv/lab/bound", src = "/srv/lab-src", fstype = "none", opts = "bind" }
changes(mount.mounted, bind)
equal(exec.run("ls /srv/lab/bound").stdout, "here\n")
bind.src = "/srv"
raises("and not /srv;", mount.mounted, bind)
changes(mount.absent_from_fstab, "/srv/lab/bound")
equal(exec.run("ls /srv/lab/bound").stdout, "here\n")
changes(mount.unmounted, "/srv/lab/bound")

changes(mount.ephemeral, "/srv/lab/eph", { src = "tmpfs", fstype = "tmpfs", opts = "size=4m" })
once(mount.remounted("/srv/lab/eph", { opts = "ro" }))
equal(exec.run("touch /srv/lab/eph/x").success, false)
changes(mount.ephemeral, "/srv/lab/eph", { src = "tmpfs", fstype = "tmpfs", opts = "rw,size=4m" })
raises("and not /dev/sdz1", mount.ephemeral, "/srv/lab/eph", { src = "/dev/sdz1", fstype = "ext4" })
local busy = exec.run("cd /srv/lab/eph && (sleep 600 >/dev/null 2>&1 & echo $!)").stdout
raises("lazy = true", mount.unmounted, "/srv/lab/eph")
changes(mount.unmounted, "/srv/lab/eph", { lazy = true })
exec.run("kill " .. busy)

changes(mount.present, "/srv/lab/later", { src = "UUID=0-0", fstype = "ext4", boot = false, opts = "ro", passno = 2 })
equal(mount.get("/srv/lab/later"), nil)
raises("does not exist", mount.mounted, "/srv/lab/none", { src = "/dev/sdz1", fstype = "ext4" })
equal(exec.run("ls -d /srv/lab/none").success, false)
equal(exec.run("findmnt --verify 2>&1 | grep -c '^0 parse errors, 0 errors'").stdout, "1\n")
changes(mount.absent, "/srv/lab/later")

-- A helper that hangs, as that of a dead server does, is ended with all it started.
exec.run("printf '#!/bin/sh\\nsleep 12321\\n' > /sbin/mount.labslow; chmod +x /sbin/mount.labslow")
raises("timed out after 1s", mount.mounted, "/srv/lab/slow", { src = "nas:/x", fstype = "labslow", timeout = 1 })
equal(exec.run("pgrep -f '[s]leep 12321'").success, false)
equal(exec.run("ls -d /srv/lab/slow").success, false)
exec.run("rm -rf /srv/lab /srv/lab-src /sbin/mount.labslow")
`)
}
