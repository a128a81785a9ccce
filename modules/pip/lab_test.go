//go:build lab

package pip

import (
	"archive/zip"
	"os"
	"path/filepath"
	"testing"

	"github.com/sloth-runner/sloth/modules/internal/standin"
)

// wheel writes a package that the real pip takes.
func wheel(t *testing.T, dir, name, version string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name+"-"+version+"-py3-none-any.whl"))
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	info := name + "-" + version + ".dist-info/"
	for _, file := range [][2]string{
		{name + ".py", "version = '" + version + "'\n"},
		{info + "METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", name + ".py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n"},
	} {
		w, err := z.Create(file[0])
		if err == nil {
			_, err = w.Write([]byte(file[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// The real pip, with packages of a folder. It needs python3-venv.
func TestRealPIP(t *testing.T) {
	dir := t.TempDir()
	wheel(t, dir, "lab_toy", "1.0")
	wheel(t, dir, "lab_toy", "1.5")
	wheel(t, dir, "lab_other", "2.0rc1")
	standin.Shell(t, "printf 'lab-toy>=1.2  # us\\nlab_other==2.0rc1 ; python_version >= \"3\"\\n' > "+dir+"/req.txt")
	standin.Real(t, `
local dir = "`+dir+`"
local function want(a)
    a.virtualenv, a.chdir, a.extra_args = a.virtualenv or "venv", dir, "--no-index --find-links '" .. dir .. "'"
    return a
end
both(pip.install, want({ name = "lab-toy", version = "1.0" }))
rest(pip.install(want({ name = "Lab.Toy" }))) rest(pip.install(want({ name = "lab_toy<1.2" })))
both(pip.install, want({ requirements = "req.txt" }))
local found = {}
for _, p in ipairs(pip.list({ virtualenv = dir .. "/venv" })) do found[p.name] = p.version end
assert(found["lab-toy"] == "1.5" and found["lab-other"] == "2.0rc1")
both(pip.install, want({ name = "lab-toy==1.0" })) both(pip.install, want({ name = "lab-toy", state = "latest" }))
both(pip.remove, { name = "lab_other", virtualenv = dir .. "/venv" })
raises("No matching distribution found for lab-none", pip.install, want({ name = "lab-none" }))
`, Module())
}
