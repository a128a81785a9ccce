package spec

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// HostPath makes a path absolute: ~/ is the home of the user whose rights the
// call has, anything else relative starts at workdir, or where that is empty
// at the process's own folder.
func HostPath(path, workdir string) (string, error) {
	switch {
	case path == "":
		return "", nil
	case strings.ContainsRune(path, 0):
		return "", fmt.Errorf("path %q holds a zero byte", path)
	case path == "~" || strings.HasPrefix(path, "~/"):
		home, err := home()
		if err != nil {
			return "", fmt.Errorf("path %s: %w", path, err)
		}
		return clean(home, path[1:]), nil
	case filepath.IsAbs(path):
		return clean(path, ""), nil
	}
	if !filepath.IsAbs(workdir) {
		wd, err := os.Getwd()
		if err != nil {
			return "", fmt.Errorf("path %s is relative and there is no folder to start from: %w", path, err)
		}
		workdir = filepath.Join(wd, workdir)
	}
	return clean(workdir, "/"+path), nil
}

// home asks the user database first: after sudo, $HOME may be somebody else's.
func home() (string, error) {
	if u, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil && u.HomeDir != "" {
		return u.HomeDir, nil
	}
	return os.UserHomeDir()
}

// clean keeps a slash at the end, which says that a folder is meant.
func clean(base, rest string) string {
	whole := base + rest
	out := filepath.Clean(whole)
	if strings.HasSuffix(whole, "/") && out != "/" {
		out += "/"
	}
	return out
}
