package fileops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/pack"
)

// compressors are the programs for formats that are read here, but not written.
var compressors = map[string][]string{
	pack.TarXZ:   {"xz", "-c", "-T1"},
	pack.TarZstd: {"zstd", "-c", "-q", "-T1"},
}

// Apply writes the archive and then removes what is in it, if that was asked.
func (a *Archive) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if a.rewrite {
		o := modules.WriteOptions{Sync: true}
		if a.Mode != "" {
			o.Mode = &a.fix.Mode
		}
		if a.fix.UID >= 0 {
			o.UID = &a.fix.UID
		}
		if a.fix.GID >= 0 {
			o.GID = &a.fix.GID
		}
		if err := a.produce(ctx, m, func(r io.Reader) error { return m.WriteFile(ctx, a.Dest, r, o) }); err != nil {
			return err
		}
	} else if err := a.fix.Apply(m); err != nil {
		return err
	}
	// From the end, so that folders are empty when their turn comes.
	for _, p := range slices.Backward(a.removals) {
		err := m.Remove(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// produce lets use read the archive while it is made.
func (a *Archive) produce(ctx context.Context, m modules.Machine, use func(io.Reader) error) error {
	format := a.format
	program := compressors[format]
	if program != nil {
		format = pack.Tar
	}
	r, done := piped(func(w io.Writer) error { return pack.Write(ctx, w, format, a.items) })
	defer done()
	if program == nil {
		return use(r)
	}
	z, ended := piped(func(w io.Writer) error { return compress(ctx, m, program, r, w) })
	defer ended()
	return use(z)
}

// compress runs the program between r and w.
func compress(ctx context.Context, m modules.Machine, argv []string, r io.Reader, w io.Writer) error {
	var broken error
	answer, err := m.Run(ctx, modules.Cmd{Argv: argv, Stdin: r, Output: func(stream string, data []byte) {
		if stream == "stdout" && broken == nil {
			_, broken = w.Write(data)
		}
	}})
	switch {
	case err != nil:
		return err
	case broken != nil:
		return broken
	case answer.ExitCode != 0:
		return fmt.Errorf("%s ended with exit code %d: %s", argv[0], answer.ExitCode, strings.TrimSpace(string(answer.Stderr)))
	}
	return nil
}

// piped returns what write writes as a reader. done ends it and waits.
func piped(write func(io.Writer) error) (r *io.PipeReader, done func()) {
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.CloseWithError(write(w))
	}()
	return r, func() {
		r.Close()
		<-ended
	}
}

// Plan tells the overlay.
func (a *Archive) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	if a.unknown {
		return nil
	}
	if a.rewrite {
		o.PutUnknownFile(filepath.Clean(a.Dest), a.fix.Mode)
	}
	a.fix.Plan(o)
	for _, p := range a.removals {
		o.Remove(p)
	}
	return nil
}
