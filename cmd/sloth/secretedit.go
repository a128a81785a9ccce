package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/sloth-runner/sloth/state/secret"
)

// edit opens all secrets in an editor. Plain text is only ever in a folder of
// this user's in memory, and is overwritten before that goes.
func (s *secretCommand) edit(ctx context.Context) error {
	editor := os.Getenv("VISUAL")
	if editor == "" {
		editor = os.Getenv("EDITOR")
	}
	if editor == "" {
		return withHint(errors.New("there is no editor"), "Set $VISUAL or $EDITOR.")
	}
	f, err := s.prepare(ctx)
	if err != nil {
		return s.explain(err)
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	changed := false
	err = f.Change(ctx, false, func(table map[string]string) error {
		text, err := secret.FormatTable(table)
		if err != nil {
			return err
		}
		edited, err := s.inEditor(ctx, editor, text)
		if err != nil {
			return err
		}
		next, err := secret.ParseTable(edited)
		if err != nil {
			return fmt.Errorf("what you wrote cannot be stored: %w; nothing was changed", err)
		}
		changed = string(edited) != string(text)
		clear(table)
		for k, v := range next {
			table[k] = v
		}
		return nil
	})
	if err != nil {
		return s.explain(err)
	}
	if changed {
		fmt.Fprintf(s.app.stderr, "stored in %s\n", f.Where())
	} else {
		fmt.Fprintln(s.app.stderr, "nothing was changed")
	}
	return nil
}

// maxEdited bounds what an editor leaves, in bytes.
const maxEdited = 64 << 20

func (s *secretCommand) inEditor(ctx context.Context, editor string, text []byte) (out []byte, err error) {
	dir, err := s.memoryFolder()
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := shred(dir); err == nil && e != nil {
			err = fmt.Errorf("remove the plain text in %s: %w", dir, e)
		}
	}()
	file := filepath.Join(dir, "secrets.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	// As for git, the variable may hold arguments.
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", editor+` "$1"`, "sh", file)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.app.stdin, s.app.stdout, s.app.stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w; nothing was changed", editor, err)
	}
	h, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return io.ReadAll(io.LimitReader(h, maxEdited))
}

// memoryFolder makes a folder that is never written to a disk, where the system
// has such a place.
func (s *secretCommand) memoryFolder() (string, error) {
	if runtime.GOOS == "linux" {
		for _, parent := range []string{os.Getenv("XDG_RUNTIME_DIR"), "/dev/shm"} {
			if !filepath.IsAbs(parent) || !inMemory(parent) {
				continue
			}
			if dir, err := os.MkdirTemp(parent, "sloth-secret-"); err == nil { // 0700
				return dir, nil
			}
		}
	}
	s.app.warn("there is no folder in memory; the plain text is on the disk for as long as you edit it")
	return os.MkdirTemp("", "sloth-secret-")
}

// inMemory looks path up in the table of what is mounted.
func inMemory(path string) bool {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return false
	}
	best, kind := "", ""
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		if (path == f[1] || strings.HasPrefix(path, strings.TrimSuffix(f[1], "/")+"/")) && len(f[1]) >= len(best) {
			best, kind = f[1], f[2]
		}
	}
	return kind == "tmpfs" || kind == "ramfs"
}

// shred overwrites what is below dir, copies of the editor's too, and removes it.
func shred(dir string) error {
	var failed error
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if e := overwrite(path); failed == nil {
			failed = e
		}
		return nil
	})
	return errors.Join(failed, err, os.RemoveAll(dir))
}

func overwrite(path string) error {
	h, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for left := st.Size(); left > 0; {
		n, err := h.Write(zeros[:min(left, int64(len(zeros)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return h.Sync()
}
