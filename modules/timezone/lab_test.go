//go:build lab

// On a host that can be thrown away, as root:
//
//	go test -c -tags lab -o lab.test ./modules/timezone && scp lab.test HOST: && ssh HOST ./lab.test -test.run Lab

package timezone

import (
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/exec"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

var labModules = []modules.Module{Module(), exec.Module()}

func TestLab(t *testing.T) {
	modulestest.Lab(t, labModules, `
local was = timezone.get()
changes(timezone.set, "Europe/Berlin")
equal(exec.run("timedatectl show -p Timezone --value").stdout, "Europe/Berlin\n")
equal(exec.run("cat /etc/timezone").stdout, "Europe/Berlin\n")
assert(exec.run("date +%Z").stdout:find("^CES?T"))
exec.run("cp --remove-destination /usr/share/zoneinfo/Asia/Tokyo /etc/localtime")
equal(timezone.get(), nil)
changes(timezone.set, "Asia/Tokyo")
raises("did you mean \"Europe/Berlin\"?", timezone.set, "Europe/Belrin")
changes(timezone.set, was)
`)
}
