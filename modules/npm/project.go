package npm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

// place is where packages are.
type place struct {
	Path   string `lua:"path,path" doc:"Folder of the project"`
	Global bool   `lua:"global" doc:"For the whole host instead of a project"`
	Exec   string `lua:"executable" doc:"The npm to use, such as \"/opt/node/bin/npm\""`
}

func (p *place) validate() error {
	switch {
	case p.Global && p.Path != "":
		return errors.New("give one of path and global")
	case !p.Global && p.Path == "":
		return errors.New("path is missing: folder of the project; or say global = true")
	}
	return nil
}

func (p *place) npm() string {
	if p.Exec == "" {
		return "npm"
	}
	return p.Exec
}

// folder is the node_modules that holds the packages.
func (p *place) folder(ctx context.Context, v facts.Viewer) (string, error) {
	if !p.Global {
		return filepath.Join(p.Path, "node_modules"), nil
	}
	if _, err := v.LookPath(p.npm()); err != nil {
		return "", fmt.Errorf("there is no %s on this host; pkg.install(\"npm\") brings it", p.npm())
	}
	a, err := v.Query(ctx, p.npm(), "root", "--global")
	if err != nil {
		return "", err
	}
	dir := strings.TrimSpace(string(a.Stdout))
	if a.ExitCode != 0 || !filepath.IsAbs(dir) {
		return "", fmt.Errorf("%s root --global: %s", p.npm(), tool.Failure(a, false))
	}
	return dir, nil
}

// manifest is what is read of a package.json.
type manifest struct {
	Name, Version string
	Dependencies  map[string]string
	Dev           map[string]string `json:"devDependencies"`
	Optional      map[string]string `json:"optionalDependencies"`
}

func readManifest(v facts.Viewer, path string) (manifest, error) {
	var m manifest
	data, err := hostfile.Read(v, path)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// versionIn is the version of a package in a node_modules, or nothing.
func versionIn(v facts.Viewer, dir, name string) (string, error) {
	m, err := readManifest(v, filepath.Join(dir, name, "package.json"))
	if hostfile.Missing(err) || hostfile.NotFolder(err) {
		return "", nil
	}
	return m.Version, err
}

// lockfile is what is read of a package-lock.json.
type lockfile struct {
	Packages map[string]struct {
		Version                 string
		Dev, Optional, InBundle bool
		Link                    bool
	}
}

// difference is a package of a project that is not as its files say.
type difference struct{ name, have, want string }

// differences compares node_modules with package-lock.json, or where there is
// none with package.json.
func (p *place) differences(v facts.Viewer, production, lockNeeded bool) ([]difference, error) {
	m, err := readManifest(v, filepath.Join(p.Path, "package.json"))
	if err != nil {
		return nil, err
	}
	lockPath := filepath.Join(p.Path, "package-lock.json")
	data, err := hostfile.Read(v, lockPath)
	if err != nil && !hostfile.Missing(err) {
		return nil, err
	}
	var lock lockfile
	if err == nil {
		if err := json.Unmarshal(data, &lock); err != nil {
			return nil, fmt.Errorf("%s: %w", lockPath, err)
		}
	}
	if lockNeeded && len(lock.Packages) == 0 {
		return nil, fmt.Errorf("%s is missing or of an npm before 7, and ci = true installs what it says; leave ci out once", lockPath)
	}
	var out []difference
	for _, path := range slices.Sorted(maps.Keys(lock.Packages)) {
		l := lock.Packages[path]
		if path == "" || !strings.HasPrefix(path, "node_modules/") || strings.Contains(path, "..") || l.Optional || l.Link || production && l.Dev {
			continue
		}
		have, err := versionIn(v, p.Path, path)
		if err != nil {
			return nil, err
		}
		if have != l.Version {
			out = append(out, difference{strings.TrimPrefix(path, "node_modules/"), have, l.Version})
		}
	}
	wanted := maps.Clone(m.Dependencies)
	if wanted == nil {
		wanted = map[string]string{}
	}
	if !production {
		maps.Copy(wanted, m.Dev)
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		_, optional := m.Optional[name]
		_, locked := lock.Packages["node_modules/"+name]
		if optional || nameForm().FindString(name) == "" {
			continue
		}
		have, err := versionIn(v, filepath.Join(p.Path, "node_modules"), name)
		if err != nil {
			return nil, err
		}
		fits, err := satisfies(have, wanted[name])
		switch {
		case have == "" && !locked:
			out = append(out, difference{name, "", wanted[name]})
		case have != "" && err == nil && !fits && !locked: // addresses and tags fit
			out = append(out, difference{name, have, wanted[name]})
		}
	}
	return out, nil
}

// list is npm.list.
type list struct{ place }

// Validate checks the place.
func (l *list) Validate() error { return l.validate() }

// Query reads the packages.
func (l *list) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	dir, err := l.folder(ctx, v)
	if err != nil {
		return nil, err
	}
	out := []any{}
	add := func(dir, name string) error {
		version, err := versionIn(v, dir, name)
		if err == nil && version != "" {
			out = append(out, map[string]any{"name": name, "version": version})
		}
		return err
	}
	entries, err := v.ReadDir(dir)
	if err != nil && !hostfile.Missing(err) {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name, ".") {
			continue
		}
		if !strings.HasPrefix(e.Name, "@") {
			if err := add(dir, e.Name); err != nil {
				return nil, err
			}
			continue
		}
		scoped, err := v.ReadDir(e.Path)
		if err != nil {
			return nil, err
		}
		for _, s := range scoped {
			if err := add(dir, e.Name+"/"+s.Name); err != nil {
				return nil, err
			}
		}
	}
	return []any{out}, nil
}

var _ modules.Querier = (*list)(nil)
