package exec

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

type script struct {
	Path string   `lua:"path,required,primary" alias:"src,script" pos:"1" doc:"Script, relative to the .sloth file"`
	Args []string `lua:"args" doc:"Arguments of the script"`
	options
}

// maxScript is the size of a script; programs belong in file_ops.copy.
const maxScript = 16 << 20

// PlanSafe reports whether the script may run under plan.
func (s *script) PlanSafe() bool { return s.CheckSafe }

// String is the script with its arguments.
func (s *script) String() string { return strings.Join(append([]string{s.Path}, s.Args...), " ") }

// Skip tells a plan that there is nothing to run.
func (s *script) Skip(ctx context.Context, v facts.Viewer) (string, bool, error) {
	return s.skip(ctx, modules.CallOf(ctx), v)
}

// Run puts the script into a folder of its own, runs it and removes it.
func (s *script) Run(ctx context.Context, c modules.Call) ([]any, error) {
	reason, skip, err := s.skip(ctx, c, c.Machine)
	if err == nil && skip {
		return s.failed(nil, map[string]any{"success": true, "exit_code": 0, "skipped": reason}), nil
	}
	if err != nil {
		return s.failed(err, nil), ctx.Err()
	}
	text, err := s.read(ctx, c)
	if err != nil {
		return s.failed(err, nil), ctx.Err()
	}
	dir := path.Join(os.TempDir(), "sloth-script-"+rand.Text())
	if err := c.Machine.Mkdir(dir, 0o700); err != nil {
		return s.failed(err, nil), nil
	}
	defer func() {
		if err := c.Machine.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.Log("warn", "the script's folder stays behind", map[string]any{"folder": dir, "error": err.Error()})
		}
	}()
	file := path.Join(dir, path.Base(s.Path))
	mode := fs.FileMode(0o700)
	err = c.Machine.WriteFile(ctx, file, bytes.NewReader(text), modules.WriteOptions{Mode: &mode})
	if err == nil && s.User != "" {
		err = give(c.Machine, s.User, file, dir)
	}
	if err != nil {
		return s.failed(err, nil), ctx.Err()
	}
	o := s.options
	o.Creates, o.Removes, o.Unless, o.OnlyIf = "", "", "", "" // asked already
	return o.perform(ctx, c, append(s.interpreter(text, file), s.Args...))
}

// give makes a user the owner of paths, who can read the script then and nobody
// else can. An unknown user is left to the run to report.
func give(m modules.Machine, name string, paths ...string) error {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil
	}
	if uid == os.Geteuid() {
		return nil
	}
	for _, p := range paths {
		if err := m.Chown(p, uid, -1, false); err != nil {
			return err
		}
	}
	return nil
}

// failed is a result without a run.
func (s *script) failed(err error, m map[string]any) []any {
	if m == nil {
		m = map[string]any{"success": false, "exit_code": 126, "error": err.Error()}
	}
	m["stdout"], m["stderr"], m["changed"], m["duration"] = "", "", false, 0.0
	return []any{m}
}

func (s *script) read(ctx context.Context, c modules.Call) ([]byte, error) {
	if c.Services == nil {
		return nil, fmt.Errorf("script %s: there is no controller to get it from", s.Path)
	}
	f, err := c.Services.File(ctx, s.Path)
	if err != nil {
		return nil, fmt.Errorf("script %s: %w", s.Path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxScript+1))
	if err != nil {
		return nil, fmt.Errorf("script %s: %w", s.Path, err)
	}
	if len(text) > maxScript {
		return nil, fmt.Errorf("script %s: it is larger than %d MiB; copy it with file_ops.copy and run it with exec.run", s.Path, maxScript>>20)
	}
	return text, nil
}

// interpreter is the start of the command line. The first line's program is
// called with the file instead of the file itself, which works on a /tmp that
// allows no programs too.
func (s *script) interpreter(text []byte, file string) []string {
	if s.Shell != "" {
		return append(strings.Fields(s.Shell), file)
	}
	line, _, _ := bytes.Cut(text[:min(len(text), 256)], []byte("\n"))
	if rest, ok := bytes.CutPrefix(line, []byte("#!")); ok {
		// As the kernel reads it: the program and at most one argument.
		program, argument, _ := strings.Cut(strings.TrimSpace(string(rest)), " ")
		if argument = strings.TrimSpace(argument); argument != "" {
			return []string{program, argument, file}
		}
		if program != "" {
			return []string{program, file}
		}
	}
	if bytes.HasPrefix(text, []byte("\x7fELF")) || bytes.HasPrefix(text, []byte("\xcf\xfa\xed\xfe")) {
		return []string{file}
	}
	return []string{"/bin/sh", file}
}
