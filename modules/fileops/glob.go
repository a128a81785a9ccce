package fileops

import (
	"context"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
)

// Glob returns the paths that match an absolute pattern, sorted: *, ? and [a-z]
// match within one name, ** any number of folders.
func Glob(ctx context.Context, v facts.Viewer, pattern string) ([]string, error) {
	names := strings.Split(strings.Trim(pattern, "/"), "/")
	for _, n := range names {
		if _, err := path.Match(n, ""); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	found := map[string]bool{}
	err := glob(ctx, v, "/", names, func(p string) { found[p] = true })
	return slices.Sorted(maps.Keys(found)), err
}

func glob(ctx context.Context, v facts.Viewer, dir string, names []string, yield func(string)) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	name, rest := names[0], names[1:]
	if !strings.ContainsAny(name, `*?[\`) {
		p := filepath.Join(dir, name)
		st, err := v.Stat(p)
		switch {
		case err != nil && len(rest) > 0:
		case len(rest) > 0:
			if st.Mode.IsDir() {
				return glob(ctx, v, p, rest, yield)
			}
		default:
			if _, err := v.Lstat(p); err == nil {
				yield(p)
			}
		}
		return nil
	}
	list, err := v.ReadDir(dir)
	if err != nil {
		return nil // as the shell does: what cannot be read matches nothing
	}
	if name == "**" && len(rest) > 0 {
		if err := glob(ctx, v, dir, rest, yield); err != nil {
			return err
		}
	}
	for _, st := range list {
		p := filepath.Join(dir, st.Name)
		if name == "**" {
			if len(rest) == 0 {
				yield(p)
			}
			if st.Mode.IsDir() { // links are not followed, they may lead in circles
				if err := glob(ctx, v, p, names, yield); err != nil {
					return err
				}
			}
			continue
		}
		hidden := strings.HasPrefix(st.Name, ".") && !strings.HasPrefix(name, ".")
		if ok, _ := path.Match(name, st.Name); !ok || hidden {
			continue
		}
		if len(rest) == 0 {
			yield(p)
			continue
		}
		if to, err := v.Stat(p); err == nil && to.Mode.IsDir() {
			if err := glob(ctx, v, p, rest, yield); err != nil {
				return err
			}
		}
	}
	return nil
}
