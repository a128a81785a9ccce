package editor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

// Argument is one argument as programs read it.
type Argument struct {
	Name     string   `json:"name"`
	Aliases  []string `json:"aliases"`
	Type     string   `json:"type"`
	Position int      `json:"position"` // from 1; 0: by name alone
	Required bool     `json:"required"`
	Default  string   `json:"default"`
	Enum     []string `json:"enum"`
	Path     bool     `json:"path"`
	Doc      string   `json:"doc"`
}

// Function is one function, of a module or of the language.
type Function struct {
	Name    string   `json:"name"` // "file_ops.copy"
	Aliases []string `json:"aliases"`
	Summary string   `json:"summary"`
	Example string   `json:"example"`
	Returns string   `json:"returns"`
	// Kind is "changer", "querier" or "tool"; "language" for the language itself.
	Kind      string     `json:"kind"`
	Arguments []Argument `json:"arguments"`
}

// Library is a module with its functions.
type Library struct {
	Name      string     `json:"name"`
	Aliases   []string   `json:"aliases"`
	Summary   string     `json:"summary"`
	Call      string     `json:"call"` // what calling the table itself means, or ""
	Functions []Function `json:"functions"`
}

// Describe tells what a module's tags say.
func Describe(m modules.Module) Library {
	out := Library{Name: m.Name, Aliases: noNil(m.Aliases), Summary: m.Summary, Functions: []Function{}}
	if m.Call != "" {
		out.Call = m.Name + "." + m.Call
	}
	for _, f := range m.Funcs {
		s := spec.Of(f)
		fn := Function{
			Name: m.Name + "." + f.Name, Aliases: noNil(f.Aliases), Summary: f.Summary, Example: f.Example, Returns: f.Returns,
			Kind: string(s.Kind), Arguments: []Argument{},
		}
		for _, a := range s.Args {
			fn.Arguments = append(fn.Arguments, Argument{
				Name: a.Name, Aliases: noNil(a.Aliases), Type: a.Type, Position: a.Pos, Required: a.Required,
				Default: a.Default, Enum: noNil(a.Enum), Path: a.Path, Doc: a.Doc,
			})
		}
		out.Functions = append(out.Functions, fn)
	}
	return out
}

func noNil(list []string) []string { return append([]string{}, list...) }

// Text is the page of a function for a terminal of so many columns.
func (f Function) Text(columns int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", f.Name)
	wrap(&b, f.Summary, "    ", columns)
	if len(f.Aliases) > 0 {
		wrap(&b, "Also called "+strings.Join(f.Aliases, ", ")+".", "    ", columns)
	}
	if f.Example != "" {
		fmt.Fprintf(&b, "\n        %s\n", strings.ReplaceAll(f.Example, "\n", "\n        "))
	}
	if f.Returns != "" {
		b.WriteString("\n")
		wrap(&b, "Returns "+strings.TrimSuffix(f.Returns, ".")+".", "    ", columns)
	}
	switch f.Kind {
	case string(spec.Changer):
		b.WriteString("\n")
		wrap(&b, "Under plan it says what it would change; it raises an error when it fails.", "    ", columns)
	}
	if len(f.Arguments) > 0 {
		b.WriteString("\nArguments\n")
	}
	for _, a := range f.Arguments {
		a.text(&b, columns)
	}
	return b.String()
}

func (a Argument) text(b *strings.Builder, columns int) {
	fmt.Fprintf(b, "\n    %s", a.Name)
	if a.Position > 0 {
		fmt.Fprintf(b, " (%d)", a.Position)
	}
	switch {
	case len(a.Enum) > 0:
		b.WriteString("  one of " + strings.Join(a.Enum, ", "))
	case a.Path:
		b.WriteString("  path on the host")
	default:
		b.WriteString("  " + a.Type)
	}
	switch {
	case a.Required:
		b.WriteString(", required")
	case a.Default != "":
		b.WriteString(", default " + a.Default)
	}
	b.WriteString("\n")
	doc := a.Doc
	if len(a.Aliases) > 0 {
		doc += " (also " + strings.Join(a.Aliases, ", ") + ")"
	}
	if doc != "" {
		wrap(b, doc, "        ", columns)
	}
}

// Text is the page of a module.
func (l Library) Text(columns int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", l.Name)
	wrap(&b, l.Summary, "    ", columns)
	if len(l.Aliases) > 0 {
		wrap(&b, "Also called "+strings.Join(l.Aliases, ", ")+".", "    ", columns)
	}
	if l.Call != "" {
		wrap(&b, fmt.Sprintf("%s(…) is %s(…).", l.Name, l.Call), "    ", columns)
	}
	b.WriteString("\nFunctions\n\n")
	width := 0
	for _, f := range l.Functions {
		width = max(width, len(f.Name))
	}
	for _, f := range l.Functions {
		fmt.Fprintf(&b, "    %-*s  %s\n", width, f.Name, f.Summary)
	}
	return b.String()
}

// wrap writes text in lines of at most columns bytes.
func wrap(b *strings.Builder, text, indent string, columns int) {
	line := indent
	for _, word := range strings.Fields(text) {
		if line != indent && len(line)+1+len(word) > columns {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
}

// builders are the classes of the stubs, by what people call them.
var builders = map[string]string{"Task": "task", "Workflow": "workflow", "Handle": "handle"}

// Language lists what the language itself has: "retry", "task.timeout".
func Language() []Function {
	var out []Function
	var comment []string
	for line := range strings.Lines(language) {
		line = strings.TrimRight(line, "\n")
		if text, ok := strings.CutPrefix(line, "---"); ok {
			comment = append(comment, text)
			continue
		}
		head, _, _ := strings.Cut(line, "(")
		if name, ok := strings.CutPrefix(head, "function "); ok {
			out = append(out, ofComment(name, comment))
		}
		comment = nil
	}
	slices.SortFunc(out, func(a, b Function) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// ofComment reads what a stub says above a function.
func ofComment(name string, comment []string) Function {
	f := Function{Name: name, Kind: "language", Aliases: []string{}, Arguments: []Argument{}}
	if class, method, ok := strings.Cut(name, ":"); ok {
		f.Name = builders[class] + ":" + method
	}
	var summary, example, returns []string
	for _, line := range comment {
		tag, rest, _ := strings.Cut(line, " ")
		switch {
		case tag == "@param":
			name, rest, _ := strings.Cut(rest, " ")
			typ, doc := typeAndDoc(rest)
			if keys := keysOf(typ); len(keys) > 0 {
				doc = strings.TrimSpace(doc + " Keys: " + strings.Join(keys, ", "))
			}
			f.Arguments = append(f.Arguments, Argument{
				Name: strings.TrimSuffix(name, "?"), Required: !strings.HasSuffix(name, "?") && name != "...", Type: plainType(typ), Doc: doc,
				Position: len(f.Arguments) + 1, Aliases: []string{}, Enum: []string{},
			})
		case tag == "@return":
			typ, doc := typeAndDoc(rest)
			returns = append(returns, strings.TrimSpace(plainType(typ)+" "+doc))
		case strings.HasPrefix(line, "@"):
		case strings.HasPrefix(line, "    "):
			example = append(example, strings.TrimPrefix(line, "    "))
		case line != "":
			summary = append(summary, line)
		}
	}
	f.Summary, f.Example, f.Returns = strings.Join(summary, " "), strings.Join(example, "\n"), strings.Join(returns, ", ")
	return f
}

// plainType leaves out the prefix of the stubs' own classes.
func plainType(typ string) string { return strings.ReplaceAll(typ, "sloth.", "") }

// keysOf gives the keys of the tables of options among the alternatives of a type.
func keysOf(typ string) []string {
	var keys []string
	for _, one := range strings.Split(typ, "|") {
		if !strings.HasSuffix(one, "_options") && !strings.HasSuffix(one, "_config") {
			continue
		}
		_, rest, _ := strings.Cut(language, "---@class "+one+"\n")
		for line := range strings.Lines(rest) {
			field, ok := strings.CutPrefix(line, "---@field ")
			if !ok {
				break
			}
			name, _, _ := strings.Cut(field, " ")
			keys = append(keys, strings.TrimSuffix(name, "?"))
		}
	}
	return keys
}

// typeAndDoc parts a type, which may have blanks inside of brackets and behind
// colons and commas, from the words behind it.
func typeAndDoc(text string) (typ, doc string) {
	depth := 0
	for i, c := range text {
		switch c {
		case '(', '{', '<', '[':
			depth++
		case ')', '}', '>', ']':
			depth--
		case ' ':
			if depth == 0 && i > 0 && text[i-1] != ':' && text[i-1] != ',' {
				return text[:i], text[i+1:]
			}
		}
	}
	return text, ""
}
