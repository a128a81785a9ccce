//go:build lab

package npm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules/exec"
	"github.com/sloth-runner/sloth/modules/internal/standin"
)

// tarball is a package that the real npm takes.
func tarball(t *testing.T, name, version string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	text := []byte(`{"name": "` + name + `", "version": "` + version + `"}`)
	err := w.WriteHeader(&tar.Header{Name: "package/package.json", Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg})
	if err == nil {
		_, err = w.Write(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// registry serves lab-toy 1.0.0 and 1.5.0.
func registry(t *testing.T) *httptest.Server {
	t.Helper()
	files := map[string][]byte{}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if data, ok := files[r.URL.Path]; ok {
			_, _ = w.Write(data)
			return
		}
		if r.URL.Path != "/lab-toy" {
			http.Error(w, `{"error": "not found"}`, http.StatusNotFound)
			return
		}
		versions := map[string]any{}
		for path, data := range files {
			version := strings.TrimSuffix(strings.TrimPrefix(path, "/t/"), ".tgz")
			sum := sha1.Sum(data)
			versions[version] = map[string]any{"name": "lab-toy", "version": version, "dist": map[string]any{"tarball": server.URL + path, "shasum": hex.EncodeToString(sum[:])}}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"name": "lab-toy", "dist-tags": map[string]any{"latest": "1.5.0"}, "versions": versions})
	}))
	for _, version := range []string{"1.0.0", "1.5.0"} {
		files["/t/"+version+".tgz"] = tarball(t, "lab-toy", version)
	}
	t.Cleanup(server.Close)
	return server
}

// The real npm, with a registry of the test.
func TestRealNPM(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("npm_config_cache", t.TempDir())
	t.Setenv("npm_config_prefix", t.TempDir())
	standin.Real(t, `
local dir, registry = "`+dir+`", "`+registry(t).URL+`"
local function want(a) a.path, a.registry = not a.global and dir or nil, registry return a end
both(npm.install, want({ name = "lab-toy", version = "1.0.0" }))
rest(npm.install(want({ name = "lab-toy" }))) rest(npm.install(want({ name = "lab-toy", version = "~1.0" })))
both(npm.install, want({ name = "lab-toy", state = "latest" }))
assert(npm.list({ path = dir })[1].version == "1.5.0")
rest(npm.install(want({}))) rest(npm.install(want({ ci = true })))
exec.run("rm -r " .. dir .. "/node_modules")
both(npm.install, want({ ci = true, production = true }))
both(npm.remove, { name = "lab-toy", path = dir })
both(npm.install, want({ name = "lab-toy", global = true, version = "^1.0" }))
raises("E404", npm.install, want({ name = "lab-none" }))
`, Module(), exec.Module())
}
