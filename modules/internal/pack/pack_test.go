package pack

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

func held(data []byte) Source {
	return Source{Name: "a", Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

// list is what Walk shows of an archive.
func list(t *testing.T, data []byte, o Options) ([]string, error) {
	t.Helper()
	var out []string
	err := Walk(t.Context(), held(data), o, func(e Entry, r io.Reader) error {
		content := ""
		if e.Kind == File {
			b, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			content = string(b)
		}
		out = append(out, fmt.Sprintf("%d %s %04o %q %s", e.Kind, e.Name, e.Mode.Perm(), content, e.Link))
		return nil
	})
	return out, err
}

func item(kind Kind, name, text string) Item {
	it := Item{Entry: Entry{Name: name, Kind: kind, Mode: 0o640, MTime: time.Unix(1e9, 0), Size: int64(len(text))}}
	switch kind {
	case Symlink, Hardlink:
		it.Link, it.Size = text, 0
	case Dir:
		it.Mode = 0o750
	}
	it.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	return it
}

func packed(t *testing.T, format string, items ...Item) []byte {
	t.Helper()
	var buf bytes.Buffer
	inner := format
	if format == TarXZ || format == TarZstd {
		inner = Tar
	}
	if err := Write(t.Context(), &buf, inner, items); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch format {
	case TarXZ:
		w, err = xz.NewWriter(&out)
	case TarZstd:
		w, err = zstd.NewWriter(&out)
	default:
		return buf.Bytes()
	}
	if err == nil {
		_, err = w.Write(buf.Bytes())
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	items := []Item{item(Dir, "d", ""), item(File, "d/a", "one\r\n\x00"), item(File, "d/empty", ""), item(Symlink, "d/l", "../x"), item(File, "x", strings.Repeat("y", 100_000))}
	for _, format := range []string{Tar, TarGzip, TarXZ, TarZstd, Zip} {
		data := packed(t, format, items...)
		got, err := list(t, data, Options{})
		want := []string{`1 d 0750 "" `, `0 d/a 0640 "one\r\n\x00" `, `0 d/empty 0640 "" `, `2 d/l 0640 "" ../x`, fmt.Sprintf("0 x 0640 %q ", strings.Repeat("y", 100_000))}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v\n%.300q", format, err, got)
		}
		if again := packed(t, format, items...); !bytes.Equal(again, data) {
			t.Errorf("%s: the same files gave other bytes", format)
		}
		for _, cut := range []int{len(data) - 3, len(data) / 2} {
			if format == Tar && cut != len(data)/2 {
				continue // only padding is missing
			}
			if got, err := list(t, data[:cut], Options{}); err == nil {
				t.Errorf("%s cut at %d of %d was read: %.200q", format, cut, len(data), got)
			}
		}
	}
}

func TestADamagedZipIsNoticed(t *testing.T) {
	data := packed(t, Zip, item(File, "x", strings.Repeat("abcdefgh", 10)))
	at := bytes.Index(data, []byte("PK\x07\x08")) - 5
	data[at] ^= 0xff
	if got, err := list(t, data, Options{}); err == nil {
		t.Errorf("%q", got)
	}
}

func TestPatternsAndStrip(t *testing.T) {
	data := packed(t, Tar, item(Dir, "app-1.0", ""), item(File, "app-1.0/README", "r"), item(File, "app-1.0/bin/app", "b"), item(File, "app-1.0/log/a.log", "l"), item(File, "top", "t"))
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Strip: 1}, "README bin/app log/a.log"},
		{Options{Strip: 2}, "app a.log"},
		{Options{Strip: 1, Exclude: []string{"*.log", "README"}}, "bin/app"},
		{Options{Include: []string{"app-1.0/bin"}}, "app-1.0/bin/app"},
		{Options{Include: []string{"app-1.0/**"}, Exclude: []string{"bin"}}, "app-1.0 app-1.0/README app-1.0/log/a.log"},
	} {
		var names []string
		err := Walk(t.Context(), held(data), c.o, func(e Entry, _ io.Reader) error { names = append(names, e.Name); return nil })
		if err != nil || strings.Join(names, " ") != c.want {
			t.Errorf("%+v: %q, %v", c.o, names, err)
		}
	}
}

// rawTar writes headers as they are.
func rawTar(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestFault62HostileArchives: nothing of these reaches whoever unpacks.
func TestFault62HostileArchives(t *testing.T) {
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
	}
	file := func(name string) tar.Header { return tar.Header{Name: name} }
	for name, c := range map[string]struct {
		headers []tar.Header
		want    string
	}{
		"up":              {[]tar.Header{file("../x")}, `"../x", which would be outside of the folder it is unpacked into`},
		"up inside":       {[]tar.Header{file("a/../../x")}, `"a/../../x", which would be outside`},
		"absolute":        {[]tar.Header{file("/etc/passwd")}, `"/etc/passwd", which would be outside`},
		"link up":         {[]tar.Header{link("l", "..")}, `"l" is a link to "..", which leads out of the folder`},
		"link absolute":   {[]tar.Header{link("l", "/etc")}, `"l" is a link to "/etc", which leads out`},
		"link around":     {[]tar.Header{link("d/l", "."), link("m", "d/l/../..")}, `"m" is a link to "d/l/../..", which leads out`},
		"through a link":  {[]tar.Header{link("l", "d"), file("l/x")}, `"l/x" goes through "l", which is no folder in it`},
		"link over files": {[]tar.Header{file("d/x"), link("d", "e")}, `"d" is in it twice`},
		"twice":           {[]tar.Header{file("x"), file("./x")}, `"./x" is in it twice`},
		"hard link out":   {[]tar.Header{{Name: "x", Linkname: "/etc/shadow", Typeflag: tar.TypeLink}}, `"x" is a link to "/etc/shadow", which would be outside`},
		"hard link first": {[]tar.Header{{Name: "x", Linkname: "y", Typeflag: tar.TypeLink}, file("y")}, `"x" is a second name of "y", which is no file unpacked before it`},
		"hard to link":    {[]tar.Header{link("y", "z"), {Name: "x", Linkname: "y", Typeflag: tar.TypeLink}}, `"x" is a second name of "y", which is no file`},
		"device":          {[]tar.Header{{Name: "sda", Typeflag: tar.TypeBlock, Devmajor: 8}}, `"sda" is a device, which no archive may bring; exclude it to unpack the rest`},
		"fifo":            {[]tar.Header{{Name: "p", Typeflag: tar.TypeFifo}}, `"p" is a fifo`},
		"large":           {[]tar.Header{{Name: "a", Size: 600}, {Name: "b", Size: 600}}, "its files are larger than 1000 bytes together; say max_size if that is meant"},
	} {
		_, err := list(t, rawTar(t, c.headers...), Options{MaxSize: 1000})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := list(t, rawTar(t, link("l", "/etc")), Options{OutsideLinks: true}); err != nil {
		t.Error(err)
	}
	if got, err := list(t, rawTar(t, tar.Header{Name: "sda", Typeflag: tar.TypeBlock}, file("x")), Options{Exclude: []string{"sda"}}); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
	setuid := rawTar(t, tar.Header{Name: "su", Mode: 0o4755})
	if got, err := list(t, setuid, Options{}); err != nil || got[0] != `0 su 0755 "" ` {
		t.Error(got, err)
	}
}

func TestFault62Bombs(t *testing.T) {
	g := &guard{seen: maxEntries - 1, kinds: map[string]Kind{}, f: func(Entry, io.Reader) error { return nil }}
	if err := g.entry(Entry{Name: "last"}, nil, strings.NewReader("")); err != nil {
		t.Error(err)
	}
	if err := g.entry(Entry{Name: "more"}, nil, nil); err == nil || err.Error() != "it has more than 200000 entries" {
		t.Error(err)
	}
	// A zip that says less than it holds.
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	f, err := w.Create("x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data := buf.Bytes()
	size := []byte{0, 0, 0x10, 0}
	at := bytes.LastIndex(data, size)
	copy(data[at:], []byte{10, 0, 0, 0})
	if got, err := list(t, data, Options{MaxSize: 1000}); err == nil {
		t.Errorf("%.100q", got)
	}
	// What follows a tar's end is read for checksums only, and not for ever.
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.Copy(z, io.LimitReader(zeros{}, maxTail+(1<<20))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := list(t, bomb.Bytes(), Options{}); err == nil || !strings.Contains(err.Error(), "much follows its end") {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestOtherFilesAreNamed(t *testing.T) {
	for data, want := range map[string]string{
		"hello": "archive a: it is none of tar, tar.gz, tar.xz, tar.zst and zip",
		"":      "archive a: it is none of tar, tar.gz, tar.xz, tar.zst and zip",
		"BZh91": "archive a: it is compressed with bzip2, which is not read; make it tar.gz, tar.xz or tar.zst",
	} {
		if _, err := list(t, []byte(data), Options{}); err == nil || err.Error() != want {
			t.Errorf("%q: %v", data, err)
		}
	}
}

func FuzzWalk(f *testing.F) {
	for _, format := range []string{Tar, TarGzip, Zip} {
		var buf bytes.Buffer
		if err := Write(context.Background(), &buf, format, []Item{item(Dir, "d", ""), item(File, "d/x", "text"), item(Symlink, "l", "d/x")}); err != nil {
			f.Fatal(err)
		}
		f.Add(buf.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = Walk(t.Context(), held(data), Options{MaxSize: 1 << 20}, func(e Entry, r io.Reader) error {
			if !fs.ValidPath(e.Name) || e.Name == "." {
				t.Errorf("the name %q", e.Name)
			}
			_, err := io.Copy(io.Discard, r)
			return err
		})
	})
}
