package repo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sloth-runner/sloth/modules/internal/standin"
)

const (
	sources = "/etc/apt/sources.list.d/tools.sources"
	asc     = "/etc/apt/keyrings/tools.asc"
	gpg     = "/etc/apt/keyrings/tools.gpg"
	update  = "apt-get --yes --quiet -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 update"
)

var args = standin.Args

func testKey(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// debian is a host with apt. Lists cannot be refreshed while a source speaks of
// "broken".
func debian(t *testing.T, files map[string]string) *standin.Host {
	t.Helper()
	all := map[string]string{"/etc/apt/sources.list.d/": "", "/etc/apt/keyrings/": "", "/etc/os-release": "ID=debian\nVERSION_CODENAME=bookworm\n", "/var/lib/apt/lists/": ""}
	for path, text := range files {
		all[path] = text
	}
	h := standin.New(t, Module(), all)
	h.Tool("apt-get", `grep -rqs broken "$ROOT/etc/apt" || exit 0; echo "E: The repository 'https://broken' does not have a Release file." >&2; exit 100`)
	h.Tool("dpkg-query", "exit 99")
	h.Files = map[string]string{"keys/tools.asc": testKey(t, "key.asc"), "keys/bad": "hello"}
	return h
}

func newFile(path string) string {
	return path + " state: absent -> file; " + path + " content; " + path + " mode:  -> 0644"
}

func TestApt(t *testing.T) {
	h := debian(t, nil)
	plain := func(kv ...any) map[string]any {
		a := args("name", "tools", "uris", "https://deb.example.com", "suites", "bookworm", "components", []any{"main", "contrib"})
		for k, v := range args(kv...) {
			a[k] = v
		}
		return a
	}
	h.Cycle("apt", plain(), newFile(sources), update, "")
	h.Cycle("apt", plain("key", "keys/tools.asc"), newFile(asc)+"; "+sources+" content", update, "")
	if got, want := h.Text(sources), "Types: deb\nURIs: https://deb.example.com\nSuites: bookworm\nComponents: main contrib\nSigned-By: "+asc+"\n"; got != want {
		t.Errorf("it wrote\n%s\nwanted\n%s", got, want)
	}
	h.Cycle("apt", plain("signed_by", testKey(t, "key.asc"), "enabled", false, "types", []any{"deb", "deb-src"}, "architectures", "amd64", "update_cache", false,
		"options", map[string]any{"Trusted": "no", "Check-Valid-Until": "no"}), sources+" content", "", "")
	if got, want := h.Text(sources), "Enabled: no\nTypes: deb deb-src\nURIs: https://deb.example.com\nSuites: bookworm\nComponents: main contrib\nArchitectures: amd64\nSigned-By: "+
		asc+"\nCheck-Valid-Until: no\nTrusted: no\n"; got != want {
		t.Errorf("it wrote\n%s\nwanted\n%s", got, want)
	}
	h.Cycle("apt", plain("key", "/usr/share/keyrings/x.gpg"), "", "", "repo.apt: key /usr/share/keyrings/x.gpg: open /usr/share/keyrings/x.gpg: no such file or directory")
	h.Put("/usr/share/keyrings/x.gpg", testKey(t, "key.gpg"))
	h.Cycle("apt", plain("key", "/usr/share/keyrings/x.gpg"), sources+" content", update, "")
	h.Cycle("apt", args("name", "tools", "state", "absent"), sources+" state: file -> absent; "+asc+" state: file -> absent", update, "")
	if h.Text("/usr/share/keyrings/x.gpg") == "(absent)" {
		t.Error("a key that is none of ours was removed")
	}
	h.Put("/etc/apt/sources.list.d/other.list", "deb [signed-by="+asc+"] http://x y z\n")
	h.Put(asc, testKey(t, "key.asc"))
	h.Put(sources, "x")
	h.Cycle("apt", args("name", "tools", "state", "absent"), sources+" state: file -> absent", update, "")
}

// A repository that apt cannot read is taken back, with its key.
func TestBrokenRepositoryIsUndone(t *testing.T) {
	h := debian(t, map[string]string{sources: "old\n"})
	fail := "repo.apt: with this change the lists of packages cannot be brought up to date, so it was undone: " +
		"apt-get update: exit code 100: The repository 'https://broken' does not have a Release file."
	_, _, err := h.Call("apt", args("name", "tools", "uris", "https://broken", "suites", "x", "components", "main", "key", "keys/tools.asc"))
	if err == nil || err.Error() != fail {
		t.Errorf("%v\nwanted\n%s", err, fail)
	}
	if h.Text(sources) != "old\n" || h.Text(asc) != "(absent)" {
		t.Errorf("it left %q and %q", h.Text(sources), h.Text(asc))
	}
}

// One of two broken repositories must not keep the other.
func TestRemovalIsNotUndone(t *testing.T) {
	h := debian(t, map[string]string{sources: "x", "/etc/apt/sources.list": "deb https://broken x y\n"})
	_, _, err := h.Call("remove", args("name", "tools"))
	want := "repo.remove: it is gone, but the lists of packages cannot be brought up to date, without it or with it: apt-get update: exit code 100: The repository 'https://broken' does not have a Release file."
	if err == nil || err.Error() != want || h.Text(sources) != "(absent)" {
		t.Errorf("%v\nwanted\n%s", err, want)
	}
}

func TestOneLine(t *testing.T) {
	h := debian(t, map[string]string{"/etc/apt/sources.list": "# mine\ndeb   http://deb.debian.org/debian  bookworm main # yes\n"})
	file := "/etc/apt/sources.list.d/deb_example_com_x.list"
	line := "deb [arch=amd64] https://deb.example.com/x stable main"
	h.Cycle("apt", args("line", "deb http://deb.debian.org/debian bookworm main"), "", "", "")
	h.Cycle("apt", args("line", " deb  [arch=amd64] https://deb.example.com/x   stable main"), newFile(file), update, "")
	h.Cycle("apt", args("line", "deb-src https://deb.example.com/x stable main"), file+" content", update, "")
	if got, want := h.Text(file), line+"\ndeb-src https://deb.example.com/x stable main\n"; got != want {
		t.Errorf("it wrote\n%s\nwanted\n%s", got, want)
	}
	h.Cycle("apt", args("line", line, "state", "absent"), file+" content", update, "")
	h.Cycle("apt", args("line", "deb-src https://deb.example.com/x stable main", "state", "absent"), file+" state: file -> absent", update, "")
	h.Cycle("apt", args("line", "deb http://deb.debian.org/debian bookworm main", "state", "absent"), "/etc/apt/sources.list content", update, "")
	if h.Text("/etc/apt/sources.list") != "# mine\n" {
		t.Errorf("left is %q", h.Text("/etc/apt/sources.list"))
	}
	list := "/etc/apt/sources.list.d/tools.list"
	h.Cycle("apt", args("line", "deb https://x.example.com /", "name", "tools", "key", "keys/tools.asc"), newFile(asc)+"; "+newFile(list), update, "")
	if got, want := h.Text(list), "deb [signed-by="+asc+"] https://x.example.com /\n"; got != want {
		t.Errorf("it wrote\n%s\nwanted\n%s", got, want)
	}
}

func TestKeyFromAnAddress(t *testing.T) {
	var asked atomic.Int32
	key := testKey(t, "key.gpg")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/key":
			fmt.Fprint(w, key)
		case "/page":
			fmt.Fprint(w, "<html>")
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	sum := func(text string) string {
		s := sha256.Sum256([]byte(text))
		return hex.EncodeToString(s[:])
	}
	h := debian(t, nil)
	with := func(path, sum string) map[string]any {
		return args("name", "tools", "uris", "https://x", "suites", "/", "key", server.URL+path, "key_sha256", sum)
	}
	h.Cycle("apt", with("/key", sum(key)), gpg+" state: absent -> file; "+gpg+" content:  -> 221 bytes, sha256 "+sum(key)[:12]+"; "+gpg+" mode:  -> 0644; "+newFile(sources), update, "")
	if n := asked.Load(); n != 2 { // by the plan, and for real
		t.Errorf("the key was fetched %d times", n)
	}
	h.Cycle("apt", with("/key", sum(key)), "", "", "")
	if n := asked.Load(); n != 2 {
		t.Errorf("a key that is there was fetched again")
	}
	for _, c := range []struct{ path, sum, fail string }{
		{"/key", sum("x"), "key " + server.URL + "/key: its SHA-256 is " + sum(key) + ", not " + sum("x") + "; find out whether the key was changed by its owner"},
		{"/none", sum("x"), "fetch the key: " + server.URL + "/none answers 404 Not Found"},
		{"/page", sum("<html>"), "key " + server.URL + "/page: it is a web page, not a key; the address is probably another"},
		{"/key", "", "key_sha256 is missing: what comes from an address is believed only by its SHA-256 (sha256sum KEY)"},
		{"/key", "abc", `key_sha256 = "abc" is no SHA-256, which is 64 hex digits`},
	} {
		h.Cycle("apt", with(c.path, c.sum), "", "", "repo.apt: "+c.fail)
	}
}

func TestRPM(t *testing.T) {
	file := "/etc/yum.repos.d/tools.repo"
	h := standin.New(t, Module(), map[string]string{"/etc/yum.repos.d/": "", "/etc/pki/rpm-gpg/": "", "/etc/zypp/repos.d/": ""})
	h.Tool("dnf", "grep -rqs broken \"$ROOT/etc/yum.repos.d\" || exit 0; echo 'Error: Failed to download metadata' >&2; exit 1")
	h.Tool("rpm", `case $1 in --import) touch "$ROOT/imported" ;; -q) [ -f "$ROOT/imported" ] && echo ae888524 || { echo "package gpg-pubkey is not installed"; exit 1; } ;; *) exit 99 ;; esac`, "-q gpg-pubkey ")
	h.Files = map[string]string{"key": testKey(t, "key.asc")}
	h.Cycle("dnf", args("name", "tools", "baseurl", "https://x/$basearch", "update_cache", false), newFile(file), "", "")
	if got, want := h.Text(file), "[tools]\nname = tools\nbaseurl = https://x/$basearch\ngpgcheck = 1\n"; got != want {
		t.Errorf("it wrote\n%s\nwanted\n%s", got, want)
	}
	h.Put(file, "# mine\n[tools]\ngpgcheck=yes\nname=tools\nenabled=true\nbaseurl=\n https://x/$basearch\n\n[more]\nname=more\n")
	h.Cycle("dnf", args("name", "tools", "baseurl", "https://x/$basearch"), "", "", "")
	key := "/etc/pki/rpm-gpg/RPM-GPG-KEY-tools"
	h.Cycle("dnf", args("name", "tools", "baseurl", []any{"https://x", "https://y"}, "enabled", false, "key", "key", "priority", 5.0, "exclude", []any{"a", "b*"}, "description", "Tools",
		"repo_gpgcheck", true, "options", map[string]any{"sslverify": "1"}, "update_cache", false),
		newFile(key)+"; rpm key ae888524 state: absent -> present; "+file+" content", "rpm --import /etc/pki/rpm-gpg/RPM-GPG-KEY-tools", "")
	if got, want := h.Text(file), "# mine\n[tools]\nname = Tools\nbaseurl = https://x https://y\nenabled = 0\ngpgcheck = 1\nrepo_gpgcheck = 1\ngpgkey = file://"+key+
		"\npriority = 5\nexclude = a b*\nsslverify = 1\n\n[more]\nname=more\n"; got != want {
		t.Errorf("it wrote\n%s\nwanted\n%s", got, want)
	}
	h.Cycle("dnf", args("name", "tools", "state", "absent", "update_cache", false), key+" state: file -> absent; "+file+" content", "", "")
	if got, want := h.Text(file), "# mine\n[more]\nname=more\n"; got != want {
		t.Errorf("left is %q", got)
	}
	h.Cycle("dnf", args("name", "more", "file", "tools", "state", "absent", "update_cache", false), file+" state: file -> absent", "", "")
	zypp := "/etc/zypp/repos.d/tools.repo"
	h.Cycle("zypper", args("name", "tools", "metalink", "https://x/m", "gpgcheck", false, "update_cache", false), newFile(zypp), "", "")
	_, _, err := h.Call("dnf", args("name", "bad", "baseurl", "https://broken"))
	if err == nil || !strings.Contains(err.Error(), "so it was undone: dnf makecache: exit code 1: Error: Failed to download metadata") || h.Text("/etc/yum.repos.d/bad.repo") != "(absent)" {
		t.Errorf("%v, %q", err, h.Text("/etc/yum.repos.d/bad.repo"))
	}
}

func TestGeneric(t *testing.T) {
	h := debian(t, nil)
	h.Cycle("add", args("name", "tools", "url", "https://x", "key", "keys/tools.asc"), newFile(asc)+"; "+newFile(sources), update, "")
	if got, want := h.Text(sources), "Types: deb\nURIs: https://x\nSuites: bookworm\nComponents: main\nSigned-By: "+asc+"\n"; got != want {
		t.Errorf("it wrote\n%s\nwanted\n%s", got, want)
	}
	got, _, err := h.Call("list", nil)
	if err != nil || len(got.([]any)) != 1 || fmt.Sprint(got.([]any)[0]) != "map[architectures:[] components:[main] enabled:true file:"+sources+" key:"+asc+" name:tools suites:[bookworm] types:[deb] uris:[https://x]]" {
		t.Errorf("%v, %v", got, err)
	}
	h.Cycle("remove", args("name", "tools"), sources+" state: file -> absent; "+asc+" state: file -> absent", update, "")
	h.Cycle("remove", args("name", "tools"), "", "", "")

	rpm := standin.New(t, Module(), map[string]string{"/etc/zypp/repos.d/": ""})
	rpm.Tool("zypper", "exit 99")
	file := "/etc/zypp/repos.d/tools.repo"
	rpm.Cycle("add", args("name", "tools", "url", "https://x", "enabled", false, "update_cache", false), newFile(file), "", "")
	got, _, err = rpm.Call("list", nil)
	if err != nil || len(got.([]any)) != 1 || fmt.Sprint(got.([]any)[0]) != "map[description:tools enabled:false file:"+file+" key: name:tools uris:[https://x]]" {
		t.Errorf("%v, %v", got, err)
	}
	rpm.Cycle("remove", args("name", "tools", "update_cache", false), file+" state: file -> absent", "", "")
	none := standin.New(t, Module(), nil)
	for _, f := range []string{"list", "add", "remove"} {
		a := args("name", "x", "url", "https://x")
		switch f {
		case "list":
			a = nil
		case "remove":
			delete(a, "url")
		}
		if _, _, err := none.Call(f, a); err == nil || !strings.HasSuffix(err.Error(), errNone.Error()) {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestBadInput(t *testing.T) {
	h := debian(t, nil)
	apt := func(kv ...any) map[string]any {
		a := args("name", "tools", "uris", "https://x", "suites", "a", "components", "main")
		for k, v := range args(kv...) {
			if v == "" {
				delete(a, k)
			} else {
				a[k] = v
			}
		}
		return a
	}
	secret := "-----BEGIN PGP PRIVATE KEY BLOCK-----\n"
	damaged := strings.Replace(testKey(t, "key.asc"), "mDMEawV9FBY", "mDMEawV9FBZ", 1)
	cut := testKey(t, "key.asc")[:200]
	for _, c := range []struct {
		function string
		args     map[string]any
		fail     string
	}{
		{"apt", apt("name", ""), "name is missing: name of its file below /etc/apt/sources.list.d"},
		{"apt", apt("name", "../x"), `name = "../x" is no name of a file of repositories: letters, digits, _, - and . after a letter or digit`},
		{"apt", apt("uris", ""), "uris is missing: where it is; or give the repository as one line"},
		{"apt", apt("uris", "deb.example.com"), `uris: "deb.example.com" is no address that apt knows, such as "https://deb.example.com"`},
		{"apt", apt("suites", ""), `suites is missing: distributions, such as "bookworm", or folders that end in /`},
		{"apt", apt("components", ""), `components is missing: parts of a, often "main"`},
		{"apt", apt("suites", "x/"), `the suite "x/" is a folder, which has no components`},
		{"apt", apt("suites", "a\nSigned-By: x"), `suites: "a\nSigned-By: x" is no word`},
		{"apt", apt("types", "rpm"), `types: "rpm" is neither deb nor deb-src`},
		{"apt", apt("options", map[string]any{"Trusted": "yes\nX: y"}), `options: Trusted = "yes\nX: y" is no field of a repository`},
		{"apt", apt("state", "gone"), `state = "gone": it must be one of present, absent`},
		{"apt", apt("key", secret), "key: this is a private key, which stays with its owner; give the public one (gpg --export)"},
		{"apt", apt("key", damaged), "key: the key is damaged: its checksum is another"},
		{"apt", apt("key", cut), "key: the key is cut off: its END line is missing"},
		{"apt", apt("key", "keys/bad"), "key keys/bad: it is no OpenPGP public key"},
		{"apt", apt("key", "keys/none"), "key keys/none: read keys/none: no such file"},
		{"apt", apt("key_sha256", "x"), "key_sha256 is for a key that is an address"},
		{"apt", args("line", "https://x a main"), `line = "https://x a main" begins with neither deb nor deb-src; it looks like "deb [signed-by=/etc/apt/keyrings/x.asc] https://deb.example.com stable main"`},
		{"apt", args("line", "deb https://x a"), `line = "deb https://x a" has no components behind the suite; it looks like "deb [signed-by=/etc/apt/keyrings/x.asc] https://deb.example.com stable main"`},
		{"apt", args("line", "deb [signed-by=/x] https://x a b", "key", "keys/tools.asc"), "the line says signed-by itself; leave out key, or signed-by"},
		{"apt", args("line", "deb https://x a b", "suites", "c"), "give one of line and suites: a line says it itself"},
		{"dnf", args("name", "x"), "baseurl is missing: where it is; mirrorlist or metalink will do as well"},
		{"dnf", args("name", "x", "baseurl", "a", "metalink", "https://x"), "give one of baseurl, mirrorlist and metalink"},
		{"dnf", args("name", "x", "baseurl", "x.example.com"), `"x.example.com" is no address, such as "https://rpm.example.com"`},
		{"dnf", args("name", "x", "baseurl", "https://x", "description", "a\n[b]"), `name = "a\n[b]" cannot be a setting of a repository`},
		{"dnf", args("name", "x", "baseurl", "https://x"), "there is no /etc/yum.repos.d, so this host has no dnf or yum; repo.add goes by the package manager that is there"},
		{"dnf", args("name", "x", "base_url", "https://x"), `unknown argument "base_url"; did you mean "baseurl"?`},
	} {
		h.Cycle(c.function, c.args, "", "", "repo."+c.function+": "+c.fail)
	}
}

func FuzzKey(f *testing.F) {
	for _, name := range []string{"key.asc", "key.gpg"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if k, err := parseKey(data); err == nil && len(k.ids) == 0 {
			t.Errorf("%q is a key without any", data)
		}
	})
}

func FuzzFiles(f *testing.F) {
	f.Add("deb [arch=amd64] https://x a b")
	f.Add("[a]\nb = c\n d\n[e]\n")
	f.Add("Types: deb\nURIs: x\n\nURIs: y\n")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := parseLine(text); err == nil {
			if again, err := parseLine(s.String()); err != nil || again.String() != s.String() {
				t.Errorf("%q: %q, %v", text, again, err)
			}
		}
		paragraphs("x", text)
		file := parseINI(text)
		file.put("new", []string{"a = b"})
		if s := parseINI(file.String()).section("new"); s == nil || s.settings()["a"] != "b" {
			t.Errorf("%q: %q", text, file)
		}
	})
}
