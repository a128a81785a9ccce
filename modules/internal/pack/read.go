package pack

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/sloth-runner/sloth/modules/internal/unxz"
	"github.com/sloth-runner/sloth/modules/internal/unzstd"
)

// walk looks at the first bytes, not at the name, to tell the formats apart.
func walk(ctx context.Context, in io.Reader, g *guard) error {
	if whole, ok := in.(interface {
		io.ReaderAt
		io.Seeker
	}); ok {
		var mark [4]byte
		if n, _ := whole.ReadAt(mark[:], 0); isZip(mark[:n]) {
			size, err := whole.Seek(0, io.SeekEnd)
			if err != nil {
				return err
			}
			return walkZip(ctx, whole, size, g)
		}
	}
	buf := bufio.NewReaderSize(in, 64<<10)
	head, err := buf.Peek(SniffSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch format := Sniff(head); format {
	case Zip:
		data, err := io.ReadAll(io.LimitReader(buf, maxZip+1))
		if err != nil {
			return err
		}
		if len(data) > maxZip {
			return fmt.Errorf("it is a zip of more than %d MB, which cannot be read as it arrives; put it on the host with file_ops.copy and say remote_src = true, or make it a tar", maxZip>>20)
		}
		return walkZip(ctx, bytes.NewReader(data), int64(len(data)), g)
	case TarGzip:
		r, err := gzip.NewReader(buf)
		if err != nil {
			return err
		}
		return walkTar(ctx, r, g)
	case TarZstd:
		return walkTar(ctx, unzstd.NewReader(buf), g)
	case TarXZ:
		r, err := unxz.NewReader(buf)
		if err != nil {
			return err
		}
		return walkTar(ctx, r, g)
	case Tar:
		return walkTar(ctx, buf, g)
	}
	if bytes.HasPrefix(head, []byte("BZh")) {
		return errors.New("it is compressed with bzip2, which is not read; make it tar.gz, tar.xz or tar.zst")
	}
	return errors.New("it is none of tar, tar.gz, tar.xz, tar.zst and zip")
}

// SniffSize is how much of an archive Sniff needs to see.
const SniffSize = 512

// Sniff tells the format from an archive's first bytes; empty: it is none.
func Sniff(head []byte) string {
	switch {
	case isZip(head):
		return Zip
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return TarGzip
	case isZstd(head):
		return TarZstd
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return TarXZ
	case len(head) >= SniffSize && (string(head[257:262]) == "ustar" || allZero(head[:SniffSize]) || oldTar(head[:SniffSize])):
		return Tar
	}
	return ""
}

func isZip(head []byte) bool {
	return bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06"))
}

func isZstd(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	magic := uint32(head[0]) | uint32(head[1])<<8 | uint32(head[2])<<16 | uint32(head[3])<<24
	return magic == 0xfd2fb528 || magic >= 0x184d2a50 && magic <= 0x184d2a5f
}

func allZero(head []byte) bool { return len(bytes.Trim(head, "\x00")) == 0 }

// oldTar knows a tar of before POSIX by its checksum, as file(1) does.
func oldTar(head []byte) bool {
	sum, want := 0, 0
	for i, c := range head {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int(c)
	}
	_, err := fmt.Sscanf(strings.Trim(string(head[148:156]), " \x00"), "%o", &want)
	return err == nil && sum == want
}

func walkTar(ctx context.Context, r io.Reader, g *guard) error {
	t := tar.NewReader(&ending{ctx, r})
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return cutShort(err)
		}
		e := Entry{
			Name: h.Name, Mode: fs.FileMode(h.Mode) & fs.ModePerm, UID: h.Uid, GID: h.Gid, User: h.Uname, Group: h.Gname, //nolint:gosec // masked
			Size: h.Size, MTime: h.ModTime, Link: h.Linkname,
		}
		var bad error
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeGNUSparse:
			e.Kind = File
		case tar.TypeDir:
			e.Kind = Dir
		case tar.TypeSymlink:
			e.Kind = Symlink
		case tar.TypeLink:
			e.Kind = Hardlink
		case tar.TypeXGlobalHeader:
			continue
		case tar.TypeChar, tar.TypeBlock:
			bad = kindError{"is a device, which no archive may bring"}
		case tar.TypeFifo:
			bad = kindError{"is a fifo, which no archive may bring"}
		default:
			bad = kindError{fmt.Sprintf("is of the unknown kind %q", h.Typeflag)}
		}
		if err := g.entry(e, bad, t); err != nil {
			return cutShort(err)
		}
	}
	// The checksums of what compressed it come last.
	n, err := io.Copy(io.Discard, io.LimitReader(&ending{ctx, r}, maxTail))
	if err == nil && n == maxTail {
		err = errors.New("much follows its end")
	}
	return cutShort(err)
}

// maxTail is what may follow the end of a tar: the rest of a block of tape.
const maxTail = 32 << 20

func cutShort(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is cut short")
	}
	return err
}

// ending ends when its context does.
type ending struct {
	ctx context.Context
	r   io.Reader
}

func (e *ending) Read(p []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, context.Cause(e.ctx)
	}
	return e.r.Read(p)
}

func walkZip(ctx context.Context, at io.ReaderAt, size int64, g *guard) error {
	z, err := zip.NewReader(at, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return err
	}
	for _, f := range z.File {
		if err := zipEntry(ctx, f, g); err != nil {
			return cutShort(err)
		}
	}
	return nil
}

func zipEntry(ctx context.Context, f *zip.File, g *guard) error {
	// Some programs on Windows write their own separator.
	name := strings.ReplaceAll(f.Name, `\`, "/")
	mode := f.Mode()
	e := Entry{Name: name, Mode: mode & fs.ModePerm, UID: -1, GID: -1, MTime: f.Modified, Size: int64(f.UncompressedSize64)} //nolint:gosec // checked below
	var bad error
	switch {
	case strings.HasSuffix(name, "/"):
		e.Kind, e.Size = Dir, 0
	case mode&fs.ModeSymlink != 0:
		e.Kind, e.Size = Symlink, 0
	case mode.IsRegular():
		e.Kind = File
	case mode.IsDir():
		e.Kind, e.Size = Dir, 0
	default:
		bad = kindError{"is a device or the like, which no archive may bring"}
	}
	if mode.Perm() == 0 { // written where there are no permissions
		e.Mode = 0o644
		if e.Kind == Dir {
			e.Mode = 0o755
		}
	}
	if bad == nil && e.Kind == Symlink && !f.FileInfo().IsDir() {
		r, err := f.Open()
		if err != nil {
			return fmt.Errorf("%q: %w", f.Name, err)
		}
		target, err := io.ReadAll(io.LimitReader(r, maxName+1))
		r.Close()
		if err != nil {
			return fmt.Errorf("%q: %w", f.Name, err)
		}
		e.Link = string(target)
	}
	return g.entry(e, bad, &lazy{ctx: ctx, f: f})
}

// lazy opens a file of a zip at the first read: most are not wanted.
type lazy struct {
	ctx context.Context
	f   *zip.File
	r   io.ReadCloser
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.ctx.Err() != nil {
		return 0, context.Cause(l.ctx)
	}
	if l.r == nil {
		var err error
		if l.r, err = l.f.Open(); err != nil {
			return 0, fmt.Errorf("%q: %w", l.f.Name, err)
		}
	}
	n, err := l.r.Read(p)
	if err != nil {
		l.r.Close()
	}
	return n, err
}
