// Package editor writes what editors and terminals show about the language and
// its modules: stubs for the Lua language server, and pages.
package editor

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

//go:embed language.lua
var language string

// Folder is where the stubs are, below the project's.
const Folder = ".sloth/stubs"

// Settings is the file in the project's folder that the language server reads.
const Settings = ".luarc.json"

// Stubs are the stub files by their names in Folder.
func Stubs(mods []modules.Module) map[string]string {
	return map[string]string{"language.lua": language + factsStub(), "modules.lua": spec.Stubs(mods)}
}

// factsStub names the facts, so that they are completed.
func factsStub() string {
	var b strings.Builder
	b.WriteString("\n---@class sloth.facts\n")
	for _, name := range slices.Compact(facts.Names()) {
		fmt.Fprintf(&b, "---@field %s any\n", name)
	}
	b.WriteString("---@field [string] any\n\n---What the host is, collected at first use.\n---@type sloth.facts\nfacts = {}\n")
	return b.String()
}

// Configure gives the text of the settings file that makes the language server
// read the stubs. What old says otherwise stays; old is empty where there is no
// file.
func Configure(old []byte) ([]byte, error) {
	settings := map[string]any{}
	if len(bytes.TrimSpace(old)) > 0 {
		if err := json.Unmarshal(old, &settings); err != nil {
			return nil, fmt.Errorf("it is no JSON without comments: %w", err)
		}
	} else {
		settings["$schema"] = "https://raw.githubusercontent.com/LuaLS/vscode-lua/master/setting/schema.json"
	}
	for name, value := range map[string]any{"runtime.version": "Lua 5.1", "workspace.checkThirdParty": false} {
		if _, said := setting(settings, name); !said {
			settings[name] = value
		}
	}
	library := []any{}
	key := "workspace.library"
	if v, said := setting(settings, key); said {
		list, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf("%s is no list", key)
		}
		library = list
	}
	if !slices.Contains(library, any(Folder)) {
		put(settings, key, append(library, Folder))
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(settings)
	return out.Bytes(), err
}

// forms are the ways in which a setting may be written: with or without the
// prefix, in one key or nested.
func forms(name string) [][]string {
	group, key, _ := strings.Cut(name, ".")
	return [][]string{{name}, {"Lua." + name}, {group, key}, {"Lua", group, key}}
}

func setting(settings map[string]any, name string) (any, bool) {
	for _, path := range forms(name) {
		if v, ok := at(settings, path); ok {
			return v, true
		}
	}
	return nil, false
}

func at(settings map[string]any, path []string) (any, bool) {
	var v any = settings
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[key]; !ok {
			return nil, false
		}
	}
	return v, true
}

// put sets a setting where it is written already, else in one key.
func put(settings map[string]any, name string, value any) {
	for _, path := range forms(name) {
		if _, said := at(settings, path); !said {
			continue
		}
		m, last := settings, len(path)-1
		for _, key := range path[:last] {
			m = m[key].(map[string]any)
		}
		m[path[last]] = value
		return
	}
	settings[name] = value
}
