package ssh

import (
	"os/user"
	"strings"
)

// Aliases lists the names that Host lines of the configuration spell out, in
// their order: hosts that a person may name without any inventory. Patterns are
// left out, and so is a file that cannot be read: dialling tells about it.
func Aliases(configFile, home string) []string {
	if home == "" {
		if u, err := user.Current(); err == nil {
			home = u.HomeDir
		}
	}
	files, err := loadConfig(configFile, home, "", func(string) {})
	if err != nil {
		return nil
	}
	var out []string
	seen := map[string]bool{}
	var walk func(lines []configLine)
	walk = func(lines []configLine) {
		for i := range lines {
			for _, f := range lines[i].include {
				walk(f)
			}
			if lines[i].keyword != "host" {
				continue
			}
			for _, name := range lines[i].args {
				if !strings.ContainsAny(name, "*?!") && !seen[name] {
					seen[name] = true
					out = append(out, name)
				}
			}
		}
	}
	walk(files.lines)
	return out
}
