package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// stateHome is where this user's state is kept: $XDG_STATE_HOME/sloth.
func stateHome() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sloth"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the state folder: %w; set XDG_STATE_HOME", err)
	}
	return filepath.Join(home, ".local", "state", "sloth"), nil
}

// existing returns an error with a hint when a file named on the command line
// cannot be read.
func existing(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return withHint(fmt.Errorf("read %s: no such file", path), "Is the name right, and are you in the right folder?")
	case err != nil:
		return err
	case st.IsDir():
		return withHint(fmt.Errorf("read %s: it is a folder", path), "Name the .sloth file.")
	}
	return nil
}
