// Package all is the list of modules. A new module is its folder and one line
// here.
package all

import (
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/fileops"
	"github.com/sloth-runner/sloth/modules/fs"
)

// Modules returns every module, in the order of the documentation.
func Modules() []modules.Module {
	return []modules.Module{
		fileops.Module(),
		fs.Module(),
	}
}
