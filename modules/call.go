package modules

import (
	"context"
	"errors"
	"path"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
)

type callKey struct{}

// WithCall puts c into the context that Check, Apply and Query are given.
func WithCall(ctx context.Context, c Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallOf returns what surrounds the current call. Without WithCall its Output
// and Log discard and its Services are nil.
func CallOf(ctx context.Context) Call {
	c, _ := ctx.Value(callKey{}).(Call)
	if c.Output == nil {
		c.Output = func(string, []byte) {}
	}
	if c.Log == nil {
		c.Log = func(string, string, map[string]any) {}
	}
	return c
}

// ErrUnknown is what a plan's Viewer answers about things that only a real
// change can tell, such as the content of a file that a planned package brings.
var ErrUnknown = errors.New("unknown until applied")

// Validator is implemented by argument structs whose arguments depend on each
// other ("one of src and content"). It is called once they are filled and
// before anything is looked at.
type Validator interface {
	Validate() error
}

// Skipper is implemented by a Tool that can tell by looking that it has
// nothing to do (exec.run with creates). Under plan it is asked with the plan's
// Viewer; reason is shown, and the call then counts as unchanged.
type Skipper interface {
	Skip(ctx context.Context, v facts.Viewer) (reason string, skip bool, err error)
}

// Flusher is implemented by a Machine that syncs folders lazily: a file's
// content is on disk before it gets its name, the name itself after Flush.
// Whoever reports a step as done calls it first.
type Flusher interface {
	Flush() error
}

// NotedTool is noted once a plan holds a call of a tool, such as exec.run: from
// then on something that is missing may be there in a real run.
const NotedTool = "tool"

// NotedChange is noted once a plan holds a call of a Changer with something to
// do: from then on the host is no longer what a real run would find.
const NotedChange = "change"

// Noted asks a plan's Viewer for a fact remembered with Overlay.Note. On a real
// machine nothing is ever noted.
func Noted(v facts.Viewer, key string) (string, bool) {
	if o, ok := v.(interface{ Noted(string) (string, bool) }); ok {
		return o.Noted(key)
	}
	return "", false
}

// Setter is implemented by Services of one step that may store what it sets
// later, and together. Whoever reports the step as done calls FlushState first.
type Setter interface {
	// SetLater sets a value of the state, nil to delete it; the step itself
	// reads it from now on. ttl 0 means for ever.
	SetLater(ctx context.Context, key string, value any, ttl time.Duration) error
	// FlushState stores what was set. Without an error it is on disk.
	FlushState(ctx context.Context) error
}

// FileStream is several controller-side files, one after the other.
type FileStream interface {
	// Next returns the next file, in the order they were asked for. The one
	// before can no longer be read then.
	Next() (File, error)
	Close() error
}

// OpenFiles opens many files below a controller-side folder, in one round trip
// where s can do that; names are relative to dir.
func OpenFiles(ctx context.Context, s Services, dir string, names []string) (FileStream, error) {
	full := make([]string, len(names))
	for i, n := range names {
		full[i] = path.Join(dir, n)
	}
	if b, ok := s.(interface {
		Files(ctx context.Context, names []string) (FileStream, error)
	}); ok {
		return b.Files(ctx, full)
	}
	return &fileByFile{ctx: ctx, s: s, left: full}, nil
}

// fileByFile is for services that are not far away.
type fileByFile struct {
	ctx  context.Context
	s    Services
	left []string
	open File
}

func (f *fileByFile) Next() (File, error) {
	if err := f.Close(); err != nil {
		return File{}, err
	}
	if len(f.left) == 0 {
		return File{}, errors.New("no more files were asked for")
	}
	var err error
	f.open, err = f.s.File(f.ctx, f.left[0])
	f.left = f.left[1:]
	return f.open, err
}

func (f *fileByFile) Close() error {
	if f.open.ReadCloser == nil {
		return nil
	}
	err := f.open.Close()
	f.open.ReadCloser = nil
	return err
}

// Kept says where files of a host go on the controller: below Dest/HOST, or with
// Flat to Dest itself, and into it where it ends in a slash. Src is what the
// script calls them.
type Kept struct {
	Dest string `msgpack:"d"`
	Flat bool   `msgpack:"f,omitempty"`
	Src  string `msgpack:"s,omitempty"`
	// Step, where set, is the step whose artifacts they are; the rest is empty then.
	Step string `msgpack:"a,omitempty"`
}

// artifactScheme begins the names under which Services.List and Services.File
// give the artifacts that a step consumes.
const artifactScheme = "artifact://"

// ArtifactPath is what Services.List takes for all that a step consumes, and
// Services.File for one of those.
func ArtifactPath(step, name string) string {
	if name == "" {
		return artifactScheme + step
	}
	return artifactScheme + step + "/" + name
}

// SplitArtifact takes an ArtifactPath apart.
func SplitArtifact(path string) (step, name string, ok bool) {
	rest, ok := strings.CutPrefix(path, artifactScheme)
	step, name, _ = strings.Cut(rest, "/")
	return step, name, ok
}

// Piece is a part of a file on its way to the controller. Parts come in any
// order; Done, once all are there, makes them a file.
type Piece struct {
	File   FileEntry `msgpack:"f"` // Path below the host's folder, Size and Hash of the whole
	Offset int64     `msgpack:"o"`
	Data   []byte    `msgpack:"d"`
	Done   bool      `msgpack:"e,omitempty"`
}

// Lacking is what the controller has not got of some files.
type Lacking struct {
	Folder string `msgpack:"d"` // where they go, as the script would write it
	Files  []int  `msgpack:"f"` // which of those asked about
}

// Keeper is implemented by Services that take files of a host. What they are
// given is a stranger's.
type Keeper interface {
	// Lacks compares files, of which Size and Hash are set, with what is there.
	Lacks(ctx context.Context, to Kept, files []FileEntry) (Lacking, error)
	Keep(ctx context.Context, to Kept, pieces []Piece) error
}
