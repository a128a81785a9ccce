package fileops

import (
	"context"
	"io"
	"strings"
	"sync/atomic"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

// counting counts the files it is asked for.
type counting struct {
	*modulestest.Controller
	files atomic.Int64
}

func (c *counting) File(ctx context.Context, src string) (modules.File, error) {
	c.files.Add(1)
	return c.Controller.File(ctx, src)
}

// lying lists a name that is not below the folder.
type lying struct {
	*modulestest.Controller
	name string
}

func (l lying) List(context.Context, string) ([]modules.FileEntry, error) {
	return []modules.FileEntry{{Path: l.name, Mode: 0o644}}, nil
}

// short ends every file early, as a cut link would.
type short struct{ *modulestest.Controller }

func (s *short) File(ctx context.Context, src string) (modules.File, error) {
	f, err := s.Controller.File(ctx, src)
	f.ReadCloser = io.NopCloser(strings.NewReader("fi"))
	return f, err
}
