package artifact

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/sha256"
	"encoding/hex"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s *Store, a Artifact, text string) Artifact {
	t.Helper()
	out, err := s.Put(t.Context(), a, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestVersions(t *testing.T) {
	s := open(t)
	a := put(t, s, Artifact{Name: "dist/app", Stack: "shop", Host: "web", Task: "build", Run: "r1", Mode: 0o755}, "one")
	b := put(t, s, Artifact{Name: "dist/app", Stack: "shop", Host: "web", Task: "build", Run: "r2", Mode: 0o755}, "two")
	c := put(t, s, Artifact{Name: "dist/app", Stack: "shop", Host: "db", Run: "r2"}, "two")
	if a.Version != 1 || b.Version != 2 || c.Version != 1 || b.Hash != c.Hash || b.Size != 3 {
		t.Errorf("%+v %+v %+v", a, b, c)
	}
	for _, x := range []struct {
		f    Filter
		want int
	}{{Filter{}, 3}, {Filter{Name: "dist/*"}, 3}, {Filter{Host: "web"}, 2}, {Filter{Run: "r2"}, 2}, {Filter{Name: "x"}, 0}, {Filter{Stack: "blog"}, 0}} {
		if list, err := s.List(x.f); err != nil || len(list) != x.want {
			t.Errorf("%+v: %d %v", x.f, len(list), err)
		}
	}
	dir := t.TempDir()
	name, err := s.Get(t.Context(), b, dir)
	text, rerr := os.ReadFile(filepath.Join(dir, "dist/app"))
	st, serr := os.Stat(filepath.Join(dir, "dist/app"))
	if errors.Join(err, rerr, serr) != nil || name != "dist/app" || string(text) != "two" || st.Mode().Perm() != 0o755 {
		t.Errorf("%q %q %v %v", name, text, st, err)
	}
	n := 0
	if err := filepath.WalkDir(s.dir, func(p string, d os.DirEntry, err error) error {
		st, e := d.Info()
		if e == nil && st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others", p)
		}
		if strings.Contains(p, "/objects/") && !d.IsDir() {
			n++
		}
		return errors.Join(err, e)
	}); err != nil || n != 2 {
		t.Errorf("%d contents, %v", n, err)
	}
}

// Nothing is written outside of the folder, whatever a name or a link in the
// folder says.
func TestNothingLeavesTheFolder(t *testing.T) {
	s := open(t)
	for _, name := range []string{"", ".", "..", "../x", "a/../../x", "/etc/x", "a//b", "a/", "a\x00b", "a\nb", `a\b`, "./a", strings.Repeat("x", 2000)} {
		if _, err := s.Put(t.Context(), Artifact{Name: name}, strings.NewReader("x")); err == nil {
			t.Errorf("%q was kept", name)
		}
		if err := s.Piece(Artifact{Name: name, Hash: strings.Repeat("0", 64), Size: 1}, 0, []byte("x")); err == nil {
			t.Errorf("a piece of %q was kept", name)
		}
	}
	a := put(t, s, Artifact{Name: "sub/app"}, "text")
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "sub")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), a, dir); err == nil {
		t.Error("a link was followed")
	}
	if list, _ := os.ReadDir(outside); len(list) > 0 {
		t.Error("something was written outside")
	}
	a.Name = "../app"
	if _, err := s.Get(t.Context(), a, dir); err == nil {
		t.Error("a name led outside")
	}
}

func TestPieces(t *testing.T) {
	s := open(t)
	text := []byte(strings.Repeat("0123456789", 1000))
	sum := sha256.Sum256(text)
	a := Artifact{Name: "app", Host: "web", Hash: hex.EncodeToString(sum[:]), Size: int64(len(text))}
	var wg sync.WaitGroup
	for i := 0; i < len(text); i += 1000 {
		wg.Go(func() {
			if err := s.Piece(a, int64(i), text[i:i+1000]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := s.Done(t.Context(), a)
	if err != nil || got.Version != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	for _, bad := range []struct {
		at   int64
		size int64
		hash string
		want string
	}{
		{-1, 10, a.Hash, "is not within its 10 bytes"}, {8, 10, a.Hash, "is not within its 10 bytes"}, {0, -1, a.Hash, "it was announced with"}, {0, 10, "../../x", "it was announced with"},
	} {
		b := a
		b.Size, b.Hash = bad.size, bad.hash
		if err := s.Piece(b, bad.at, []byte("abc")); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	b := a
	b.Name = "other"
	if err := s.Piece(b, 0, []byte("not what was announced")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Done(t.Context(), b); err == nil || err.Error() != "artifact other: it changed while it was being sent" {
		t.Error(err)
	}
	if again, err := s.Again(t.Context(), b, got); err != nil || again.Hash != got.Hash || again.ID == got.ID {
		t.Errorf("%+v %v", again, err)
	}
}

func TestRetention(t *testing.T) {
	at := time.Now().Add(-100 * 24 * time.Hour)
	fill := func(t *testing.T) *Store {
		s := open(t)
		for i := range 6 {
			s.now = func() time.Time { return at.Add(time.Duration(i) * 10 * 24 * time.Hour) }
			put(t, s, Artifact{Name: "app", Host: "web"}, fmt.Sprint("content ", i))
		}
		s.now = func() time.Time { return at.Add(60 * 24 * time.Hour) }
		put(t, s, Artifact{Name: "old"}, "content 0")
		s.now = time.Now
		return s
	}
	for name, x := range map[string]struct {
		keep Keep
		want string
	}{
		"all":   {Keep{}, "app1 app2 app3 app4 app5 app6 old1"},
		"count": {Keep{Versions: 2}, "app5 app6 old1"},
		"age":   {Keep{Since: at.Add(35 * 24 * time.Hour)}, "app5 app6 old1"},
		"size":  {Keep{Size: 18}, "app6 old1"},
		"young": {Keep{Since: time.Now()}, "app6 old1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := fill(t)
			if _, _, err := s.Prune(t.Context(), x.keep); err != nil {
				t.Fatal(err)
			}
			list, err := s.List(Filter{})
			var got []string
			for _, a := range list {
				got = append(got, fmt.Sprint(a.Name, a.Version))
			}
			if err != nil || strings.Join(got, " ") != x.want {
				t.Errorf("%v %v", got, err)
			}
			if n, err := s.Verify(t.Context(), func(err error) { t.Error(err) }); err != nil || n != len(list) {
				t.Errorf("%d %v", n, err)
			}
		})
	}
}

func TestDamageIsFound(t *testing.T) {
	s := open(t)
	a := put(t, s, Artifact{Name: "app"}, "content")
	b := put(t, s, Artifact{Name: "lib"}, "other")
	c := put(t, s, Artifact{Name: "doc"}, "third")
	if err := errors.Join(
		os.WriteFile(filepath.Join(s.dir, objectName(a.Hash)), []byte("c0ntent"), 0o600),
		os.Remove(filepath.Join(s.dir, objectName(b.Hash))),
		os.WriteFile(filepath.Join(s.dir, metaName(c)), []byte(`{"id":"x"}`), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	var found []string
	if _, err := s.Verify(t.Context(), func(err error) { found = append(found, err.Error()) }); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(found, "\n")
	for _, want := range []string{"the content of artifact app (" + a.Hash[:12] + ") is damaged", "the content of artifact lib (" + b.Hash[:12] + ") is gone", "of an artifact is damaged"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if _, err := s.Get(t.Context(), a, t.TempDir()); err == nil {
		t.Error("what is damaged was given away")
	}
}

func FuzzNames(f *testing.F) {
	f.Add("a/b")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) == nil && !filepath.IsLocal(name) {
			t.Errorf("%q leads outside", name)
		}
	})
}
