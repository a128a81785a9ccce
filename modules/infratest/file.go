package infratest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/machine"
)

type filePath struct {
	function
	Path string `lua:"path,required,path" pos:"1" alias:"name,dest" doc:"The file or folder; links are followed"`
}

// stat fails with what was expected when nothing is there.
func (p filePath) stat(v facts.Viewer, expected string) (facts.FileInfo, error) {
	st, err := v.Stat(filepath.Clean(p.Path))
	if hostfile.Missing(err) || hostfile.NotFolder(err) {
		if l, e := v.Lstat(filepath.Clean(p.Path)); e == nil {
			return st, failure{expected, "a link to " + l.Link + ", where nothing is"}
		}
		return st, failure{expected, "nothing there"}
	}
	return st, err
}

type fileIs struct {
	filePath
	Target string `lua:"target" pos:"2" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
	kind   string
}

// Query looks.
func (f *fileIs) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, f, f.Target, f.Path, false, func() error {
		expected := fmt.Sprintf("%s to exist", f.Path)
		if f.kind != "" {
			expected = fmt.Sprintf("%s to be a %s", f.Path, f.kind)
		}
		st, err := f.stat(v, expected)
		if err != nil {
			return err
		}
		if is := machine.Kind(st.Mode); f.kind != "" && is != f.kind {
			return failure{expected, "a " + is}
		}
		return nil
	})
}

type fileMode struct {
	filePath
	Mode   modules.Mode `lua:"mode,required" pos:"2" doc:"The permissions, such as \"0644\""`
	Target string       `lua:"target" pos:"3" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
}

// Query compares.
func (f *fileMode) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, f, f.Target, f.Path, false, func() error {
		expected := fmt.Sprintf("%s to have mode %s", f.Path, f.Mode)
		st, err := f.stat(v, expected)
		if err != nil {
			return err
		}
		want, err := f.Mode.Of(st.Mode, st.Mode.IsDir())
		if err != nil {
			return err
		}
		if is := modules.PermBits(st.Mode); is != want {
			return failure{expected, modules.ModeText(is)}
		}
		return nil
	})
}

type fileOwner struct {
	filePath
	Owner  string `lua:"owner,required" alias:"user" pos:"2" doc:"Name or number of the user"`
	Target string `lua:"target" pos:"3" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
}

// Query compares.
func (f *fileOwner) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, f, f.Target, f.Path, false, func() error {
		expected := fmt.Sprintf("%s to belong to user %s", f.Path, f.Owner)
		st, err := f.stat(v, expected)
		if err == nil && st.Owner != f.Owner && strconv.Itoa(st.UID) != f.Owner {
			err = failure{expected, st.Owner}
		}
		return err
	})
}

type fileGroup struct {
	filePath
	Group  string `lua:"group,required" pos:"2" doc:"Name or number of the group"`
	Target string `lua:"target" pos:"3" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
}

// Query compares.
func (f *fileGroup) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, f, f.Target, f.Path, false, func() error {
		expected := fmt.Sprintf("%s to belong to group %s", f.Path, f.Group)
		st, err := f.stat(v, expected)
		if err == nil && st.Group != f.Group && strconv.Itoa(st.GID) != f.Group {
			err = failure{expected, st.Group}
		}
		return err
	})
}

type fileSize struct {
	filePath
	Size   int64  `lua:"size,required" pos:"2" doc:"Bytes"`
	Target string `lua:"target" pos:"3" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
}

// Query compares.
func (f *fileSize) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, f, f.Target, f.Path, false, func() error {
		expected := fmt.Sprintf("%s to have %d bytes", f.Path, f.Size)
		st, err := f.stat(v, expected)
		if err == nil && st.Size != f.Size {
			err = failure{expected, fmt.Sprintf("%d bytes", st.Size)}
		}
		return err
	})
}

type fileContains struct {
	filePath
	Text   string `lua:"text,required" alias:"content,pattern" pos:"2" doc:"The text, letter by letter: it is no pattern"`
	Target string `lua:"target" pos:"3" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
}

// Query searches.
func (f *fileContains) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, f, f.Target, f.Path, false, func() error {
		expected := fmt.Sprintf("%s to contain %q", f.Path, f.Text)
		if _, err := f.stat(v, expected); err != nil {
			return err
		}
		file, err := v.Open(filepath.Clean(f.Path))
		if err != nil {
			return err
		}
		defer file.Close()
		found, read, err := search(ctx, file, []byte(f.Text))
		if err == nil && !found {
			err = failure{expected, fmt.Sprintf("no such text in its %d bytes", read)}
		}
		return err
	})
}

// search looks for text without holding the whole of r in memory.
func search(ctx context.Context, r io.Reader, text []byte) (found bool, read int64, err error) {
	buf := make([]byte, 0, 64<<10+len(text))
	for ctx.Err() == nil {
		n, err := r.Read(buf[len(buf):cap(buf)])
		read += int64(n)
		buf = buf[:len(buf)+n]
		if bytes.Contains(buf, text) {
			return true, read, nil
		}
		if errors.Is(err, io.EOF) {
			return false, read, nil
		}
		if err != nil {
			return false, read, err
		}
		if keep := len(text) - 1; len(buf) > keep { // a text may go across two reads
			buf = buf[:copy(buf, buf[len(buf)-max(keep, 0):])]
		}
	}
	return false, read, context.Cause(ctx)
}
