package pack

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Item is one entry to be written. Open is called for a file only.
type Item struct {
	Entry
	Open func() (io.ReadCloser, error)
}

// Formats that archives are written in. Tar is what TarXZ and TarZstd begin
// as: compressing those is left to programs.
const (
	Tar     = "tar"
	TarGzip = "tar.gz"
	TarXZ   = "tar.xz"
	TarZstd = "tar.zst"
	Zip     = "zip"
)

// FormatOf tells the format from a file's name.
func FormatOf(name string) (string, bool) {
	name = strings.ToLower(name)
	for _, f := range []struct{ suffix, format string }{
		{".tar", Tar}, {".tar.gz", TarGzip}, {".tgz", TarGzip}, {".tar.xz", TarXZ}, {".txz", TarXZ},
		{".tar.zst", TarZstd}, {".tzst", TarZstd}, {".zip", Zip},
	} {
		if strings.HasSuffix(name, f.suffix) {
			return f.format, true
		}
	}
	return "", false
}

// Write writes items in their order. The same items give the same bytes.
func Write(ctx context.Context, w io.Writer, format string, items []Item) error {
	switch format {
	case Tar:
		return writeTar(ctx, w, items)
	case TarGzip:
		z := gzip.NewWriter(w)
		if err := writeTar(ctx, z, items); err != nil {
			return err
		}
		return z.Close()
	case Zip:
		return writeZip(ctx, w, items)
	}
	return fmt.Errorf("archives are not written as %q here", format)
}

func writeTar(ctx context.Context, w io.Writer, items []Item) error {
	t := tar.NewWriter(w)
	for _, it := range items {
		h := &tar.Header{
			Name: it.Name, Mode: int64(it.Mode.Perm()), Uid: it.UID, Gid: it.GID, Uname: it.User, Gname: it.Group,
			Size: it.Size, ModTime: it.MTime, Linkname: it.Link, Typeflag: tar.TypeReg,
		}
		switch it.Kind {
		case Dir:
			h.Name, h.Typeflag = it.Name+"/", tar.TypeDir
		case Symlink:
			h.Typeflag = tar.TypeSymlink
		case Hardlink:
			h.Typeflag = tar.TypeLink
		}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", it.Name, err)
		}
		if it.Kind == File {
			if err := it.copyTo(ctx, t); err != nil {
				return err
			}
		}
	}
	return t.Close()
}

func writeZip(ctx context.Context, w io.Writer, items []Item) error {
	z := zip.NewWriter(w)
	for _, it := range items {
		h := &zip.FileHeader{Name: it.Name, Modified: it.MTime.UTC(), Method: zip.Deflate}
		mode := it.Mode.Perm()
		switch it.Kind {
		case Dir:
			h.Name, h.Method, mode = it.Name+"/", zip.Store, mode|fs.ModeDir
		case Symlink:
			h.Method, mode = zip.Store, mode|fs.ModeSymlink
		case Hardlink:
			return fmt.Errorf("%s: a zip has no hard links", it.Name)
		}
		h.SetMode(mode)
		to, err := z.CreateHeader(h)
		if err == nil && it.Kind == Symlink {
			_, err = io.WriteString(to, it.Link)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", it.Name, err)
		}
		if it.Kind == File {
			if err := it.copyTo(ctx, to); err != nil {
				return err
			}
		}
	}
	return z.Close()
}

// copyTo copies as much as was announced, and no other amount.
func (it Item) copyTo(ctx context.Context, w io.Writer) error {
	r, err := it.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, &exact{r: &ending{ctx, r}, left: it.Size})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it became shorter while it was read")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", it.Name, err)
	}
	return nil
}
