// Package all is the list of modules. A new module is its folder and one line
// here.
package all

import (
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/data"
	"github.com/sloth-runner/sloth/modules/exec"
	"github.com/sloth-runner/sloth/modules/fileops"
	"github.com/sloth-runner/sloth/modules/fs"
	"github.com/sloth-runner/sloth/modules/http"
	"github.com/sloth-runner/sloth/modules/log"
	"github.com/sloth-runner/sloth/modules/net"
	statemod "github.com/sloth-runner/sloth/modules/state"
)

// Modules returns every module, in the order of the documentation.
func Modules() []modules.Module {
	return []modules.Module{
		fileops.Module(),
		fs.Module(),
		exec.Module(),
		http.Module(),
		net.Module(),
		data.Module(),
		statemod.Module(),
		log.Module(),
	}
}
