package repo

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// list is repo.list.
type list struct{}

// Query reads all files of repositories.
func (*list) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	manager, err := managerOf(v)
	if err != nil {
		return nil, err
	}
	out := []any{}
	if manager == "apt" {
		files, err := aptFiles(v)
		if err != nil {
			return nil, err
		}
		for _, path := range files {
			data, err := hostfile.Read(v, path)
			if err != nil {
				return nil, err
			}
			if strings.HasSuffix(path, dotSources) {
				out = append(out, paragraphs(path, string(data))...)
			} else {
				out = append(out, oneLiners(path, string(data))...)
			}
		}
		return []any{out}, nil
	}
	folder := dnfFolder
	if manager == "zypper" {
		folder = zypperFolder
	}
	files, err := v.ReadDir(folder)
	if err != nil && !hostfile.Missing(err) {
		return nil, err
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name, dotRepo) {
			continue
		}
		data, err := hostfile.Read(v, f.Path)
		if err != nil {
			return nil, err
		}
		for _, s := range parseINI(string(data)).sections[1:] {
			set := s.settings()
			var where string
			for _, k := range []string{"baseurl", "mirrorlist", "metalink"} {
				if set[k] != "" && where == "" {
					where = set[k]
				}
			}
			out = append(out, map[string]any{
				"name": s.name, "file": f.Path, "enabled": !off(set["enabled"]), "uris": words(where), "key": set["gpgkey"], "description": set["name"],
			})
		}
	}
	return []any{out}, nil
}

func off(text string) bool {
	switch strings.ToLower(text) {
	case "0", "no", "false", "off":
		return true
	}
	return false
}

func words(text string) []any {
	out := []any{}
	for _, w := range strings.Fields(text) {
		out = append(out, w)
	}
	return out
}

func baseName(path string) string {
	name := filepath.Base(path)
	return strings.TrimSuffix(strings.TrimSuffix(name, dotSources), dotList)
}

// paragraphs reads the deb822 form.
func paragraphs(path, text string) []any {
	var out []any
	fields := map[string]string{}
	last := ""
	flush := func() {
		if fields["uris"] != "" {
			out = append(out, map[string]any{
				"name": baseName(path), "file": path, "enabled": !off(fields["enabled"]), "types": words(fields["types"]), "uris": words(fields["uris"]),
				"suites": words(fields["suites"]), "components": words(fields["components"]), "architectures": words(fields["architectures"]), "key": fields["signed-by"],
			})
		}
		fields, last = map[string]string{}, ""
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				fields[last] += "\n" + strings.TrimSpace(line)
			}
		default:
			key, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(strings.TrimSpace(key))
			fields[last] = strings.TrimSpace(value)
		}
	}
	flush()
	return out
}

// oneLiners reads the form of sources.list. What is commented out is not listed.
func oneLiners(path, text string) []any {
	var out []any
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		s, err := parseLine(strings.TrimSpace(line))
		if err != nil {
			continue
		}
		arch, key := "", ""
		for _, o := range s.options {
			if v, ok := strings.CutPrefix(o, "arch="); ok {
				arch = strings.ReplaceAll(v, ",", " ")
			}
			if v, ok := strings.CutPrefix(o, "signed-by="); ok {
				key = v
			}
		}
		out = append(out, map[string]any{
			"name": baseName(path), "file": path, "enabled": true, "types": words(s.kind), "uris": words(s.uri), "suites": words(s.suite),
			"components": words(strings.Join(s.components, " ")), "architectures": words(arch), "key": key,
		})
	}
	return out
}
