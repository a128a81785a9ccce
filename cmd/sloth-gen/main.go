// sloth-gen writes what follows from the modules' argument structs: the pages
// of docs/modules, and stubs for editors. Run it at the top of the repository.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/spec"
)

func main() {
	if err := generate("docs/modules", all.Modules()); err != nil {
		fmt.Fprintln(os.Stderr, "sloth-gen:", err)
		os.Exit(1)
	}
}

// generate writes the pages into dir and removes those of modules that are gone.
func generate(dir string, mods []modules.Module) error {
	pages := map[string]string{"README.md": spec.Index(mods), "stubs.lua": spec.Stubs(mods)}
	for _, m := range mods {
		pages[m.Name+".md"] = spec.Markdown(m)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range old {
		if _, wanted := pages[e.Name()]; !wanted && strings.HasSuffix(e.Name(), ".md") {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for name, text := range pages {
		path := filepath.Join(dir, name)
		if was, err := os.ReadFile(path); err == nil && bytes.Equal(was, []byte(text)) {
			continue // make sees times
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
