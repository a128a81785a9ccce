package modulestest

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules/internal/pack"
)

// withArchives turns the files that are named "ARCHIVE!PATH" into archives.
func withArchives(t *testing.T, files map[string]string) map[string]string {
	t.Helper()
	out := map[string]string{}
	packs := map[string][]pack.Item{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if into, inner, ok := strings.Cut(name, "!"); ok {
			packs[into] = append(packs[into], packItem(inner, files[name]))
		} else {
			out[name] = files[name]
		}
	}
	for name, items := range packs {
		out[name] = packed(t, name, items)
	}
	return out
}

// packItem is one entry of an archive; a name with " -> TARGET" is a link, one
// that ends in / a folder.
func packItem(name, text string) pack.Item {
	it := pack.Item{
		Entry: pack.Entry{Name: strings.TrimSuffix(name, "/"), Mode: 0o640, MTime: time.Unix(1_600_000_000, 0), Size: int64(len(text)), UID: 4711, GID: 4713},
		Open:  func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil },
	}
	if from, to, ok := strings.Cut(name, " -> "); ok {
		it.Name, it.Link, it.Kind, it.Size = from, to, pack.Symlink, 0
	} else if it.Name != name {
		it.Kind, it.Mode, it.Size = pack.Dir, 0o750, 0
	}
	return it
}

// packed is an archive of the format that its name says.
func packed(t *testing.T, name string, items []pack.Item) string {
	t.Helper()
	format, ok := pack.FormatOf(name)
	if !ok {
		t.Fatalf("%s is no archive", name)
	}
	var buf bytes.Buffer
	if err := pack.Write(t.Context(), &buf, format, items); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}
