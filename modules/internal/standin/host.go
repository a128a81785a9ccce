// Package standin is a host for tests of modules that run programs: a folder in
// the place of /, and programs that are scripts of the test. Any program that
// the test did not bring fails it.
package standin

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

// Host is one such host.
type Host struct {
	// Root is the folder that stands for /, also for the scripts as $ROOT.
	Root string
	// Files are those of the controller.
	Files map[string]string

	t       *testing.T
	dir     string
	module  modules.Module
	machine modules.Machine
	overlay *machine.Overlay
}

// New makes a host with files by absolute path; a name that ends in / is a folder.
func New(t *testing.T, module modules.Module, files map[string]string) *Host {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{t: t, dir: dir, Root: filepath.Join(dir, "root"), module: module}
	for path, text := range files {
		h.Put(path, text)
	}
	for _, d := range []string{h.Root, filepath.Join(dir, "bin")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.machine = strict{modulestest.Rooted(machine.New(), h.Root), h}
	t.Setenv("ROOT", h.Root)
	t.Setenv("CALLS", filepath.Join(dir, "calls"))
	return h
}

// Put writes a file of the host.
func (h *Host) Put(path, text string) {
	h.t.Helper()
	to := filepath.Join(h.Root, path)
	if strings.HasSuffix(path, "/") {
		if err := os.MkdirAll(to, 0o755); err != nil {
			h.t.Fatal(err)
		}
		return
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// Text reads a file of the host; what is not there is "(absent)".
func (h *Host) Text(path string) string {
	h.t.Helper()
	data, err := os.ReadFile(filepath.Join(h.Root, path))
	if os.IsNotExist(err) {
		return "(absent)"
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return string(data)
}

// Tool brings a program: each call is written down, then the script goes on.
// "query" calls, by their first words, are not written down.
func (h *Host) Tool(name, script string, queries ...string) {
	h.t.Helper()
	text := "#!/bin/sh\nset -u\n"
	skip := ""
	for _, q := range queries {
		skip += fmt.Sprintf("'%s'*) ;;\n", q)
	}
	text += "case \"$*\" in\n" + skip + "*) echo \"" + name + "${*:+ $*}\" >> \"$CALLS\" ;;\nesac\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(h.dir, "bin", name), []byte(text), 0o755); err != nil { //nolint:gosec // a program
		h.t.Fatal(err)
	}
}

// Calls are the programs run since the last time it was asked.
func (h *Host) Calls() string {
	h.t.Helper()
	path := filepath.Join(h.dir, "calls")
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return ""
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", "; ")
}

// Plan makes all further calls part of one plan.
func (h *Host) Plan() { h.overlay = machine.NewOverlay(h.machine) }

// Do ends the plan: further calls are real.
func (h *Host) Do() { h.overlay = nil }

// Note tells the plan something, as a call before would have.
func (h *Host) Note(key, value string) { h.overlay.Note(key, value) }

// NoteDir plans a folder.
func (h *Host) NoteDir(path string) { h.overlay.PutDir(path, 0o755) }

// Call makes one call of a function of the module; said is its diff.
func (h *Host) Call(function string, args map[string]any) (out any, said string, err error) {
	h.t.Helper()
	env := &bind.Env{
		Call: modules.Call{Machine: h.machine, Services: &modulestest.Controller{Files: h.Files}, Workdir: "/"},
		Called: func(r bind.Record) {
			said = Said(r.Diff)
		},
	}
	if h.overlay != nil {
		env.Check, env.Viewer, env.Overlay = true, h.overlay, h.overlay
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rets, err := bind.CallByName(bind.WithEnv(ctx, env), []modules.Module{h.module}, h.module.Name+"."+function, args)
	if err != nil || len(rets) == 0 {
		return nil, said, err
	}
	return rets[0], said, nil
}

// Said is a diff in one line.
func Said(d modules.Diff) string {
	var out []string
	for _, c := range d.Changes {
		line := fmt.Sprintf("%s %s: %s -> %s", c.What, c.Attr, c.Before, c.After)
		switch {
		case c.Hidden:
			line = c.What + " " + c.Attr + ": hidden"
		case c.Unknown:
			line = c.What + " " + c.Attr + ": unknown"
		case c.Text:
			line = c.What + " " + c.Attr
		}
		out = append(out, strings.ReplaceAll(line, "\n", "⏎"))
	}
	return strings.Join(out, "; ")
}

// Cycle plans a call, which must touch nothing and run nothing, makes it, and
// makes it again, which must change nothing. fail is the whole error wanted;
// a call that fails must leave the host as it was.
func (h *Host) Cycle(function string, args map[string]any, diff, calls, fail string) {
	h.t.Helper()
	h.Calls()
	before := h.look()
	h.Plan()
	check := func(when string) {
		h.t.Helper()
		_, said, err := h.Call(function, args)
		if said != diff {
			h.t.Errorf("%s said\n%s\nwanted\n%s", when, said, diff)
		}
		if fail == "" && err != nil || fail != "" && (err == nil || err.Error() != fail) {
			h.t.Errorf("%s ended with\n%v\nwanted\n%s", when, err, fail)
		}
	}
	check("the plan")
	if got := h.Calls(); got != "" {
		h.t.Errorf("the plan ran %s", got)
	}
	if now := h.look(); !slices.Equal(before, now) {
		h.t.Errorf("the plan changed the host:\n%q\n%q", before, now)
	}
	if _, said, err := h.Call(function, args); fail == "" && (err != nil || said != "") {
		h.t.Errorf("planned twice, it said %q, %v", said, err)
	}
	h.Do()
	h.Calls()
	check("it")
	if got := h.Calls(); got != calls {
		h.t.Errorf("it ran\n%s\nwanted\n%s", got, calls)
	}
	if fail != "" {
		if now := h.look(); !slices.Equal(before, now) {
			h.t.Errorf("it failed and changed the host:\n%q\n%q", before, now)
		}
		return
	}
	if _, said, err := h.Call(function, args); err != nil || said != "" {
		h.t.Errorf("again, it said %q, %v", said, err)
	}
	if got := h.Calls(); got != "" {
		h.t.Errorf("again, it ran %s", got)
	}
}

// look is all that can be seen of the host.
func (h *Host) look() []string {
	h.t.Helper()
	var out []string
	err := filepath.WalkDir(h.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprint(path, st.Mode(), st.ModTime().UnixNano())
		if st.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += string(data)
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// strict is a machine with no programs but those of the test.
type strict struct {
	modules.Machine
	h *Host
}

func (s strict) LookPath(name string) (string, error) {
	if filepath.IsAbs(name) {
		if st, err := os.Stat(filepath.Join(s.h.Root, name)); err == nil && st.Mode()&0o111 != 0 {
			return name, nil
		}
		return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
	}
	path := filepath.Join(s.h.dir, "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
	}
	return path, nil
}

func (s strict) Query(ctx context.Context, argv ...string) (facts.Answer, error) {
	return s.Run(ctx, modules.Cmd{Argv: argv})
}

func (s strict) Run(ctx context.Context, c modules.Cmd) (facts.Answer, error) {
	name := filepath.Base(c.Argv[0])
	path, err := s.LookPath(name)
	if err != nil {
		s.h.t.Errorf("%v was run, which the test does not know", c.Argv)
		return facts.Answer{}, err
	}
	c.Argv = append([]string{path}, c.Argv[1:]...)
	if c.Dir != "" {
		c.Dir = filepath.Join(s.h.Root, c.Dir)
	}
	return s.Machine.Run(ctx, c)
}

// Args makes named arguments of pairs.
func Args(kv ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(kv); i += 2 {
		m[fmt.Sprint(kv[i])] = kv[i+1]
	}
	return m
}

// Shared brings programs of modulestest, of whose calls only those are written
// down that change something.
func (h *Host) Shared(names ...string) {
	h.t.Helper()
	const folder = "../modulestest/programs"
	head, err := os.ReadFile(filepath.Join(folder, "head.sh"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, name := range names {
		script, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			h.t.Fatal(err)
		}
		text := "#!/bin/sh\nTOOL=" + name + " PROGRAMS=/nowhere\n" + string(head) + "\n" + string(script)
		if err := os.WriteFile(filepath.Join(h.dir, "bin", name), []byte(text), 0o755); err != nil { //nolint:gosec // a program
			h.t.Fatal(err)
		}
	}
}
