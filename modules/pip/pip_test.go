package pip

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules/internal/standin"
)

var args = standin.Args

const (
	venv  = "/srv/app/venv"
	pipIn = "pip install --disable-pip-version-check --no-input "
)

// meta puts an installed package into an environment.
func meta(name, version string) (path, text string) {
	return venv + "/lib/python3.11/site-packages/" + name + "-" + version + ".dist-info/METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n\nVersion: 0\n"
}

func newHost(t *testing.T, made bool) *standin.Host {
	t.Helper()
	files := map[string]string{"/srv/index": "flask 3.0\nZope.Interface 6.1\n", "/srv/app/": ""}
	if made {
		files[venv+"/bin/pip"] = ""
		path, text := meta("Django", "4.2.7")
		files[path] = text
	}
	h := standin.New(t, Module(), files)
	h.Shared("pip", "python3")
	return h
}

func TestVirtualenv(t *testing.T) {
	h := newHost(t, false)
	in := func(kv ...any) map[string]any {
		a := args(kv...)
		a["virtualenv"] = venv
		return a
	}
	h.Cycle("remove", in("name", "flask"), "", "", "")
	h.Cycle("install", in("name", "flask"), venv+" state: absent -> virtual environment; pip package flask state: absent -> present",
		"python3 -m venv "+venv+"; "+pipIn+"-- flask", "")
	h.Cycle("install", in("name", []any{"Flask", "gunicorn==21.2"}, "extra_args", "--index-url 'https://x'"), "pip package gunicorn state: absent -> 21.2", pipIn+"--index-url https://x -- gunicorn==21.2", "")
	h.Cycle("install", in("name", "gunicorn", "version", "20.1"), "pip package gunicorn version: 21.2 -> 20.1", pipIn+"-- gunicorn==20.1", "")
	h.Cycle("install", in("name", "gunicorn", "version", ">=20,<21"), "", "", "")
	_, _, err := h.Call("install", in("name", "zope_interface[test]"))
	if err == nil || err.Error() != "pip.install: "+venv+"/bin/pip install: exit code 1: No matching distribution found for zope_interface[test]" {
		t.Errorf("%v", err)
	}
	h.Cycle("install", in("name", []any{"flask==3.0", "gunicorn"}, "state", "absent"), "pip package flask state: 3.0 -> absent; pip package gunicorn state: 20.1 -> absent",
		"pip uninstall --disable-pip-version-check --yes -- flask gunicorn", "")
	h.Put("/srv/req.txt", "# us\n-i https://x\nflask==3.0 ; python_version >= '3.8'\nold==1 ; python_version < \"3\"\nwin==1; sys_platform == 'win32'\n-r more.txt\n")
	h.Put("/srv/more.txt", "gunicorn == 21.2 \\\n  --hash=sha256:abc\n")
	h.Tool("pip", "exit 99")
	if _, _, err := h.Call("install", in("requirements", "/srv/none.txt")); err == nil || err.Error() != "pip.install: open /srv/none.txt: no such file or directory" {
		t.Errorf("%v", err)
	}
	h.Plan()
	if _, said, err := h.Call("install", in("requirements", "/srv/req.txt")); err != nil || said != "pip package flask state: absent -> 3.0; pip package gunicorn state: absent -> 21.2" {
		t.Errorf("%q, %v", said, err)
	}
	got, _, err := h.Call("list", in())
	if err != nil || len(got.([]any)) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRelativeEnvironmentAndRequirements(t *testing.T) {
	h := newHost(t, true)
	h.Put("/srv/app/req.txt", "flask==3.0\n")
	h.Cycle("install", args("requirements", "req.txt", "virtualenv", "venv", "chdir", "/srv/app"), "pip package flask state: absent -> 3.0", pipIn+"-r /srv/app/req.txt", "")
	h.Cycle("install", args("virtualenv", "new", "chdir", "/srv/app", "virtualenv_site_packages", true, "virtualenv_command", "python3 -m venv"),
		"/srv/app/new state: absent -> virtual environment", "python3 -m venv --system-site-packages /srv/app/new", "")
}

func TestSystem(t *testing.T) {
	h := standin.New(t, Module(), map[string]string{"/list": `[{"name": "Django", "version": "4.2.7"}]`})
	h.Tool("pip3", `case "$*" in
"list --format json --disable-pip-version-check") cat "$ROOT/list" ;;
"list --outdated --format json --disable-pip-version-check") echo '[{"name": "Django", "version": "4.2.7", "latest_version": "5.0"}]' | sed "$(grep -q 5.0 "$ROOT/list" && echo 's/{.*}//')" ;;
"install --disable-pip-version-check --no-input --break-system-packages --upgrade -- django") echo '[{"name": "Django", "version": "5.0"}]' > "$ROOT/list" ;;
install*) printf 'error: externally-managed-environment\n\nhint: See PEP 668\n' >&2; exit 1 ;;
*) exit 99 ;;
esac`, "list")
	h.Cycle("install", args("name", "django>=4,<5"), "", "", "")
	h.Cycle("install", args("name", "django", "state", "latest", "break_system_packages", true), "pip package django version: 4.2.7 -> 5.0", "pip3 install --disable-pip-version-check --no-input --break-system-packages --upgrade -- django", "")
	_, _, err := h.Call("install", args("name", "flask"))
	if err == nil || err.Error() != "pip.install: pip3 install: this Python belongs to the package manager of the host; say virtualenv, install the package with pkg.install, or say break_system_packages = true" {
		t.Errorf("%v", err)
	}
	h.Cycle("install", args("name", "flask", "executable", "pip3.11"), "", "", `pip.install: there is no pip3.11 on this host; pkg.install("python3-pip") brings it, or say virtualenv`)
	got, _, err := h.Call("list", nil)
	if err != nil || fmt.Sprint(got) != "[map[name:django version:5.0]]" {
		t.Errorf("%v, %v", got, err)
	}
}

// What a plan installs is there for the rest of it.
func TestPlanGoesOn(t *testing.T) {
	h := newHost(t, true)
	h.Plan()
	for _, c := range []struct {
		function string
		name     string
		said     string
	}{
		{"install", "flask==3.0", "pip package flask state: absent -> 3.0"}, {"install", "flask", ""}, {"install", "flask>=2", ""},
		{"install", "flask==3.1", "pip package flask version: 3.0 -> 3.1"}, {"remove", "flask", "pip package flask state: present -> absent"}, {"remove", "flask", ""},
		{"install", "django", ""}, {"remove", "django", "pip package django state: 4.2.7 -> absent"}, {"install", "django", "pip package django state: absent -> present"},
	} {
		if _, said, err := h.Call(c.function, args("name", c.name, "virtualenv", venv)); err != nil || said != c.said {
			t.Errorf("%s %s: %q, %v", c.function, c.name, said, err)
		}
	}
	if h.Calls() != "" {
		t.Error("the plan ran something")
	}
}

func TestBadInput(t *testing.T) {
	h := newHost(t, true)
	h.Put("/srv/bad.txt", "flask\n\nfl@sk==1\n")
	h.Put("/srv/loop.txt", "-r loop.txt\n")
	for _, c := range []struct {
		args map[string]any
		fail string
	}{
		{args(), "name is missing: the packages; requirements names a file of them"},
		{args("name", "--help"), `"--help" is no package`},
		{args("name", "a b"), `"a b" is no package; write "django", "django==4.2" or "django>=4,<5"`},
		{args("name", "flask=1"), `"=1" is no wish for a version; write "==1.2", ">=4,<5" or "~=1.4"`},
		{args("name", "flask", "version", "one"), `"==one" is no wish for a version; write "==1.2", ">=4,<5" or "~=1.4"`},
		{args("name", []any{"a", "b"}, "version", "1"), `version is for one package; several are written "django==4.2"`},
		{args("name", "a==1", "version", "1"), `"a==1" says a version itself; leave out version`},
		{args("name", "a", "version", "1", "state", "latest"), `give one of version and state = "latest"`},
		{args("name", "git+https://x/y"), `"git+https://x/y" does not say its name; write "NAME @ git+https://x/y", so that it can be looked for`},
		{args("name", "a", "requirements", "b"), "give one of name and requirements"},
		{args("name", "a", "executable", "pip"), "give one of virtualenv and executable: an environment has a pip of its own"},
		{args("name", "a", "break_system_packages", true), "break_system_packages is for the system's own Python, not for an environment"},
		{args("requirements", "/srv/bad.txt"), `/srv/bad.txt, line 3: "fl@sk==1" is no package; write "django", "django==4.2" or "django>=4,<5"`},
		{args("requirements", "/srv/loop.txt"), "/srv/loop.txt: files of requirements include each other too deeply"},
		{args("name", "a", "extra_args", "'x"), "extra_args: a quote is not closed"},
		{args("name", "a", "state", "newest"), `state = "newest": it must be one of present, latest, absent; did you mean "latest"?`},
	} {
		if len(c.args) > 0 {
			c.args["virtualenv"] = venv
		}
		h.Cycle("install", c.args, "", "", "pip.install: "+c.fail)
	}
}

func TestVersions(t *testing.T) {
	order := []string{"0.9", "1.0.dev1", "1.0a1.dev1", "1.0a1", "1.0b2", "1.0rc1", "1.0", "1.0.post1.dev1", "1.0.post1", "1.0.1", "1.10", "1!0.1"}
	for i, a := range order {
		for j, b := range order {
			x, err := parseVersion(a)
			y, err2 := parseVersion(b)
			if got := x.compare(y); err != nil || err2 != nil || (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s and %s: %d, %v, %v", a, b, got, err, err2)
			}
		}
	}
	for _, c := range []struct {
		have, wish string
		fits       bool
	}{
		{"1.0", "==1", true}, {"1.0.0", "==1.0", true}, {"v1.0-ALPHA.1", "==1.0a1", true}, {"1.2.3", "==1.2.*", true}, {"1.20", "==1.2.*", false}, {"1", "==1.0.*", true},
		{"1.0+local", "==1.0", true}, {"1.0", "==1.0+local", false}, {"1.0", "!=1.0", false}, {"1.1", "!=1.0.*", true}, {"4.2.7", ">=4,<5", true}, {"5.0a1", "<5", false},
		{"5.0a1", "<5.0b1", true}, {"1.0.post1", ">1.0", false}, {"1.0.1", ">1.0", true}, {"1.4.9", "~=1.4.2", true}, {"1.5", "~=1.4.2", false}, {"1.9", "~=1.4", true},
		{"2.0", "~=1.4", false}, {"weird", "===weird", true}, {"weird", ">=1", false}, {"3.0", "", true},
	} {
		if got, err := satisfies(c.have, c.wish); err != nil || got != c.fits {
			t.Errorf("%s %s: %t, %v", c.have, c.wish, got, err)
		}
	}
}

func FuzzWishes(f *testing.F) {
	f.Add("django[bcrypt]>=4,<5 ; python_version < '3'", "4.2")
	f.Add("x @ git+https://y#egg=z", "1!2.0rc1.post2.dev3+l.1")
	f.Fuzz(func(t *testing.T, text, have string) {
		w, err := parseWish(text)
		if err == nil && (w.name == "" || strings.HasPrefix(w.text, "-")) {
			t.Errorf("%q: %+v", text, w)
		}
		if err == nil {
			if _, err := satisfies(have, w.version); err != nil {
				t.Errorf("%q, %q: %v", text, have, err)
			}
			w.applies("3.11")
		}
		if v, err := parseVersion(have); err == nil && v.compare(v) != 0 {
			t.Errorf("%q is not itself", have)
		}
	})
}
