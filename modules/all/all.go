// Package all is the list of modules. A new module is its folder and one line
// here.
package all

import (
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/archive"
	"github.com/sloth-runner/sloth/modules/authorizedkey"
	"github.com/sloth-runner/sloth/modules/circuit"
	"github.com/sloth-runner/sloth/modules/cron"
	"github.com/sloth-runner/sloth/modules/data"
	"github.com/sloth-runner/sloth/modules/exec"
	"github.com/sloth-runner/sloth/modules/fileops"
	"github.com/sloth-runner/sloth/modules/firewall"
	"github.com/sloth-runner/sloth/modules/fs"
	"github.com/sloth-runner/sloth/modules/git"
	"github.com/sloth-runner/sloth/modules/hostname"
	"github.com/sloth-runner/sloth/modules/http"
	"github.com/sloth-runner/sloth/modules/infratest"
	"github.com/sloth-runner/sloth/modules/knownhosts"
	"github.com/sloth-runner/sloth/modules/log"
	"github.com/sloth-runner/sloth/modules/mount"
	"github.com/sloth-runner/sloth/modules/net"
	"github.com/sloth-runner/sloth/modules/npm"
	"github.com/sloth-runner/sloth/modules/perf"
	"github.com/sloth-runner/sloth/modules/pip"
	"github.com/sloth-runner/sloth/modules/pkg"
	"github.com/sloth-runner/sloth/modules/reboot"
	"github.com/sloth-runner/sloth/modules/repo"
	"github.com/sloth-runner/sloth/modules/saga"
	"github.com/sloth-runner/sloth/modules/sshclient"
	statemod "github.com/sloth-runner/sloth/modules/state"
	"github.com/sloth-runner/sloth/modules/sysctl"
	"github.com/sloth-runner/sloth/modules/systemd"
	"github.com/sloth-runner/sloth/modules/terraform"
	"github.com/sloth-runner/sloth/modules/timezone"
	"github.com/sloth-runner/sloth/modules/user"
	"github.com/sloth-runner/sloth/modules/utils"
	"github.com/sloth-runner/sloth/modules/validate"
	"github.com/sloth-runner/sloth/modules/waitfor"
)

// Modules returns every module, in the order of the documentation.
func Modules() []modules.Module {
	return []modules.Module{
		fileops.Module(),
		fs.Module(),
		archive.Module(),
		exec.Module(),
		pkg.Module(),
		repo.Module(),
		pip.Module(),
		npm.Module(),
		user.Module(),
		authorizedkey.Module(),
		knownhosts.Module(),
		firewall.Module(),
		systemd.Module(),
		cron.Module(),
		sysctl.Module(),
		mount.Module(),
		hostname.Module(),
		timezone.Module(),
		reboot.Module(),
		infratest.Module(),
		waitfor.Module(),
		http.Module(),
		net.Module(),
		sshclient.Module(nil),
		git.Module(),
		terraform.Module(),
		data.Module(),
		statemod.Module(),
		log.Module(),
		utils.Module(),
		validate.Module(),
		perf.Module(),
		circuit.Module(),
		saga.Module(),
	}
}
