//go:build lab

// On a host that can be thrown away, as root:
//
//	go test -c -tags lab -o lab.test ./modules/cron && scp lab.test HOST: && ssh HOST ./lab.test -test.run Lab

package cron

import (
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/exec"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

var labModules = []modules.Module{Module(), exec.Module()}

func TestLab(t *testing.T) {
	modulestest.Lab(t, labModules, `
exec.run("crontab -r; crontab -u nobody -r; rm -f /etc/cron.d/lab-*")
rest(cron.absent("none"))
local job = { name = "poll", minute = "*/5", weekday = "mon-fri", job = "/bin/true" }
changes(cron.present, job)
equal(exec.run("crontab -l").stdout, "#Ansible: poll\n*/5 * * * mon-fri /bin/true\n")
job.disabled = true
changes(cron.present, job)
changes(cron.env, "MAILTO", "root")
changes(cron.present, { name = "up", special_time = "reboot", job = "/bin/true", user = "nobody" })
equal(exec.run("crontab -u nobody -l").stdout, "#Ansible: up\n@reboot /bin/true\n")
local jobs, vars = cron.list()
equal(jobs[1].disabled, true) equal(vars.MAILTO, "root")
local gone = cron.absent({ name = "poll", backup = true })
once(gone) assert(exec.run("cat " .. gone.backup_file).stdout:find("poll"))
rest(cron.absent("poll"))
changes(cron.env, { name = "MAILTO", state = "absent" })
changes(cron.present, { name = "tick", job = "touch /run/lab-tick", user = "root", cron_file = "lab-tick" })
equal(exec.run("stat -c %a /etc/cron.d/lab-tick").stdout, "644\n")
-- cron itself must take it for a job: it runs within a minute.
local seen = exec.run("for i in $(seq 90); do [ -e /run/lab-tick ] && exit 0; sleep 1; done; exit 1")
equal(seen.exit_code, 0)
changes(cron.absent, { name = "tick", cron_file = "lab-tick" })
equal(exec.run("ls /etc/cron.d/lab-tick").success, false)
raises("there is no user", cron.present, { name = "a", job = "b", user = "no-such-user" })
exec.run("crontab -r; crontab -u nobody -r; rm -f /run/lab-tick")
`)
}
