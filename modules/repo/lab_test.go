//go:build lab

package repo

import (
	"testing"

	"github.com/sloth-runner/sloth/modules/exec"
	"github.com/sloth-runner/sloth/modules/internal/standin"
	"github.com/sloth-runner/sloth/modules/pkg"
)

// A repository of a folder gives a package; one that is broken is undone.
func TestLab(t *testing.T) {
	standin.Shell(t, `rm -rf /srv/lab-repo; mkdir -p /srv/lab-repo/d/DEBIAN; cd /srv/lab-repo
printf 'Package: lab-mine\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: mine\n' > d/DEBIAN/control
dpkg-deb -b d lab-mine.deb >/dev/null; rm -r d; apt-ftparchive packages . > Packages; apt-ftparchive release . > Release`)
	defer standin.Shell(t, "apt-get -qq purge lab-mine; rm -rf /srv/lab-repo /etc/apt/sources.list.d/lab-* /etc/apt/keyrings/lab-*; apt-get update -qq")
	standin.Lab(t, `
local mine = { name = "lab-mine", uris = "file:/srv/lab-repo", suites = "./", options = { Trusted = "yes" } }
both(repo.apt, mine)
once(pkg.install("lab-mine"))
local found = false
for _, r in ipairs(repo.list()) do found = found or r.name == "lab-mine" and r.suites[1] == "./" end
assert(found)
raises("so it was undone", repo.apt, { name = "lab-broken", uris = "file:/srv/none", suites = "./" })
exec.run("test ! -e /etc/apt/sources.list.d/lab-broken.sources")
both(repo.remove, "lab-mine")
local line = "deb [trusted=yes] file:/srv/lab-repo ./"
both(repo.apt, { line = line, name = "lab-line" })
rest(repo.apt("deb  [trusted=yes]  file:/srv/lab-repo  ./"))
both(repo.apt, { line = line, state = "absent" })
`, Module(), pkg.Module(), exec.Module())
}
