package fileops

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/pack"
	"github.com/sloth-runner/sloth/modules/machine"
)

// Fetch is file_ops.fetch.
type Fetch struct {
	Src           string   `lua:"src,required,path" pos:"1" alias:"path" doc:"File on the host, or a folder with all files below it"`
	Dest          string   `lua:"dest,required" pos:"2" doc:"Folder on the controller, relative to the .sloth file and below its folder: the file becomes DEST/HOST/PATH. It must stand literally in the task"`
	Flat          bool     `lua:"flat" doc:"Dest is the file itself, or, with a slash at its end, the folder for it; for one file only"`
	Exclude       []string `lua:"exclude" doc:"Names or patterns of what to leave out of a folder"`
	FailOnMissing bool     `lua:"fail_on_missing" doc:"False: it is no error when src does not exist"`

	to      modules.Kept
	sources []source // what the controller lacks
	unknown bool
	folder  string // where it goes
	found   int
	sum     string // of a single file
}

// source is one file to send.
type source struct {
	path  string // on the host
	entry modules.FileEntry
}

// Validate checks what the tags cannot say.
func (f *Fetch) Validate() error { return pack.CheckPatterns("exclude", f.Exclude) }

// Result says where the files are.
func (f *Fetch) Result() map[string]any {
	out := map[string]any{"dest": f.folder, "found": f.found, "fetched": len(f.sources)}
	if f.sum != "" {
		out["checksum"] = f.sum
	}
	return out
}

// Check asks the controller which of the files it has not got.
func (f *Fetch) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	keeper, ok := modules.CallOf(ctx).Services.(modules.Keeper)
	if !ok {
		return d, fmt.Errorf("dest = %q: there is no controller here to send files to", f.Dest)
	}
	f.sources, f.to = nil, modules.Kept{Dest: f.Dest, Flat: f.Flat, Src: f.Src}
	files, err := f.collect(ctx, v)
	switch {
	case errors.Is(err, modules.ErrUnknown), hostfile.Missing(err) && hostfile.Unsure(v):
		f.unknown = true
		d.Add(modules.Change{What: f.Dest, Attr: "content", Unknown: true})
		return d, nil
	case hostfile.Missing(err) && !f.FailOnMissing:
		return d, nil
	case err != nil:
		return d, err
	}
	entries := make([]modules.FileEntry, len(files))
	for i := range files {
		entries[i] = files[i].entry
	}
	lacking, err := keeper.Lacks(ctx, f.to, entries)
	if err != nil {
		return d, err
	}
	f.found, f.folder = len(files), lacking.Folder
	if len(files) == 1 {
		f.sum, f.folder = entries[0].Hash, path.Join(lacking.Folder, entries[0].Path)
	}
	for _, i := range lacking.Files {
		if i < 0 || i >= len(files) {
			return d, fmt.Errorf("the controller asks for file %d of %d", i, len(files))
		}
		f.sources = append(f.sources, files[i])
		d.Add(modules.Change{
			What: "controller:" + path.Join(lacking.Folder, entries[i].Path), Attr: "content",
			After: fmt.Sprintf("%d bytes, sha256 %.12s", entries[i].Size, entries[i].Hash),
		})
	}
	return d, nil
}

// maxFetched bounds what one call lists.
const maxFetched = 100_000

// collect lists and hashes the files.
func (f *Fetch) collect(ctx context.Context, v facts.Viewer) ([]source, error) {
	src := filepath.Clean(f.Src)
	st, err := v.Stat(src)
	if hostfile.Missing(err) && f.FailOnMissing && !hostfile.Unsure(v) {
		return nil, &gone{fmt.Sprintf("src = %q does not exist; say fail_on_missing = false if that is nothing to do", f.Src)}
	}
	if err != nil {
		return nil, err
	}
	name := strings.TrimPrefix(filepath.ToSlash(src), "/")
	if f.Flat {
		name = path.Base(name)
		if !strings.HasSuffix(f.Dest, "/") {
			name = path.Base(f.Dest)
		}
	}
	switch {
	case st.Mode.IsRegular():
		e, err := describe(v, src, name)
		return []source{{src, e}}, err
	case !st.Mode.IsDir():
		return nil, fmt.Errorf("src = %q is a %s; only files and folders are fetched", f.Src, machine.Kind(st.Mode))
	case f.Flat:
		return nil, fmt.Errorf("src = %q is a folder; flat is for one file", f.Src)
	}
	var out []source
	return out, f.below(ctx, v, src, name, "", &out)
}

func (f *Fetch) below(ctx context.Context, v facts.Viewer, dir, name, rel string, out *[]source) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	list, err := v.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, st := range list {
		sub, at, to := path.Join(rel, st.Name), filepath.Join(dir, st.Name), path.Join(name, st.Name)
		switch {
		case pack.Match(f.Exclude, sub):
		case st.Mode.IsDir():
			if err := f.below(ctx, v, at, to, sub, out); err != nil {
				return err
			}
		case st.Mode.IsRegular():
			if len(*out) == maxFetched {
				return fmt.Errorf("src = %q has more than %d files", f.Src, maxFetched)
			}
			e, err := describe(v, at, to)
			if err != nil {
				return err
			}
			*out = append(*out, source{at, e})
		default:
			modules.CallOf(ctx).Log("warn", fmt.Sprintf("%s is a %s and not fetched", at, machine.Kind(st.Mode)), nil)
		}
	}
	return nil
}

// describe reads the file: that of /proc says it has no bytes.
func describe(v facts.Viewer, at, name string) (modules.FileEntry, error) {
	e := modules.FileEntry{Path: name}
	r, err := v.Open(at)
	if err != nil {
		return e, err
	}
	defer r.Close()
	sum := sha256.New()
	if e.Size, err = io.Copy(sum, r); err != nil {
		return e, err
	}
	e.Hash = hex.EncodeToString(sum.Sum(nil))
	return e, nil
}

const (
	pieceSize  = 512 << 10 // of a large file
	batchSize  = 512 << 10 // of small ones in one call
	batchFiles = 500
	inFlight   = 8 // calls at once
)

// Apply sends what the controller lacks.
func (f *Fetch) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	keeper, ok := modules.CallOf(ctx).Services.(modules.Keeper)
	if !ok {
		return fmt.Errorf("dest = %q: there is no controller here to send files to", f.Dest)
	}
	crew := pack.NewCrew(ctx, inFlight)
	err := f.sendAll(ctx, m, keeper, crew)
	if e := crew.Wait(); e != nil {
		return e
	}
	return err
}

func (f *Fetch) sendAll(ctx context.Context, m modules.Machine, keeper modules.Keeper, crew *pack.Crew) error {
	var batch []modules.Piece
	size := int64(0)
	flush := func() error {
		pieces := batch
		batch, size = nil, 0
		if len(pieces) == 0 {
			return nil
		}
		return crew.Go(func(ctx context.Context) error { return keeper.Keep(ctx, f.to, pieces) })
	}
	for _, s := range f.sources {
		if s.entry.Size > pieceSize {
			if err := f.sendLarge(ctx, m, keeper, s); err != nil {
				return err
			}
			continue
		}
		if size+s.entry.Size > batchSize || len(batch) == batchFiles {
			if err := flush(); err != nil {
				return err
			}
		}
		r, err := m.Open(s.path)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(r, s.entry.Size))
		r.Close()
		if err != nil {
			return err
		}
		batch = append(batch, modules.Piece{File: s.entry, Data: data, Done: true})
		size += s.entry.Size
	}
	return flush()
}

// sendLarge sends a file in parts, several under way at once, and its end when
// all have arrived.
func (f *Fetch) sendLarge(ctx context.Context, m modules.Machine, keeper modules.Keeper, s source) error {
	r, err := m.Open(s.path)
	if err != nil {
		return err
	}
	defer r.Close()
	crew := pack.NewCrew(ctx, inFlight)
	err = sendParts(r, s, func(p modules.Piece) error {
		return crew.Go(func(ctx context.Context) error { return keeper.Keep(ctx, f.to, []modules.Piece{p}) })
	})
	if e := crew.Wait(); e != nil {
		return e
	}
	if err != nil {
		return err
	}
	return keeper.Keep(ctx, f.to, []modules.Piece{{File: s.entry, Offset: s.entry.Size, Done: true}})
}

func sendParts(r io.Reader, s source, send func(modules.Piece) error) error {
	for at := int64(0); at < s.entry.Size; {
		data := make([]byte, min(pieceSize, s.entry.Size-at))
		n, err := io.ReadFull(r, data)
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return fmt.Errorf("%s became shorter while it was sent", s.path)
		}
		if err != nil {
			return err
		}
		if err := send(modules.Piece{File: s.entry, Offset: at, Data: data}); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// Plan tells the overlay nothing: only the controller's files change.
func (f *Fetch) Plan(context.Context, modules.Diff, modules.Overlay) error { return nil }
