package inventory

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func put(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindDefaultOrder(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv(envDefault, "")
	want := func(step string, sources ...string) {
		t.Helper()
		got, err := FindDefault(dir)
		if err != nil || !slices.Equal(got, sources) {
			t.Errorf("%s: %q, %v; want %q", step, got, err, sources)
		}
	}
	want("nothing there")
	hosts := put(t, filepath.Join(dir, "hosts.yaml"), "all:\n")
	want("hosts.yaml", hosts)
	theirs := put(t, filepath.Join(home, "inv.ini"), "a\n")
	put(t, filepath.Join(home, ".config", "sloth", "sloth.yaml"), "inventory: ~/inv.ini\n")
	want("the user's settings", theirs)
	put(t, filepath.Join(dir, "sloth.yaml"), "forks: 5\n")
	want("a project without the key", theirs)
	prod := put(t, filepath.Join(dir, "inv", "prod.yml"), "all:\n")
	put(t, filepath.Join(dir, "sloth.yaml"), "inventory: [inv/prod.yml, 'web-01,web-02,']\n")
	want("the project's settings", prod, "web-01,web-02,")
	t.Setenv(envDefault, hosts)
	want("the environment", hosts)
}

func TestFault61PlantedFilesAreRefused(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv(envDefault, "")
	refused := func(dir, part string) {
		t.Helper()
		got, err := FindDefault(dir)
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, %v; want an error with %q", got, err, part)
		}
	}
	dir := t.TempDir()
	hosts := put(t, filepath.Join(dir, "hosts.yaml"), "all:\n")
	if err := os.Chmod(hosts, 0o666); err != nil {
		t.Fatal(err)
	}
	refused(dir, "hosts.yaml is refused: everybody may write it; chmod o-w ")

	dir = t.TempDir()
	put(t, filepath.Join(dir, "sloth.yaml"), "inventory: nowhere.yml\n")
	refused(dir, "nowhere.yml, named by ")
	put(t, filepath.Join(dir, "sloth.yaml"), "inventory: {a: 1}\n")
	refused(dir, "sloth.yaml:1:1: inventory must be a path or a list of paths")

	if os.Geteuid() != 0 {
		if os.Getenv("SLOTH_MUST_RUN") == "1" {
			t.Fatal("needs root to give a file away")
		}
		t.Skip("needs root to give a file away")
	}
	dir = t.TempDir()
	hosts = put(t, filepath.Join(dir, "hosts.yaml"), "all:\n")
	if err := os.Chown(hosts, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	refused(dir, "is refused: it belongs to user 65534, not to you")
	// A link that somebody else planted, to a file of our own.
	dir = t.TempDir()
	link := filepath.Join(dir, "hosts.yaml")
	if err := os.Symlink(put(t, filepath.Join(t.TempDir(), "mine.yaml"), "all:\n"), link); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(link, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	refused(dir, "is refused: it belongs to user 65534, not to you")
}
