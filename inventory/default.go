package inventory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

// envDefault is the variable that names the default inventory.
const envDefault = "SLOTH_INVENTORY"

// FindDefault gives the sources to load when none was named: what
// $SLOTH_INVENTORY says; `inventory:` (one or a list) in sloth.yaml of dir, then
// in ~/.config/sloth/sloth.yaml; hosts.yaml in dir. It gives nil where there is
// none of them.
//
// An inventory can make sloth run programs, so a file that somebody else owns
// or everybody may write is refused, and so is one named by such a file: anyone
// could have put it where sloth is started. Files of root are trusted.
func FindDefault(dir string) ([]string, error) {
	if s := strings.TrimSpace(os.Getenv(envDefault)); s != "" {
		return trustedSources([]string{s}, "$"+envDefault)
	}
	configs := []string{filepath.Join(dir, "sloth.yaml")}
	if base := configDir(); base != "" {
		configs = append(configs, filepath.Join(base, "sloth", "sloth.yaml"))
	}
	for _, c := range configs {
		sources, err := configured(c)
		if err != nil {
			return nil, err
		}
		if len(sources) > 0 {
			return trustedSources(sources, c)
		}
	}
	hosts := filepath.Join(dir, "hosts.yaml")
	if _, err := os.Lstat(hosts); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return trustedSources([]string{hosts}, "")
}

func configDir() string {
	if x := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(x) {
		return x
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".config")
}

// configured gives what `inventory:` of a sloth.yaml says; paths are relative
// to that file.
func configured(path string) ([]string, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := trusted(path); err != nil {
		return nil, err
	}
	data, err := readCapped(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %s", path, reason(err))
	}
	f := &file{name: path, data: data}
	var probs problems
	d, err := parseDocument(f, &probs)
	if err != nil || d.root == nil {
		return nil, err
	}
	root := d.resolve(d.root)
	if root.Kind != yaml.MappingNode {
		d.fail(root, "", "settings must be a map, got %s", kindName(root))
		return nil, probs.err()
	}
	var out []string
	for _, p := range d.pairs(root) {
		if p.name != "inventory" {
			continue
		}
		v := d.variable(p)
		items, ok := v.val.([]any)
		if !ok {
			items = []any{v.val}
		}
		for _, item := range items {
			s, ok := item.(string)
			if !ok || strings.TrimSpace(s) == "" {
				probs.add(v.pos.problem("inventory: hosts.yaml", "inventory must be a path or a list of paths"))
				continue
			}
			out = append(out, besideConfig(path, strings.TrimSpace(s)))
		}
	}
	return out, probs.err()
}

// besideConfig makes a path of a settings file one for this process; a list of
// hosts stays what it is.
func besideConfig(config, s string) string {
	if rest, ok := strings.CutPrefix(s, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	full := s
	if !filepath.IsAbs(s) {
		full = filepath.Join(filepath.Dir(config), s)
	}
	if strings.Contains(s, ",") {
		if _, err := os.Stat(full); err != nil {
			return s
		}
	}
	return full
}

func trustedSources(sources []string, from string) ([]string, error) {
	for _, s := range sources {
		_, err := os.Lstat(s)
		switch {
		case err == nil:
			if err := trusted(s); err != nil {
				return nil, err
			}
		case strings.Contains(s, ","):
		case from != "":
			return nil, fmt.Errorf("the inventory %s, named by %s: %s", s, from, reason(err))
		default:
			return nil, fmt.Errorf("the inventory %s: %s", s, reason(err))
		}
	}
	return sources, nil
}

// Trusted refuses a file of settings that others may have planted: one that
// belongs to somebody other than this user or root, or that everybody may write.
func Trusted(path string) error { return trusted(path) }

// trusted refuses what others may have planted. A symbolic link counts as well
// as what it leads to.
func trusted(path string) error {
	link, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("read %s: %s", path, reason(err))
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read %s: %s", path, reason(err))
	}
	for _, i := range []fs.FileInfo{link, info} {
		uid, known := owner(i)
		if me := os.Geteuid(); known && uid != me && uid != 0 {
			return fmt.Errorf("%s is refused: it belongs to user %d, not to you; name it with -i if you trust it, or chown %d it", path, uid, me)
		}
	}
	if info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("%s is refused: everybody may write it; chmod o-w %s", path, path)
	}
	return nil
}
