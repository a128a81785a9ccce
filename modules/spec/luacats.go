package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/modules"
)

// Stubs is one file with the stubs of all modules.
func Stubs(mods []modules.Module) string {
	parts := []string{"---@meta\n-- Written by sloth: what the Lua language server should know about its modules.\n"}
	for _, m := range mods {
		parts = append(parts, luaCATS(m))
	}
	return strings.Join(parts, "\n")
}

// luaCATS is the stub of one module for the Lua language server: it completes
// functions and arguments and warns at wrong ones before anything runs.
func luaCATS(m modules.Module) string {
	var b strings.Builder
	for _, f := range m.Funcs {
		options(&b, m.Name, f)
	}
	fmt.Fprintf(&b, "---%s\n---@class %slib\n", m.Summary, m.Name)
	if m.Call != "" {
		fmt.Fprintf(&b, "---@overload fun(args: %s.%s.args): any\n", m.Name, m.Call)
	}
	fmt.Fprintf(&b, "%s = {}\n", m.Name)
	for _, f := range m.Funcs {
		stub(&b, m.Name, f)
	}
	for _, alias := range m.Aliases {
		fmt.Fprintf(&b, "\n%s = %s\n", alias, m.Name)
	}
	return b.String()
}

// options declares the table of named arguments.
func options(b *strings.Builder, module string, f modules.Func) {
	s := Of(f)
	if len(s.Args) == 0 {
		return
	}
	fmt.Fprintf(b, "---@class %s.%s.args\n", module, f.Name)
	for _, a := range s.Args {
		for _, name := range append([]string{a.Name}, a.Aliases...) {
			fmt.Fprintf(b, "---@field %s? %s %s\n", name, a.luaType(), a.Doc)
		}
	}
	b.WriteString("\n")
}

func stub(b *strings.Builder, module string, f modules.Func) {
	s := Of(f)
	fmt.Fprintf(b, "\n---%s\n---\n---    %s\n", f.Summary, strings.ReplaceAll(f.Example, "\n", "\n---    "))
	args := module + "." + f.Name + ".args"
	var params []string
	for n, i := range s.pos {
		a := s.Args[i]
		typ := a.luaType()
		if n == 0 && !a.takesTable() {
			typ += "|" + args
		}
		optional := ""
		if !a.Required || n > 0 {
			optional = "?"
		}
		name := luaName(a.Name)
		fmt.Fprintf(b, "---@param %s%s %s %s\n", name, optional, typ, a.Doc)
		params = append(params, name)
	}
	if len(s.Args) > len(s.pos) || len(s.pos) == 0 && len(s.Args) > 0 {
		fmt.Fprintf(b, "---@param args? %s\n", args)
		params = append(params, "args")
	}
	if s.Kind == Changer {
		b.WriteString("---@return {success: boolean, changed: boolean, message: string, diff: table[]}\n")
	} else if f.Returns != "" {
		fmt.Fprintf(b, "---@return any # %s\n", f.Returns)
	}
	if slices.Contains(keywords, f.Name) {
		fmt.Fprintf(b, "%s = function(%s) end\n", member(module, f.Name), strings.Join(params, ", "))
	} else {
		fmt.Fprintf(b, "function %s.%s(%s) end\n", module, f.Name, strings.Join(params, ", "))
	}
	for _, alias := range f.Aliases {
		fmt.Fprintf(b, "%s = %s\n", member(module, alias), member(module, f.Name))
	}
}

// member is a function of a module as every Lua reads it.
func member(module, name string) string {
	if slices.Contains(keywords, name) {
		return fmt.Sprintf("%s[%q]", module, name)
	}
	return module + "." + name
}

// luaName keeps keywords out of parameter lists.
func luaName(name string) string {
	if slices.Contains(keywords, name) {
		return name + "_"
	}
	return name
}

var keywords = strings.Fields("and break do else elseif end false for function if in local nil not or repeat return then true until while")

func (a Argument) luaType() string {
	if len(a.Enum) > 0 {
		return `"` + strings.Join(a.Enum, `"|"`) + `"`
	}
	switch a.Type {
	case "text", "secret":
		return "string"
	case "mode", "duration":
		return "string|number"
	case "function":
		return "function"
	case "list of text":
		return "string[]|string"
	case "list of integers":
		return "integer[]"
	case "list":
		return "any[]"
	case "list of tables":
		return "table[]"
	case "table":
		return "table"
	case "table of text":
		return "table<string, string>"
	}
	return a.Type
}
