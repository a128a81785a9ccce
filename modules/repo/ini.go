package repo

import (
	"slices"
	"strings"
)

// ini is a .repo file: all lines are kept but those of sections that change.
type ini struct{ sections []*section }

type section struct {
	name  string // empty: the lines before the first section
	lines []string
}

func parseINI(text string) *ini {
	f := &ini{}
	at := &section{}
	f.sections = append(f.sections, at)
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "[") && strings.HasSuffix(trimmed, "]") {
			at = &section{name: strings.TrimSpace(trimmed[1 : len(trimmed)-1])}
			f.sections = append(f.sections, at)
			continue
		}
		at.lines = append(at.lines, line)
	}
	return f
}

func (f *ini) section(name string) *section {
	for _, s := range f.sections[1:] {
		if s.name == name {
			return s
		}
	}
	return nil
}

// settings joins what goes on in further lines, as configparser does.
func (s *section) settings() map[string]string {
	out := map[string]string{}
	last := ""
	for _, line := range s.lines {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
		case last != "" && (line[0] == ' ' || line[0] == '\t'):
			out[last] += " " + trimmed
		default:
			key, value, ok := strings.Cut(trimmed, "=")
			if !ok {
				last = ""
				continue
			}
			last = strings.ToLower(strings.TrimSpace(key))
			out[last] = strings.TrimSpace(value)
		}
	}
	return out
}

// put replaces a section, or adds it at the end.
func (f *ini) put(name string, lines []string) {
	if s := f.section(name); s != nil {
		// What follows the settings, such as comments on the next section, stays.
		end := len(s.lines)
		for end > 0 && strings.TrimSpace(s.lines[end-1]) == "" {
			end--
		}
		s.lines = append(slices.Clone(lines), s.lines[end:]...)
		return
	}
	last := f.sections[len(f.sections)-1]
	if n := len(last.lines); (n > 0 || last.name != "") && (n == 0 || last.lines[n-1] != "") {
		last.lines = append(last.lines, "")
	}
	f.sections = append(f.sections, &section{name: name, lines: lines})
}

func (f *ini) drop(name string) bool {
	before := len(f.sections)
	f.sections = slices.DeleteFunc(f.sections, func(s *section) bool { return s.name == name && name != "" })
	return len(f.sections) != before
}

// empty reports whether nothing but blank lines and comments is left.
func (f *ini) empty() bool { return len(f.sections) == 1 && len(f.sections[0].settings()) == 0 }

func (f *ini) String() string {
	var out strings.Builder
	for _, s := range f.sections {
		if s.name != "" {
			out.WriteString("[" + s.name + "]\n")
		}
		for _, l := range s.lines {
			out.WriteString(l + "\n")
		}
	}
	return out.String()
}
