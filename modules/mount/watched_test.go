package mount

import (
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// watched is a machine on which looking at the dead server's folder would hang.
type watched struct {
	modules.Machine
	t *testing.T
}

func (w watched) look(path string) {
	if strings.HasPrefix(path, "/mnt/dead") {
		w.t.Errorf("somebody looked at %s", path)
	}
}

func (w watched) Lstat(path string) (facts.FileInfo, error) {
	w.look(path)
	return w.Machine.Lstat(path)
}

func (w watched) Stat(path string) (facts.FileInfo, error) {
	w.look(path)
	return w.Machine.Stat(path)
}

func (w watched) ReadDir(path string) ([]facts.FileInfo, error) {
	w.look(path)
	return w.Machine.ReadDir(path)
}
