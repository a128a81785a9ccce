//go:build lab

// The package managers that Debian has beside its own, with tiny repositories of
// their own. The host needs the packages dnf, rpm, createrepo-c, zypper and
// pacman-package-manager.

package all_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			if os.Getenv("SLOTH_MUST_RUN") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func sh(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("/bin/sh", "-ec", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// rpms makes lab-rpm 1.0 and 1.1, and lab-anchor, which keeps zypper from having
// nothing left.
func rpms(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	// Debian's rpm looks for its database in the home folder.
	put(t, "/etc/rpm/macros.dbpath", "%_dbpath /var/lib/rpm\n")
	for _, p := range [][2]string{{"lab-rpm", "1.0"}, {"lab-rpm", "1.1"}, {"lab-anchor", "1.0"}} {
		file := filepath.Join(dir, p[0]+p[1]+".spec")
		put(t, file, fmt.Sprintf("Name: %[1]s\nVersion: %[2]s\nRelease: 1\nSummary: A curious toy\nLicense: none\nBuildArch: noarch\n%%description\nNothing\n"+
			"%%install\nmkdir -p %%{buildroot}/usr/share/%[1]s\necho %[2]s > %%{buildroot}/usr/share/%[1]s/version\n%%files\n/usr/share/%[1]s/version\n", p[0], p[1]))
		sh(t, fmt.Sprintf("rpmbuild -bb --define '_rpmdir %s/repo' --define '_topdir %s/top' %s", dir, dir, file))
	}
	sh(t, "createrepo_c -q "+dir+"/repo && rpm --initdb")
	return filepath.Join(dir, "repo")
}

// whatAllDo is what every manager does with its toy in two versions.
const whatAllDo = `
assert(pkg.get_manager() == manager)
pkg.update()
assert(not pkg.is_installed(toy))
once(pkg.install(toy)) rest(pkg.install(toy)) rest(pkg.install({ name = toy, version = "latest" }))
infra_test.package_version(toy, "1.1")
assert(pkg.which("/usr/share/" .. toy .. "/version") == toy)
assert(pkg.info(toy).candidate == "1.1-1")
assert(pkg.search("curious")[1].description == "A curious toy")
raises('no package is called "no-such-package" in the lists of ' .. manager, pkg.install, { toy, "no-such-package" })
rest(pkg.update({ cache_age = "1h" }))
once(pkg.remove(toy)) rest(pkg.remove(toy))
once(pkg.install_local(old)) rest(pkg.install_local(old))
infra_test.package_version(toy, "1.0")
once(pkg.upgrade()) rest(pkg.upgrade())
infra_test.package_version(toy, "1.1")
once(pkg.remove(toy))
once(pkg({ name = toy, state = "latest" }))
`

const pins = `
once(pkg.install({ name = toy, version = "1.0" })) rest(pkg.install({ name = toy, version = "1.0" })) infra_test.package_version(toy, "1.0")
once(pkg.upgrade(toy)) rest(pkg.upgrade(toy))
once(pkg.remove(toy)) once(pkg.install(toy .. "=1.0-1")) infra_test.package_version(toy, "1.0-1") once(pkg.remove(toy))
`

func TestLabDnf(t *testing.T) {
	needTools(t, "dnf", "rpm", "rpmbuild", "createrepo_c")
	repo := rpms(t)
	put(t, "/etc/yum.repos.d/lab.repo", "[lab]\nname=lab\nbaseurl=file://"+repo+"\ngpgcheck=0\n")
	defer os.Remove("/etc/yum.repos.d/lab.repo")
	sh(t, "for p in lab-rpm lab-anchor; do rpm -e --nodeps $p >/dev/null 2>&1 || :; done; dnf -q clean all")
	labRun(t, `manager, toy, old = "dnf", "lab-rpm", "`+repo+`/noarch/lab-rpm-1.0-1.noarch.rpm"`+whatAllDo+pins, "apt-get")
	logged := labRun(t, `
exec.run("dnf -qy remove lab-rpm")
exec.run("setsid sh -c 'echo -n $$ > /var/cache/dnf/metadata_lock.pid; exec sleep 6' >/dev/null 2>&1 &")
wait_for({ command = "test -s /var/cache/dnf/metadata_lock.pid" })
once(pkg.install("lab-rpm"))`, "apt-get")
	if !strings.Contains(logged, "waiting up to 5m0s for another package manager to finish: metadata already locked by ") {
		t.Errorf("it said %q", logged)
	}
}

func TestLabZypper(t *testing.T) {
	needTools(t, "zypper", "rpm", "rpmbuild", "createrepo_c")
	repo := rpms(t)
	sh(t, "for p in lab-rpm lab-anchor; do rpm -e --nodeps $p >/dev/null 2>&1 || :; done; rpm -i "+repo+"/noarch/lab-anchor-1.0-1.noarch.rpm")
	sh(t, "zypper --non-interactive removerepo lab >/dev/null 2>&1 || :; zypper --non-interactive addrepo --no-gpgcheck dir://"+repo+" lab")
	defer sh(t, "zypper --non-interactive removerepo lab")
	labRun(t, `manager, toy, old = "zypper", "lab-rpm", "`+repo+`/noarch/lab-rpm-1.0-1.noarch.rpm"`+whatAllDo+pins+`
once(pkg.hold(toy)) rest(pkg.hold(toy)) once(pkg.unhold(toy)) rest(pkg.unhold(toy))
`, "apt-get", "dnf")
}

func tarball(t *testing.T, file string, content [][2]string) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, c := range content {
		if err := w.WriteHeader(&tar.Header{Name: c[0], Mode: 0o644, Size: int64(len(c[1])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(c[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, file, b.String())
}

func TestLabPacman(t *testing.T) {
	needTools(t, "pacman")
	dir := t.TempDir()
	var db [][2]string
	for _, version := range []string{"1.0-1", "1.1-1"} {
		file := "lab-pac-" + version + "-any.pkg.tar.gz"
		tarball(t, filepath.Join(dir, file), [][2]string{
			{".PKGINFO", "pkgname = lab-pac\npkgbase = lab-pac\npkgver = " + version + "\npkgdesc = A curious toy\narch = any\nsize = 4\n"},
			{"usr/share/lab-pac/version", version + "\n"},
		})
		st, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		db = [][2]string{{"lab-pac-" + version + "/desc", fmt.Sprintf("%%FILENAME%%\n%s\n\n%%NAME%%\nlab-pac\n\n%%VERSION%%\n%s\n\n%%DESC%%\nA curious toy\n\n%%CSIZE%%\n%d\n\n%%ISIZE%%\n4\n\n%%ARCH%%\nany\n\n", file, version, st.Size())}}
	}
	tarball(t, filepath.Join(dir, "lab.db"), db)
	put(t, "/etc/pacman.conf", "[options]\nArchitecture = auto\nSigLevel = Never\nLocalFileSigLevel = Never\n[lab]\nServer = file://"+dir+"\n")
	sh(t, "rm -f /var/lib/pacman/sync/*; pacman --noconfirm -R lab-pac >/dev/null 2>&1 || :")
	labRun(t, `manager, toy, old = "pacman", "lab-pac", "`+dir+`/lab-pac-1.0-1-any.pkg.tar.gz"`+whatAllDo+`
raises("pacman has only the newest version of a package, which of lab-pac is 1.1-1 and not 1.0", pkg.install, { name = toy, version = "1.0" })
raises("pacman holds packages with IgnorePkg in /etc/pacman.conf", pkg.hold, toy)
once(pkg.remove(toy))
fs.write("/var/lib/pacman/db.lck", "")
raises("another package manager did not finish within 1s: ", pkg.install, { name = toy, lock_timeout = "1s" })
fs.rm("/var/lib/pacman/db.lck")
`, "apt-get", "dnf", "zypper")
}
