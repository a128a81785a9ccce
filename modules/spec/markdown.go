package spec

import (
	"fmt"
	"strings"

	"github.com/sloth-runner/sloth/modules"
)

// Markdown is the page of one module.
func Markdown(m modules.Module) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n", m.Name, m.Summary)
	if len(m.Aliases) > 0 {
		fmt.Fprintf(&b, "\nAlso called %s.\n", code(m.Aliases))
	}
	if m.Call != "" {
		fmt.Fprintf(&b, "\n`%s(…)` is `%s.%s(…)`.\n", m.Name, m.Name, m.Call)
	}
	for _, f := range m.Funcs {
		function(&b, m.Name, f)
	}
	return b.String()
}

func function(b *strings.Builder, module string, f modules.Func) {
	s := Of(f)
	fmt.Fprintf(b, "\n## %s.%s\n\n%s", module, f.Name, f.Summary)
	if len(f.Aliases) > 0 {
		fmt.Fprintf(b, " Also called %s.", code(f.Aliases))
	}
	fmt.Fprintf(b, "\n\n```lua\n%s\n```\n", f.Example)
	if f.Returns != "" {
		fmt.Fprintf(b, "\nReturns %s.\n", plainReturns(f.Returns))
	}
	switch {
	case s.Kind == Changer:
		b.WriteString("\nUnder plan it says what it would change; it raises an error when it fails.\n")
	case s.Kind == Tool && !planSafe(f):
		b.WriteString("\nUnder plan it is not run.\n")
	}
	if len(s.Args) == 0 {
		return
	}
	b.WriteString("\n| argument | type | default | meaning |\n|---|---|---|---|\n")
	for _, a := range s.Args {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", argument(a), cell(a.kind()), defaultOf(a), cell(a.Doc))
	}
}

func planSafe(f modules.Func) bool {
	t, ok := f.New().(modules.Tool)
	return ok && t.PlanSafe()
}

func plainReturns(text string) string { return "`" + strings.TrimSuffix(text, ".") + "`" }

func argument(a Argument) string {
	text := "`" + a.Name + "`"
	if a.Pos > 0 {
		text += fmt.Sprintf(" (%d)", a.Pos)
	}
	if len(a.Aliases) > 0 {
		text += ", also " + code(a.Aliases)
	}
	return text
}

// kind is the type with what narrows it.
func (a Argument) kind() string {
	switch {
	case len(a.Enum) > 0:
		return "one of " + code(a.Enum)
	case a.Path:
		return "path on the host"
	}
	return a.Type
}

func defaultOf(a Argument) string {
	switch {
	case a.Required:
		return "required"
	case a.Default == "":
		return ""
	}
	return "`" + cell(a.Default) + "`"
}

func code(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }

// cell keeps text inside its table cell.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}

// Index is the page that lists the modules.
func Index(mods []modules.Module) string {
	var b strings.Builder
	b.WriteString(`# Modules

Every module is a global, and ` + "`require(\"NAME\")`" + ` returns the very same table. A function takes its arguments by
position (the number behind a name), by name in one table, or both: ` + "`f(a, b, { name = value })`" + `. A lone text or
list is the first argument. An argument that is not known is an error that names the nearest one.

A mode is text, ` + "`\"0644\"`" + ` or ` + "`\"u+x\"`" + `, or a number written ` + "`0o644`" + `; the decimal 644 is refused. A duration is seconds or
text such as ` + "`\"5m\"`" + `. A path on the host is absolute, or starts at the task's workdir, or with ` + "`~/`" + `. Functions that
change something return ` + "`{success, changed, message, diff}`" + ` and raise an error when they fail.

A file is replaced whole or not at all: the new one is finished beside the old one, gets its owner, mode, ACL and
attributes, is synced, and takes its name. Other users cannot lead a write astray. Below a folder that everybody can write
to, such as /tmp, links and folders of other users (root's excepted) are refused; elsewhere a link of another user may only
lead to what is that user's own. Where a refusal is not what you want, name the place itself instead of the link.

| module | what for | functions |
|---|---|---|
`)
	for _, m := range mods {
		var names []string
		for _, f := range m.Funcs {
			names = append(names, f.Name)
		}
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s |\n", m.Name, m.Name, cell(m.Summary), strings.Join(names, " "))
	}
	return b.String()
}
