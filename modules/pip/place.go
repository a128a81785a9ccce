package pip

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

// place is where packages are: in a virtual environment, or in the system's Python.
type place struct {
	Virtualenv string `lua:"virtualenv" alias:"venv" doc:"Folder of the virtual environment; without it the packages are those of the system"`
	Executable string `lua:"executable" doc:"The pip to use instead of pip3, such as \"pip3.11\""`
	Chdir      string `lua:"chdir,path" doc:"Folder that pip runs in; a relative virtualenv begins there"`
}

func (p *place) validate() error {
	if p.Virtualenv != "" && p.Executable != "" {
		return errors.New("give one of virtualenv and executable: an environment has a pip of its own")
	}
	return nil
}

// venv is the folder of the environment, absolute.
func (p *place) venv(ctx context.Context) string {
	switch {
	case p.Virtualenv == "" || filepath.IsAbs(p.Virtualenv):
		return p.Virtualenv
	case p.Chdir != "":
		return filepath.Join(p.Chdir, p.Virtualenv)
	}
	return filepath.Join("/", modules.CallOf(ctx).Workdir, p.Virtualenv)
}

// pip is the program, by name or path.
func (p *place) pip(ctx context.Context) string {
	switch {
	case p.Virtualenv != "":
		return filepath.Join(p.venv(ctx), "bin", "pip")
	case p.Executable != "":
		return p.Executable
	}
	return "pip3"
}

// installed are the packages that are there, by normalized name, and the version
// of Python; missing says that the environment is not there yet.
type installed struct {
	packages map[string]string
	python   string
	missing  bool
}

func (p *place) look(ctx context.Context, v facts.Viewer) (installed, error) {
	if p.Virtualenv != "" {
		return p.lookVenv(ctx, v)
	}
	is := installed{packages: map[string]string{}}
	pip := p.pip(ctx)
	if _, err := v.LookPath(pip); err != nil {
		return is, fmt.Errorf("there is no %s on this host; pkg.install(\"python3-pip\") brings it, or say virtualenv", pip)
	}
	a, err := v.Query(ctx, pip, "list", "--format", "json", "--disable-pip-version-check")
	if err != nil {
		return is, err
	}
	if a.ExitCode != 0 {
		return is, fmt.Errorf("%s list: %s", pip, tool.Failure(a, false))
	}
	is.packages, err = parseList(a.Stdout)
	if err != nil {
		return is, fmt.Errorf("%s list: %w", pip, err)
	}
	return is, nil
}

func parseList(data []byte) (map[string]string, error) {
	var list []struct{ Name, Version string }
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, l := range list {
		out[normalize(l.Name)] = l.Version
	}
	return out, nil
}

// lookVenv reads the folders of the environment, which no program has to run for.
func (p *place) lookVenv(ctx context.Context, v facts.Viewer) (installed, error) {
	is := installed{packages: map[string]string{}}
	dir := p.venv(ctx)
	if _, err := v.Stat(filepath.Join(dir, "bin", "pip")); hostfile.Missing(err) {
		is.missing = true
		return is, nil
	} else if err != nil {
		return is, err
	}
	versions, err := v.ReadDir(filepath.Join(dir, "lib"))
	if err != nil && !hostfile.Missing(err) {
		return is, err
	}
	for _, d := range versions {
		python, ok := strings.CutPrefix(d.Name, "python")
		if !ok {
			continue
		}
		is.python = python
		entries, err := v.ReadDir(filepath.Join(d.Path, "site-packages"))
		if err != nil && !hostfile.Missing(err) {
			return is, err
		}
		for _, e := range entries {
			file := ""
			switch {
			case strings.HasSuffix(e.Name, ".dist-info"):
				file = "METADATA"
			case strings.HasSuffix(e.Name, ".egg-info") && e.Mode.IsDir():
				file = "PKG-INFO"
			default:
				continue
			}
			if name, version := metadata(v, filepath.Join(e.Path, file)); name != "" {
				is.packages[normalize(name)] = version
			}
		}
	}
	return is, nil
}

// metadata reads the head of a METADATA file. What is left of a removal that
// was cut off has none.
func metadata(v facts.Viewer, path string) (name, version string) {
	f, err := v.Open(path)
	if err != nil {
		return "", ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(io.LimitReader(f, 1<<20)); lines.Scan() && lines.Text() != ""; {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.ToLower(key) {
		case "name":
			name = strings.TrimSpace(value)
		case "version":
			version = strings.TrimSpace(value)
		}
	}
	return name, version
}

// outdated asks the index for newer versions of what is installed.
func (p *place) outdated(ctx context.Context, v facts.Viewer, extra []string) (map[string]string, error) {
	argv := append([]string{p.pip(ctx), "list", "--outdated", "--format", "json", "--disable-pip-version-check"}, extra...)
	a, err := v.Query(ctx, argv...)
	if err != nil {
		return nil, err
	}
	if a.ExitCode != 0 {
		return nil, fmt.Errorf("%s list --outdated: %s", p.pip(ctx), tool.Failure(a, false))
	}
	var list []struct {
		Name   string
		Latest string `json:"latest_version"`
	}
	if err := json.Unmarshal(a.Stdout, &list); err != nil {
		return nil, fmt.Errorf("%s list --outdated: %w", p.pip(ctx), err)
	}
	out := map[string]string{}
	for _, l := range list {
		out[normalize(l.Name)] = l.Latest
	}
	return out, nil
}
