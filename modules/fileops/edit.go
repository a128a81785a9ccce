package fileops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// Edited are the arguments of functions that change a file from within. They
// write through a link.
type Edited struct {
	hostfile.Attrs
	hostfile.Keep

	want hostfile.Want
}

// Apply writes the edited file.
func (e *Edited) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return e.want.Apply(ctx, m)
}

// Plan tells the overlay.
func (e *Edited) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	for _, c := range d.Changes {
		if c.Unknown {
			o.PutUnknownFile(c.What, 0o644)
			return nil
		}
	}
	return e.want.Plan(ctx, o)
}

// Result adds the backup's name.
func (e *Edited) Result() map[string]any { return wrote(&e.want, "path") }

// missing says what to do about a file that is not there.
type missing int

const (
	missingFails  missing = iota
	missingEmpty          // it is made
	missingLeaves         // there is nothing to do
)

// edit reads the file, lets f make the new content, and compares. f gets nil
// for a file that is not there.
func (e *Edited) edit(ctx context.Context, v facts.Viewer, path string, when missing, f func([]byte) ([]byte, error)) (modules.Diff, error) {
	path, err := hostfile.Resolve(v, strings.TrimSuffix(path, "/"))
	if err != nil {
		return modules.Diff{}, err
	}
	e.want = hostfile.Want{Path: path, Attrs: e.Attrs, Keep: e.Keep}
	old, err := hostfile.Read(v, path)
	unknown := func() (modules.Diff, error) {
		return modules.Diff{Changes: []modules.Change{{What: path, Attr: "content", Unknown: true}}}, nil
	}
	switch {
	case errors.Is(err, modules.ErrUnknown):
		return unknown()
	case hostfile.Missing(err):
		switch when {
		case missingLeaves:
			return modules.Diff{}, nil
		case missingFails:
			if hostfile.Unsure(v) {
				return unknown()
			}
			return modules.Diff{}, fmt.Errorf("%s does not exist; say create = true if it should be made", path)
		}
		old = nil
	case err != nil:
		return modules.Diff{}, err
	}
	fresh, err := f(old)
	if err != nil {
		return modules.Diff{}, err
	}
	e.want.Source = hostfile.Bytes(fresh, false)
	return e.want.Check(ctx, v)
}

// splitLines cuts content after each line end, which the lines keep.
func splitLines(content []byte) []string {
	if len(content) == 0 {
		return nil
	}
	lines := strings.SplitAfter(string(content), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// lineEnd is how the file ends its lines.
func lineEnd(content []byte) string {
	if i := bytes.IndexByte(content, '\n'); i > 0 && content[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// bare is a line without its end.
func bare(line string) string { return strings.TrimRight(line, "\r\n") }

// endOf is the line's end; empty for a last line without one.
func endOf(line string) string { return line[len(bare(line)):] }

// compile turns a pattern in Python's or Perl's manner into Go's, and explains
// what RE2 does not have.
func compile(arg, flags, pattern string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(flags + strings.ReplaceAll(pattern, `\Z`, `\z`))
	if err == nil {
		return re, nil
	}
	for _, l := range []string{"(?=", "(?!", "(?<=", "(?<!"} {
		if strings.Contains(pattern, l) {
			return nil, fmt.Errorf("%s = %q: looking ahead or behind (%s…) is not available; match the whole and put back what should stay with \\1", arg, pattern, l)
		}
	}
	if back.MatchString(pattern) {
		return nil, fmt.Errorf("%s = %q: a reference to a group inside the pattern is not available", arg, pattern)
	}
	var e interface{ Error() string } = err
	return nil, fmt.Errorf("%s = %q: %s", arg, pattern, strings.TrimPrefix(e.Error(), "error parsing regexp: "))
}

var back = regexp.MustCompile(`\\[1-9]`)

// expand fills \1, \g<1> and \g<name> in a template from a match.
func expand(re *regexp.Regexp, template, src string, match []int) (string, error) {
	var out strings.Builder
	for i := 0; i < len(template); i++ {
		c := template[i]
		if c != '\\' || i+1 == len(template) {
			out.WriteByte(c)
			continue
		}
		i++
		switch c = template[i]; {
		case c >= '0' && c <= '9':
			n := int(c - '0')
			if i+1 < len(template) && template[i+1] >= '0' && template[i+1] <= '9' && n > 0 {
				i++
				n = n*10 + int(template[i]-'0')
			}
			text, err := group(re, src, match, fmt.Sprint(n))
			if err != nil {
				return "", err
			}
			out.WriteString(text)
		case c == 'g' && i+1 < len(template) && template[i+1] == '<':
			end := strings.IndexByte(template[i:], '>')
			if end < 0 {
				return "", fmt.Errorf(`%q: \g< is not closed`, template)
			}
			text, err := group(re, src, match, template[i+2:i+end])
			if err != nil {
				return "", err
			}
			out.WriteString(text)
			i += end
		case c == 'n':
			out.WriteByte('\n')
		case c == 't':
			out.WriteByte('\t')
		case c == '\\':
			out.WriteByte('\\')
		default:
			out.WriteByte('\\')
			out.WriteByte(c)
		}
	}
	return out.String(), nil
}

func group(re *regexp.Regexp, src string, match []int, name string) (string, error) {
	n := re.SubexpIndex(name)
	if n < 0 {
		if _, err := fmt.Sscanf(name, "%d", &n); err != nil || n < 0 || n > re.NumSubexp() {
			return "", fmt.Errorf("the pattern %q has no group %q", re, name)
		}
	}
	if match[2*n] < 0 {
		return "", nil
	}
	return src[match[2*n]:match[2*n+1]], nil
}
