package repo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// sourceLine is a repository as one line of sources.list.
type sourceLine struct {
	kind       string
	options    []string // "arch=amd64"
	uri, suite string
	components []string
}

// parseLine reads "deb [OPTIONS] URI SUITE COMPONENTS".
func parseLine(text string) (sourceLine, error) {
	var s sourceLine
	fail := func(why string) (sourceLine, error) {
		return s, fmt.Errorf("line = %q %s; it looks like \"deb [signed-by=/etc/apt/keyrings/x.asc] https://deb.example.com stable main\"", text, why)
	}
	if strings.ContainsAny(text, "\r\n\x00#") {
		return fail("is not one line without a comment")
	}
	kind, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	if s.kind = kind; kind != "deb" && kind != "deb-src" {
		return fail("begins with neither deb nor deb-src")
	}
	rest = strings.TrimSpace(rest)
	if strings.HasPrefix(rest, "[") {
		options, after, ok := strings.Cut(rest[1:], "]")
		if !ok {
			return fail("has a [ without a ]")
		}
		for _, o := range strings.Fields(options) {
			if name, value, ok := strings.Cut(o, "="); !ok || name == "" || value == "" {
				return fail("has the option " + o + ", which is not NAME=VALUE")
			}
			s.options = append(s.options, o)
		}
		rest = after
	}
	words := strings.Fields(rest)
	if len(words) < 2 {
		return fail("has no address and suite")
	}
	s.uri, s.suite, s.components = words[0], words[1], words[2:]
	switch flat := strings.HasSuffix(s.suite, "/"); {
	case !aptSchema().MatchString(s.uri):
		return fail("has no address that apt knows")
	case flat && len(s.components) > 0:
		return fail("has components for a suite that is a folder")
	case !flat && len(s.components) == 0:
		return fail("has no components behind the suite")
	}
	return s, nil
}

// String is the line with single blanks.
func (s sourceLine) String() string {
	words := []string{s.kind}
	if len(s.options) > 0 {
		words = append(words, "["+strings.Join(s.options, " ")+"]")
	}
	return strings.Join(append(append(words, s.uri, s.suite), s.components...), " ")
}

func (a *apt) validateLine() error {
	var err error
	if a.line, err = parseLine(a.Line); err != nil {
		return err
	}
	for name, given := range map[string]bool{"uris": len(a.URIs) > 0, "suites": len(a.Suites) > 0, "components": len(a.Components) > 0,
		"architectures": len(a.Archs) > 0, "options": len(a.Options) > 0, "types": !slices.Equal(a.Types, []string{"deb"}), "enabled": !a.Enabled} {
		if given {
			return fmt.Errorf("give one of line and %s: a line says it itself", name)
		}
	}
	if a.Name == "" {
		a.Name = nameOf(a.line.uri)
	}
	if err := checkName(a.Name); err != nil {
		return err
	}
	if a.Key != "" && slices.ContainsFunc(a.line.options, func(o string) bool { return strings.HasPrefix(o, "signed-by=") }) {
		return errors.New("the line says signed-by itself; leave out key, or signed-by")
	}
	return a.checkKey()
}

// checkLine looks for the line in all files of lines.
func (a *apt) checkLine(ctx context.Context, v facts.Viewer) error {
	line := a.line
	if a.State == present {
		by, err := a.signer(ctx, v)
		if err != nil {
			return err
		}
		if by != "" {
			line.options = append(slices.Clone(line.options), "signed-by="+by)
		}
	} else if a.Key != "" {
		line.options = append(slices.Clone(line.options), "signed-by=*")
	}
	files, err := aptFiles(v)
	if err != nil {
		return err
	}
	for _, path := range files {
		if !strings.HasSuffix(path, dotSources) {
			if found, err := a.lineIn(ctx, v, path, line); err != nil || found {
				return err
			}
		}
	}
	if a.State != present {
		return nil
	}
	old, err := hostfile.Read(v, a.path())
	if err != nil && !hostfile.Missing(err) {
		return err
	}
	text := string(old)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return a.w.file(ctx, v, a.path(), text+line.String()+"\n")
}

// lineIn reports whether a wanted line is in a file; one that is not wanted it
// takes out, with a file of which nothing is left.
func (a *apt) lineIn(ctx context.Context, v facts.Viewer, path string, line sourceLine) (bool, error) {
	data, err := hostfile.Read(v, path)
	if err != nil {
		return false, err
	}
	var rest []string
	found := false
	for text := range strings.Lines(string(data)) {
		entry, _, _ := strings.Cut(text, "#")
		is, err := parseLine(strings.TrimSpace(entry))
		if err == nil && is.same(line) {
			found = true
			continue
		}
		rest = append(rest, text)
	}
	if a.State == present || !found {
		return found, nil
	}
	left := strings.Join(rest, "")
	if strings.TrimSpace(left) == "" && filepath.Dir(path) == aptFolder {
		return false, a.w.remove(v, path)
	}
	return false, a.w.file(ctx, v, path, left)
}

// same compares lines; signed-by=* is any key.
func (s sourceLine) same(want sourceLine) bool {
	whatever := slices.Contains(want.options, "signed-by=*")
	plain := func(l sourceLine) sourceLine {
		l.options = slices.DeleteFunc(slices.Clone(l.options), func(o string) bool { return whatever && strings.HasPrefix(o, "signed-by=") })
		slices.Sort(l.options)
		return l
	}
	return plain(s).String() == plain(want).String()
}

var _ modules.Changer = (*apt)(nil)
