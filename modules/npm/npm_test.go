package npm

import (
	"fmt"
	"testing"

	"github.com/sloth-runner/sloth/modules/internal/standin"
)

var args = standin.Args

const (
	app  = "/srv/app"
	opts = " --no-audit --no-fund --no-update-notifier"
)

func newHost(t *testing.T, files map[string]string) *standin.Host {
	t.Helper()
	all := map[string]string{"/srv/registry": "express 4.18.2\n@scope/x 1.0.0\n", app + "/": ""}
	for path, text := range files {
		all[path] = text
	}
	h := standin.New(t, Module(), all)
	h.Shared("npm")
	return h
}

func pkgJSON(name, version string) string {
	return fmt.Sprintf(`{"name": %q, "version": %q}`, name, version)
}

func TestOnePackage(t *testing.T) {
	h := newHost(t, nil)
	const w = "npm package express "
	h.Cycle("remove", args("name", "express", "path", app), "", "", "")
	h.Cycle("remove", args("name", "express", "path", "/none"), "", "", "")
	h.Cycle("install", args("name", "express", "path", app), w+"state: absent -> present", "npm install"+opts+" -- express", "")
	h.Cycle("install", args("name", "express", "path", app, "version", "^4.17"), "", "", "")
	h.Cycle("install", args("name", "express", "path", app, "version", "next"), "", "", "")
	h.Cycle("install", args("name", "express", "path", app, "version", "4.17.1", "production", true, "ignore_scripts", true, "registry", "https://r.example.com"), w+"version: 4.18.2 -> 4.17.1",
		"npm install"+opts+" --omit=dev --ignore-scripts --registry https://r.example.com -- express@4.17.1", "")
	h.Cycle("install", args("name", "@scope/x", "path", app), "npm package @scope/x state: absent -> present", "npm install"+opts+" -- @scope/x", "")
	got, _, err := h.Call("list", args("path", app))
	if err != nil || fmt.Sprint(got) != "[map[name:@scope/x version:1.0.0] map[name:express version:4.17.1]]" {
		t.Errorf("%v, %v", got, err)
	}
	h.Cycle("install", args("name", "express", "path", app, "state", "absent"), w+"state: 4.17.1 -> absent", "npm uninstall"+opts+" -- express", "")
	h.Cycle("install", args("name", "express", "global", true), w+"state: absent -> present", "npm install"+opts+" --global -- express", "")
	if got, _, err := h.Call("list", args("global", true)); err != nil || fmt.Sprint(got) != "[map[name:express version:4.18.2]]" {
		t.Errorf("%v, %v", got, err)
	}
	_, _, err = h.Call("install", args("name", "expres", "path", app))
	if err == nil || err.Error() != "npm.install: npm install: exit code 1: code E404; 404 Not Found - GET expres" {
		t.Errorf("%v", err)
	}
}

func TestLatest(t *testing.T) {
	h := newHost(t, map[string]string{app + "/node_modules/express/package.json": pkgJSON("express", "4.17.0")})
	h.Tool("npm", `case "$*" in "view --json express version") echo '"4.18.2"' ;; install*) echo '{"version": "4.18.2"}' > node_modules/express/package.json ;; *) exit 99 ;; esac`, "view")
	h.Cycle("install", args("name", "express", "path", app, "state", "latest"), "npm package express version: 4.17.0 -> 4.18.2", "npm install"+opts+" -- express@latest", "")
}

func TestProject(t *testing.T) {
	h := newHost(t, map[string]string{
		app + "/package.json":                      `{"dependencies": {"express": "^4.17", "gone": "file:../x"}, "devDependencies": {"jest": "29"}}`,
		app + "/node_modules/express/package.json": pkgJSON("express", "3.0.0"), app + "/node_modules/jest/package.json": pkgJSON("jest", "29.1.0"),
	})
	h.Plan()
	if _, said, err := h.Call("install", args("path", app)); err != nil || said != "npm package express version: 3.0.0 -> ^4.17; npm package gone state: absent -> file:../x" {
		t.Errorf("%q, %v", said, err)
	}
	h.Do()
	h.Put(app+"/package-lock.json", `{"lockfileVersion": 3, "packages": {
"": {"name": "app"},
"node_modules/express": {"version": "4.18.2"},
"node_modules/gone": {"version": "1.0.0"},
"node_modules/jest": {"version": "29.2.0", "dev": true},
"node_modules/mac": {"version": "1.0.0", "optional": true}
}}`)
	const two = "npm package express version: 3.0.0 -> 4.18.2; npm package gone state: absent -> 1.0.0"
	h.Plan()
	if _, said, err := h.Call("install", args("path", app, "production", true)); err != nil || said != two {
		t.Errorf("%q, %v", said, err)
	}
	h.Cycle("install", args("path", app, "ci", true), two+"; npm package jest version: 29.1.0 -> 29.2.0", "npm ci"+opts, "")
}

func TestBadInput(t *testing.T) {
	h := newHost(t, map[string]string{"/srv/bad/package.json": "{", "/srv/file": "", "/srv/nolock/package.json": "{}"})
	for _, c := range []struct {
		args map[string]any
		fail string
	}{
		{args("name", "express"), "path is missing: folder of the project; or say global = true"},
		{args("name", "express", "path", app, "global", true), "give one of path and global"},
		{args("path", app, "version", "1"), "name is missing: the package"},
		{args("name", "express@4", "path", app), `name = "express@4" says a version; write name = "express", version = "4"`},
		{args("name", "../x", "path", app), `name = "../x" is no name of a package, such as "express" or "@scope/name"`},
		{args("name", "--global", "path", app), `name = "--global" is no name of a package, such as "express" or "@scope/name"`},
		{args("name", "express", "path", app, "version", ">>1"), `version = ">>1" is neither a version, nor a range such as "^1.2", nor a tag such as "latest"`},
		{args("name", "express", "path", app, "ci", true), "ci installs what package-lock.json says, not a package of its own; leave out name or ci"},
		{args("name", "express", "path", app, "registry", "x"), `registry = "x" is no address such as "https://registry.example.com"`},
		{args("name", "express", "path", "/none"), `the folder /none does not exist; make it with file_ops.file({path = "/none", state = "directory"})`},
		{args("name", "express", "path", "/srv/file"), "/srv/file is no folder"},
		{args("path", app), "open " + app + "/package.json: no such file or directory"},
		{args("path", "/srv/bad"), "/srv/bad/package.json: unexpected end of JSON input"},
		{args("path", "/srv/nolock", "ci", true), "/srv/nolock/package-lock.json is missing or of an npm before 7, and ci = true installs what it says; leave ci out once"},
		{args("name", "x", "path", app, "verson", "1"), `unknown argument "verson"; did you mean "version"?`},
	} {
		h.Cycle("install", c.args, "", "", "npm.install: "+c.fail)
	}
}

func TestSemver(t *testing.T) {
	for _, c := range []struct {
		have, want string
		fits       bool
	}{
		{"1.2.3", "1.2.3", true}, {"1.2.3", "=1.2.3", true}, {"1.2.3", "^1.2", true}, {"2.0.0", "^1.2", false}, {"0.2.5", "^0.2.3", true}, {"0.3.0", "^0.2.3", false},
		{"0.0.4", "^0.0.3", false}, {"1.2.9", "~1.2.3", true}, {"1.3.0", "~1.2.3", false}, {"1.9.0", "~1", true}, {"1.2.3", "1.x", true}, {"2.0.0", "1.*", false}, {"1.2.3", "1.2", true},
		{"1.3.0", "1.2", false}, {"1.2.3", "*", true}, {"1.2.3", "", true}, {"1.2.3", ">=1.0.0 <2", true}, {"1.2.3", ">= 1.3 || 1.2.x", true}, {"2.3.0", "1.2 - 2.3", true}, {"2.4.0", "1.2 - 2.3", false},
		{"1.3.0", ">1.2", true}, {"1.2.9", ">1.2", false}, {"1.2.9", "<=1.2", true}, {"2.0.0-rc.1", "^1.2", false}, {"1.3.0-rc.1", "^1.2", false}, {"1.2.3-rc.2", "^1.2.3-rc.1", true},
		{"2.0.0-rc.1", "<2.0.0", false}, {"1.2.3-rc.10", ">1.2.3-rc.9", true}, {"weird", "*", false},
	} {
		if got, err := satisfies(c.have, c.want); err != nil || got != c.fits {
			t.Errorf("%s %s: %t, %v", c.have, c.want, got, err)
		}
	}
}

func FuzzSemver(f *testing.F) {
	f.Add("1.2.3-rc.1", "^1.2 || >=3.0.0-a.1 <4")
	f.Fuzz(func(t *testing.T, have, want string) {
		if v, ok := parseVersion(have); ok && v.compare(v) != 0 {
			t.Errorf("%q is not itself", have)
		}
		_, _ = satisfies(have, want)
	})
}
