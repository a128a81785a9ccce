package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/cmd/sloth/editor"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/spec"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newDoc(a *app) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "doc [MODULE | MODULE.FUNCTION]",
		Short:   "Show what modules and functions there are, and their arguments",
		Example: "  sloth doc\n  sloth doc file_ops\n  sloth doc file_ops.copy\n  sloth doc task:timeout",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeFunctions(word, true)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if output != "" && output != "json" {
				return withHint(fmt.Errorf("--output %q is not known", output), "It may be json.")
			}
			if len(args) == 0 {
				return a.docIndex(output == "json")
			}
			page, err := findPage(args[0])
			if err != nil {
				return err
			}
			if output == "json" {
				return a.writeJSON(page)
			}
			_, err = fmt.Fprint(a.stdout, page.Text(a.columns()))
			return err
		},
	}
	c.Flags().StringVar(&output, "output", "", "json for programs")
	return c
}

// columns is how wide pages may be.
func (a *app) columns() int {
	if f, ok := a.stdout.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 40 {
			return min(w, 100)
		}
	}
	return 100
}

func (a *app) writeJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// docIndex lists all modules, and what the language itself has.
func (a *app) docIndex(asJSON bool) error {
	var libs []editor.Library
	width := 0
	for _, m := range all.Modules() {
		libs = append(libs, editor.Describe(m))
		width = max(width, len(m.Name))
	}
	if asJSON {
		return a.writeJSON(map[string]any{"modules": libs, "language": editor.Language()})
	}
	fmt.Fprint(a.stdout, "Modules\n\n")
	for _, l := range libs {
		fmt.Fprintf(a.stdout, "    %-*s  %s\n", width, l.Name, l.Summary)
	}
	fmt.Fprint(a.stdout, "\nThe language\n\n")
	var names []string
	for _, f := range editor.Language() {
		names = append(names, f.Name)
	}
	fmt.Fprintln(a.stdout, columnsOf(names, a.columns()))
	fmt.Fprint(a.stdout, "Name one for its page: sloth doc file_ops, sloth doc file_ops.copy, sloth doc retry.\n")
	return nil
}

// columnsOf lays names out in columns.
func columnsOf(names []string, columns int) string {
	wide := 0
	for _, n := range names {
		wide = max(wide, len(n)+2)
	}
	per := max((columns-4)/wide, 1)
	rows := (len(names) + per - 1) / per
	var b strings.Builder
	for r := range rows {
		line := "    "
		for i := r; i < len(names); i += rows {
			line += fmt.Sprintf("%-*s", wide, names[i])
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

type page interface{ Text(columns int) string }

// findPage finds a module, a function, or a word of the language; a function may
// also be named alone where only one module has it.
func findPage(name string) (page, error) {
	mods := all.Modules()
	words := editor.Language()
	for _, f := range words {
		if f.Name == name || strings.Replace(f.Name, ":", ".", 1) == name {
			return f, nil
		}
	}
	module, function, dotted := strings.Cut(name, ".")
	for _, m := range mods {
		if module != m.Name && !slices.Contains(m.Aliases, module) {
			continue
		}
		lib := editor.Describe(m)
		if !dotted {
			return lib, nil
		}
		for _, f := range lib.Functions {
			if f.Name == m.Name+"."+function || slices.Contains(f.Aliases, function) {
				return f, nil
			}
		}
		return nil, withHint(fmt.Errorf("%s has no function %q%s", m.Name, function, spec.Hint(function, functionNames(m))), "sloth doc "+m.Name+" lists them.")
	}
	if !dotted {
		if f, ok := onlyOne(mods, name); ok {
			return f, nil
		}
	}
	return nil, withHint(fmt.Errorf("there is no module or function %q%s", name, nearestPage(name, mods, words)), "sloth doc lists what there is.")
}

func functionNames(m modules.Module) []string {
	var names []string
	for _, f := range m.Funcs {
		names = append(append(names, f.Name), f.Aliases...)
	}
	return names
}

func onlyOne(mods []modules.Module, name string) (editor.Function, bool) {
	var found []editor.Function
	for _, m := range mods {
		for _, f := range editor.Describe(m).Functions {
			if f.Name == m.Name+"."+name {
				found = append(found, f)
			}
		}
	}
	if len(found) != 1 {
		return editor.Function{}, false
	}
	return found[0], true
}

// nearestPage names what was most likely meant, or what has a function of that
// name.
func nearestPage(name string, mods []modules.Module, words []editor.Function) string {
	var known, having []string
	for _, m := range mods {
		known = append(append(known, m.Name), m.Aliases...)
		for _, f := range m.Funcs {
			known = append(known, m.Name+"."+f.Name)
			if f.Name == name {
				having = append(having, m.Name+"."+name)
			}
		}
	}
	for _, f := range words {
		known = append(known, f.Name)
	}
	if len(having) > 0 {
		return "; there are " + strings.Join(having, ", ")
	}
	if n := spec.Nearest(name, known); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}

// completeFunctions gives names that begin with word: modules first, then the
// functions of one.
func completeFunctions(word string, withModules bool) ([]string, cobra.ShellCompDirective) {
	var out []string
	directive := cobra.ShellCompDirectiveNoFileComp
	for _, m := range all.Modules() {
		for _, name := range append([]string{m.Name}, m.Aliases...) {
			if rest, ok := strings.CutPrefix(word, name+"."); ok {
				for _, f := range m.Funcs {
					if strings.HasPrefix(f.Name, rest) {
						out = append(out, name+"."+f.Name+"\t"+f.Summary)
					}
				}
				continue
			}
			if strings.HasPrefix(name, word) {
				if withModules {
					out = append(out, name+"\t"+m.Summary)
				}
				out = append(out, name+".\t"+m.Summary)
				directive |= cobra.ShellCompDirectiveNoSpace
			}
		}
	}
	return out, directive
}
