package pkg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
)

type single struct {
	Name string `lua:"name,required,primary" alias:"package" doc:"The package"`
}

// Validate checks the name.
func (s *single) Validate() error { return checkName(s.Name) }

type isInstalled struct{ single }

// Query answers yes or no.
func (q *isInstalled) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	version, err := Installed(ctx, v, q.Name)
	return []any{version != ""}, err
}

type version struct{ single }

// Query returns what is installed.
func (q *version) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	version, err := Installed(ctx, v, q.Name)
	if version == "" {
		return []any{nil}, err
	}
	return []any{version}, err
}

type getManager struct{}

// Query names the manager.
func (*getManager) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	m, err := detect(v)
	if errors.Is(err, errNone) {
		return []any{nil}, nil
	}
	return []any{m.name()}, err
}

type list struct{}

// Query lists what is installed.
func (*list) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	m, err := detect(v)
	if err != nil {
		return nil, err
	}
	all, err := m.installed(ctx, v, nil)
	out := []any{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, map[string]any{"name": name, "version": all[name]})
	}
	return []any{out}, err
}

type info struct{ single }

// Query asks host and lists.
func (q *info) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	m, err := detect(v)
	if err != nil {
		return nil, err
	}
	installed, err := Installed(ctx, v, q.Name)
	if err != nil {
		return nil, err
	}
	about, err := m.describe(ctx, v, q.Name)
	if err != nil {
		return nil, err
	}
	newest, err := m.candidates(ctx, v, []string{q.Name})
	if err != nil {
		return nil, err
	}
	if about == nil {
		if installed == "" && newest[q.Name] == "" {
			return []any{nil}, nil
		}
		about = map[string]any{}
	}
	about["name"], about["installed"], about["manager"] = q.Name, installed != "", m.name()
	if installed != "" {
		about["version"] = installed
	}
	if c := newest[q.Name]; c != "" {
		about["candidate"] = c
	}
	return []any{about}, nil
}

type search struct {
	Text string `lua:"text,required" alias:"query,name" pos:"1" doc:"What to look for in names and descriptions"`
}

// Query searches.
func (s *search) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	if s.Text == "" || s.Text[0] == '-' {
		return nil, fmt.Errorf("text = %q cannot be searched for", s.Text)
	}
	m, err := detect(v)
	if err != nil {
		return nil, err
	}
	found, err := m.search(ctx, v, s.Text)
	out := []any{}
	for _, f := range found {
		out = append(out, map[string]any{"name": f[0], "description": f[1]})
	}
	return []any{out}, err
}

type which struct {
	Path string `lua:"path,required" alias:"file,name" pos:"1" doc:"Absolute path of a file, or the name of a program"`
}

// Query finds the owner of a file.
func (w *which) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	m, err := detect(v)
	if err != nil {
		return nil, err
	}
	file := w.Path
	if !filepath.IsAbs(file) {
		if strings.ContainsAny(file, "/*?[") {
			return nil, fmt.Errorf("path = %q is neither absolute nor the name of a program", file)
		}
		if file, err = v.LookPath(file); err != nil {
			return []any{nil}, nil
		}
	}
	if strings.ContainsAny(file, "*?[\\") {
		return nil, fmt.Errorf("path = %q is a pattern, not a path", file)
	}
	// Where /bin leads to /usr/bin, packages name either.
	names := []string{file}
	if rest, ok := strings.CutPrefix(file, "/usr"); ok {
		names = append(names, rest)
	} else {
		names = append(names, "/usr"+file)
	}
	for _, n := range names {
		owner, err := m.owner(ctx, v, n)
		if err != nil {
			return nil, err
		}
		if owner != "" {
			return []any{owner}, nil
		}
	}
	return []any{nil}, nil
}

type deps struct{ single }

// Query lists them.
func (q *deps) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	m, err := detect(v)
	if err != nil {
		return nil, err
	}
	found, err := m.depends(ctx, v, q.Name)
	out := []any{}
	for _, d := range found {
		out = append(out, d)
	}
	return []any{out}, err
}
