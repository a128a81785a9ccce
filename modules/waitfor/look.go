package waitfor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

const (
	maxShown = 200      // bytes of what was seen, in messages
	maxFile  = 16 << 20 // bytes of a file that are searched, from its end
)

// shown is something a host said, fit for a message.
func shown(text []byte) string {
	s := strings.ToValidUTF8(strings.TrimRight(string(text), "\r\n"), "?")
	if s == "" {
		return "nothing"
	}
	if len(s) > maxShown {
		s = "…" + strings.ToValidUTF8(s[len(s)-maxShown:], "")
	}
	return fmt.Sprintf("%q", s)
}

// matched is what a search_regex found.
type matched struct{ text []string }

func (m *matched) in(re *regexp.Regexp, data []byte) bool {
	found := re.FindSubmatch(data)
	if found == nil {
		return false
	}
	m.text = nil
	for _, f := range found {
		m.text = append(m.text, string(f))
	}
	return true
}

func (m *matched) found(result map[string]any) {
	if m.text == nil {
		return
	}
	groups := make([]any, len(m.text)-1)
	for i, g := range m.text[1:] {
		groups[i] = g
	}
	result["match"], result["groups"] = m.text[0], groups
}

// file is a path that should be there, or not.
type file struct {
	path   string
	absent bool
	search *regexp.Regexp
	match  matched
}

func newFile(path, state, expression string) (*file, error) {
	search, err := compile(expression)
	f := &file{path: path, absent: state == "absent" || state == "stopped", search: search}
	switch {
	case err != nil:
		return nil, err
	case state == "drained":
		return nil, errors.New("drained is a state of ports")
	case f.absent && search != nil:
		return nil, errors.New("search_regex belongs to a file that is present")
	}
	return f, nil
}

func (f *file) String() string {
	switch {
	case f.absent:
		return f.path + " to go away"
	case f.search != nil:
		return fmt.Sprintf("%s to hold %q", f.path, strings.TrimPrefix(f.search.String(), "(?m)"))
	}
	return f.path
}

func (f *file) look(_ context.Context, c modules.Call) (bool, string, error) {
	if c.Machine == nil {
		return false, "", errors.New("there is no machine to look at")
	}
	st, err := c.Machine.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.absent, "it does not exist", nil
	case err != nil:
		return false, err.Error(), nil
	case f.absent:
		return false, "it exists", nil
	case f.search == nil:
		return true, "it exists", nil
	case !st.Mode.IsRegular():
		return false, "it is no regular file", nil
	}
	text, err := tail(c.Machine, f.path, st.Size)
	if err != nil {
		return false, err.Error(), nil
	}
	if f.match.in(f.search, text) {
		return true, "it holds " + shown([]byte(f.match.text[0])), nil
	}
	if len(text) == 0 {
		return false, "it is empty", nil
	}
	last := strings.TrimRight(string(text), "\n")
	return false, "its last line is " + shown([]byte(last[strings.LastIndexByte(last, '\n')+1:])), nil
}

// tail reads a file, or the end of one that is too large.
func tail(v facts.Viewer, path string, size int64) ([]byte, error) {
	f, err := v.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if s, ok := f.(io.Seeker); ok && size > maxFile {
		if _, err := s.Seek(size-maxFile, io.SeekStart); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

func (f *file) found(result map[string]any) { f.match.found(result) }

// command is a command that should succeed, and print something.
type command struct {
	cmd, expect string
	search      *regexp.Regexp
	match       matched
	answer      facts.Answer
}

func newCommand(cmd, expect, expression string) (*command, error) {
	search, err := compile(expression)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(cmd) == "" {
		return nil, errors.New("command is empty")
	}
	return &command{cmd: cmd, expect: expect, search: search}, nil
}

func (o *command) String() string {
	first, _, more := strings.Cut(strings.TrimSpace(o.cmd), "\n")
	if more {
		first += " …"
	}
	switch {
	case o.expect != "":
		return fmt.Sprintf("%q to print %q", first, o.expect)
	case o.search != nil:
		return fmt.Sprintf("%q to print what matches %q", first, strings.TrimPrefix(o.search.String(), "(?m)"))
	}
	return fmt.Sprintf("%q to succeed", first)
}

func (o *command) look(ctx context.Context, c modules.Call) (bool, string, error) {
	a, err := tool.Run(ctx, c, modules.Cmd{Argv: []string{"/bin/sh", "-c", o.cmd}})
	switch {
	case ctx.Err() != nil:
		return false, "it still runs and printed " + shown(a.Stdout), errDeadline
	case err != nil:
		return false, err.Error(), nil
	}
	o.answer = a
	if a.ExitCode != 0 {
		return false, tool.Failure(a, c.NoLog), nil
	}
	if o.expect != "" && !strings.Contains(string(a.Stdout), o.expect) || o.search != nil && !o.match.in(o.search, a.Stdout) {
		return false, "it succeeded and printed " + shown(a.Stdout), nil
	}
	return true, "it succeeded", nil
}

func (o *command) found(result map[string]any) {
	o.match.found(result)
	result["stdout"], result["stderr"] = string(o.answer.Stdout), string(o.answer.Stderr)
	result["exit_code"] = int64(o.answer.ExitCode)
}

// check is a Lua function that should be content.
type check struct {
	fn    modules.Callback
	value any
}

func (*check) String() string { return "the function" }

func (f *check) look(ctx context.Context, _ modules.Call) (bool, string, error) {
	out, err := f.fn(ctx)
	if ctx.Err() != nil {
		return false, "it still runs", errDeadline
	}
	if err != nil {
		return false, err.Error(), nil
	}
	if len(out) == 0 {
		return true, "it returned", nil
	}
	f.value = out[0]
	message := ""
	if len(out) > 1 {
		if text, ok := out[1].(string); ok {
			message = ": " + shown([]byte(text))
		}
	}
	switch v := out[0].(type) {
	case nil:
		return false, "it returned nil" + message, nil
	case bool:
		return v, fmt.Sprintf("it returned %t", v) + message, nil
	case map[string]any:
		if v["success"] == false {
			text, _ := v["error"].(string)
			return false, "success = false: " + shown([]byte(text)), nil
		}
	}
	return true, "it returned a value", nil
}

func (f *check) found(result map[string]any) {
	if f.value != nil {
		result["value"] = f.value
	}
}
