package fileops

import (
	"context"
	"errors"
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

// batching is a controller far away: it counts round trips, and can cut the
// stream of files short.
type batching struct {
	*modulestest.Controller
	lists, streams, files int // calls of each kind; files that were sent
	cut                   int // after so many files the link breaks; 0: never
}

func (b *batching) List(ctx context.Context, dir string) ([]modules.FileEntry, error) {
	b.lists++
	return b.Controller.List(ctx, dir)
}

func (b *batching) File(context.Context, string) (modules.File, error) {
	return modules.File{}, errors.New("a file was asked for alone")
}

func (b *batching) Files(ctx context.Context, names []string) (modules.FileStream, error) {
	b.streams++
	return &batch{b: b, ctx: ctx, names: names}, nil
}

type batch struct {
	b     *batching
	ctx   context.Context
	names []string
	sent  int
}

var errCut = errors.New("the link broke")

func (s *batch) Next() (modules.File, error) {
	if s.b.cut > 0 && s.sent == s.b.cut {
		return modules.File{}, errCut
	}
	f, err := s.b.Controller.File(s.ctx, s.names[s.sent])
	s.sent++
	s.b.files++
	return f, err
}

func (s *batch) Close() error { return nil }

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
