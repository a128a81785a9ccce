//go:build !linux

package local

import (
	"errors"
	"os"
)

func openTerminal() (master, slave *os.File, err error) {
	return nil, nil, errors.New("a local command can have a terminal on Linux only")
}

type hangup struct{ *os.File }

// blockUntilDead has no portable form.
func blockUntilDead(int) bool { return false }
