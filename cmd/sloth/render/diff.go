package render

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"

	"github.com/sloth-runner/sloth/modules"
)

const (
	// maxDiffInput is the size of texts that are compared line by line;
	// maxDiffLines is how much of the answer is shown.
	maxDiffInput = 512 << 10
	maxDiffLines = 200
)

// diffLines shows d for people, one string a line without its end. Texts are
// unified diffs, other attributes "attr: before → after" below their thing.
func diffLines(d modules.Diff) []string {
	var out []string
	for i := 0; i < len(d.Changes); {
		n := i
		for n < len(d.Changes) && d.Changes[n].What == d.Changes[i].What {
			n++
		}
		out = append(out, thing(d.Changes[i:n])...)
		i = n
	}
	return out
}

// thing shows the changes of one thing, its text first.
func thing(changes []modules.Change) []string {
	created, deleted := false, false
	for _, c := range changes {
		created = created || c.Attr == "state" && c.Before == modules.Absent
		deleted = deleted || c.Attr == "state" && c.After == modules.Absent
	}
	var texts, attrs []string
	for _, c := range changes {
		switch {
		case c.Attr == "state" && slices.ContainsFunc(changes, shownAsText):
			// The names above the text say it.
		case shownAsText(c):
			texts = append(texts, unified(c, created, deleted)...)
		default:
			attrs = append(attrs, "  "+attribute(c, created))
		}
	}
	if texts == nil {
		return append([]string{Name(changes[0].What)}, attrs...)
	}
	return append(texts, attrs...)
}

func shownAsText(c modules.Change) bool { return c.Text && !c.Hidden && !c.Unknown }

// attribute shows the change of one attribute; what was created just now had no
// value before.
func attribute(c modules.Change, created bool) string {
	name := Name(c.Attr)
	if name == "" {
		name = "value"
	}
	switch {
	case c.Hidden:
		return name + ": changed (hidden)"
	case c.Unknown:
		return fmt.Sprintf("%s: %s → unknown until applied", name, value(c.Before))
	}
	if created && c.Before == "" {
		return name + ": " + value(c.After)
	}
	return fmt.Sprintf("%s: %s → %s", name, value(c.Before), value(c.After))
}

func value(s string) string {
	if s == "" {
		return `""`
	}
	return cut(Name(s), 120)
}

func unified(c modules.Change, created, deleted bool) []string {
	name := Name(c.What)
	switch {
	case len(c.Before)+len(c.After) > maxDiffInput:
		return []string{name, fmt.Sprintf("  %s: %d bytes → %d bytes, too long to compare here", attrOr(c.Attr), len(c.Before), len(c.After))}
	case !utf8.ValidString(c.Before) || !utf8.ValidString(c.After):
		return []string{name, fmt.Sprintf("  %s: %d bytes → %d bytes, not text", attrOr(c.Attr), len(c.Before), len(c.After))}
	}
	from, to := name, name
	if created {
		from = "/dev/null"
	}
	if deleted {
		to = "/dev/null"
	}
	text := udiff.Unified(from, to, c.Before, c.After)
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range all {
		all[i] = Sanitize(strings.TrimSuffix(l, "\r"))
	}
	if n := len(all) - maxDiffLines; n > 0 {
		all = append(all[:maxDiffLines], fmt.Sprintf("… %d more lines", n))
	}
	return all
}

func attrOr(s string) string {
	if s == "" {
		return "content"
	}
	return Name(s)
}

// diff colours one line of diffLines.
func (p painter) diff(line string) string {
	switch {
	case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
		return p.bold(line)
	case strings.HasPrefix(line, "+"):
		return p.green(line)
	case strings.HasPrefix(line, "-"):
		return p.red(line)
	case strings.HasPrefix(line, "@@"):
		return p.cyan(line)
	case strings.HasPrefix(line, "…"):
		return p.dim(line)
	}
	return line
}
