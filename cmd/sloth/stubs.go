package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/cmd/sloth/editor"
	"github.com/sloth-runner/sloth/modules/all"
)

func newStubs(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "stubs [FOLDER]",
		Short: "Let an editor complete modules and the language, and warn at wrong arguments",
		Long: `stubs writes what the Lua language server (LuaLS) should know: files in ` + editor.Folder + `, and
` + editor.Settings + `, in which it leaves other settings as they are. Run it in the project's folder, and
again after an update of sloth.

The editor has to know that .sloth files are Lua. In VS Code's settings:
  "files.associations": { "*.sloth": "lua" }
In Neovim:
  vim.filetype.add({ extension = { sloth = "lua" } })`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return a.writeStubs(dir)
		},
	}
}

// writeStubs changes nothing where the settings cannot be completed.
func (a *app) writeStubs(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(fmt.Errorf("there is no folder %s", dir), "Make it first, or run sloth stubs in the project's folder.")
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no folder", dir)
	}
	path := filepath.Join(dir, editor.Settings)
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	settings, err := editor.Configure(old)
	if err != nil {
		return withHint(fmt.Errorf("complete %s: %w", path, err), fmt.Sprintf("Add %q to workspace.library in it yourself, or move it away.", editor.Folder))
	}
	folder := filepath.Join(dir, filepath.FromSlash(editor.Folder))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	stubs := editor.Stubs(all.Modules())
	for _, name := range slices.Sorted(maps.Keys(stubs)) {
		if err := a.writeFresh(filepath.Join(folder, name), []byte(stubs[name])); err != nil {
			return err
		}
	}
	return a.writeFresh(path, settings)
}

// writeFresh writes a file that differs.
func (a *app) writeFresh(path string, text []byte) error {
	if was, err := os.ReadFile(path); err == nil && bytes.Equal(was, text) {
		fmt.Fprintf(a.stdout, "%s is up to date\n", path)
		return nil
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "wrote %s\n", path)
	return nil
}
