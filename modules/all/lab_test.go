//go:build lab

// These tests install packages, make users and write units. They are meant for
// a Debian host with systemd that can be thrown away, as root:
//
//	go test -c -tags lab -o lab.test ./modules/all && scp lab.test HOST: && ssh HOST ./lab.test -test.run Lab

package all_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/machine"
)

// labRun runs Lua against the real host. once(r) and rest(r) assert that a call
// changed something, or that it did not. Programs in hide are as if they were not
// there. It returns what was logged.
func labRun(t *testing.T, source string, hide ...string) string {
	t.Helper()
	if st, err := os.Stat("/run/systemd/system"); os.Geteuid() != 0 || err != nil || !st.IsDir() {
		t.Fatal("the tag lab is for root on a host that systemd runs")
	}
	m := without{machine.New(), hide}
	vm := engine.New(engine.Options{})
	defer vm.Close()
	bind.Install(vm, all.Modules())
	chunk, err := vm.Load("lab.sloth", []byte(`
function once(r) assert(r.changed, "nothing changed: " .. r.message) end
function rest(r) assert(not r.changed, "changed: " .. r.message) end
function raises(part, fn, ...)
    local ok, why = pcall(fn, ...)
    assert(not ok and string.find(tostring(why), part, 1, true), tostring(why) .. " does not say " .. part)
end
`+source))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var logged strings.Builder
	env := &bind.Env{Call: modules.Call{Machine: m, Host: "local", Log: func(level, message string, _ map[string]any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(&logged, "%s: %s\n", level, message)
	}}}
	if _, err := vm.Run(bind.WithEnv(ctx, env), chunk); err != nil {
		t.Error(err)
	}
	return logged.String()
}

// without is a host that lacks some programs.
type without struct {
	modules.Machine
	names []string
}

func (w without) LookPath(name string) (string, error) {
	if slices.Contains(w.names, name) {
		return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
	}
	return w.Machine.LookPath(name)
}

func TestLabPackages(t *testing.T) {
	labRun(t, `
pkg.remove({ "lab-toy", purge = true })
once(pkg.install("lab-toy=1.0")) rest(pkg.install("lab-toy"))
infra_test.package_version("lab-toy", "1.0")
infra_test.service_is_running("lab-toy") infra_test.service_is_enabled("lab-toy")
once(pkg.install({ name = "lab-toy", version = "latest" })) rest(pkg.install({ name = "lab-toy", version = "latest" }))
once(pkg.install({ name = "lab-toy", version = "1.0" }))
once(pkg.upgrade("lab-toy")) rest(pkg.upgrade("lab-toy"))
assert(pkg.which("/usr/bin/lab-toy") == "lab-toy")
raises("Version '9' for 'lab-toy' was not found", pkg.install, { name = "lab-toy", version = "9" })
raises("no package is called", pkg.install, "no-such-package-here")
once(pkg.remove("lab-toy")) rest(pkg.remove("lab-toy"))
raises("it is not", infra_test.package_is_installed, "lab-toy")
once(pkg.update()) rest(pkg.update({ cache_age = "1h" }))

once(pkg.install({ "lab-toy=1.0", "tree" }))
once(pkg.hold("lab-toy")) rest(pkg.hold("lab-toy"))
rest(pkg.upgrade())
raises("Held packages were changed", pkg.install, { name = "lab-toy", version = "latest" })
once(pkg.unhold("lab-toy")) rest(pkg.unhold("lab-toy"))
once(pkg.upgrade("lab-toy"))
once(pkg.remove({ "lab-toy", "tree" })) rest(pkg.remove({ "lab-toy", "tree" }))
exec.run("cd /tmp && apt-get download lab-toy=1.0 && mv lab-toy_1.0*.deb /tmp/lab-toy.deb")
once(pkg.install_local("/tmp/lab-toy.deb")) rest(pkg.install_local("/tmp/lab-toy.deb"))
infra_test.package_version("lab-toy", "1.0")
once(pkg({ name = "lab-toy", state = "absent" })) rest(pkg({ name = "lab-toy", state = "absent" }))
`)
}

// dpkg's locks are held for a while: installing waits, says so, and gives up in
// the end.
func TestFault50HeldLock(t *testing.T) {
	const hold = `
exec.run([[setsid python3 -c '
import fcntl, os, time
f = open("/var/lib/dpkg/lock-frontend", "w"); fcntl.lockf(f, fcntl.LOCK_EX); open("/run/lab-held", "w"); time.sleep(SECONDS); os.remove("/run/lab-held")
' >/dev/null 2>&1 &]])
wait_for({ path = "/run/lab-held", timeout = "10s" })
`
	logged := labRun(t, `pkg.remove("lab-toy")`+strings.ReplaceAll(hold, "SECONDS", "5")+`once(pkg.install("lab-toy"))`)
	if want := "warn: waiting up to 5m0s for another package manager to finish: "; !strings.Contains(logged, want) || !strings.Contains(logged, "It is held by process ") {
		t.Errorf("it said %q", logged)
	}
	labRun(t, strings.ReplaceAll(hold, "SECONDS", "8")+`
raises("another package manager did not finish within 2s: ", pkg.remove, { name = "lab-toy", lock_timeout = "2s" })
infra_test.package_is_installed("lab-toy")
wait_for({ path = "/run/lab-held", state = "absent", timeout = "20s" })
once(pkg.remove("lab-toy"))`)
}

func TestLabServices(t *testing.T) {
	labRun(t, `
pkg.install("cron")
local app = { exec_start = "/usr/bin/sleep 12345", enabled = true, started = true }
once(systemd.create_service("lab-app", app)) rest(systemd.create_service("lab-app", app))
infra_test.service_is_running("lab-app") infra_test.process_count("sleep 12345", 1)
app.exec_start = "/usr/bin/sleep 12346"
once(systemd.create_service("lab-app", app)) infra_test.process_count("sleep 12346", 1)
once(systemd.stop("lab-app")) rest(systemd.stop("lab-app"))
once(systemd.start("lab-app")) rest(systemd.start("lab-app"))
once(systemd.disable("lab-app")) rest(systemd.disable("lab-app"))
once(systemd.enable("lab-app")) rest(systemd.enable("lab-app"))
once(systemd.restart("lab-app")) once(systemd.restart("lab-app"))
once(systemd.remove_service("lab-app")) rest(systemd.remove_service("lab-app"))
assert(not systemd.status("lab-app").exists)
systemd.create_service("lab-bad", { exec_start = "/bin/sh -c 'echo dying words; exit 3'", restart = "no" })
raises("systemctl start lab-bad.service: it started and ended at once (failed, exit-code)\nthe end of its journal:\n", systemd.start, "lab-bad")
raises("dying words", systemd.start, "lab-bad")

systemd.remove_service("lab-bad")
once(service({ name = "cron", state = "stopped", masked = true })) rest(service({ name = "cron", state = "stopped", masked = true }))
raises("is masked, so that nobody can start it", systemd.start, "cron")
once(service({ name = "cron", state = "started", enabled = true, masked = false })) rest(service({ name = "cron", state = "started", enabled = true, masked = false }))
once(service({ name = "cron", state = "restarted" })) once(service({ name = "cron", state = "restarted" }))
infra_test.service_is_running("sshd") infra_test.service_is_enabled("sshd") infra_test.port_is_tcp(22)
infra_test.ping("127.0.0.1")
`)
}

func TestLabUsers(t *testing.T) {
	labRun(t, `
user.delete({ name = "lab-bob", remove_home = true }) user.group_delete("lab-ops")
once(user.group_create("lab-ops", 4711)) rest(user.group_create("lab-ops", 4711))
local bob = { name = "lab-bob", groups = { "lab-ops" }, shell = "/bin/sh", comment = "Bob", password = "$6$abc$def" }
once(user.create(bob)) rest(user.create(bob))
infra_test.is_directory("/home/lab-bob") infra_test.file_owner("/home/lab-bob", "lab-bob")
once(user.add_to_group("lab-bob", "users")) rest(user.add_to_group("lab-bob", "users"))
once(user.modify("lab-bob", { groups = { "users" }, append = false }))
assert(table.concat(user.get_groups("lab-bob"), " ") == "lab-bob users")
once(user.remove_from_group("lab-bob", "users")) rest(user.remove_from_group("lab-bob", "users"))
once(user.lock("lab-bob")) rest(user.lock("lab-bob")) assert(user.is_locked("lab-bob"))
once(user.unlock("lab-bob")) rest(user.unlock("lab-bob"))
once(user.set_home("lab-bob", "/home/lab-bobby", true)) infra_test.is_directory("/home/lab-bobby")
once(user.set_expiry("lab-bob", "2030-12-31")) rest(user.set_expiry("lab-bob", "2030-12-31"))
infra_test.command_stdout_contains("LC_ALL=C chage -l lab-bob", "Dec 31, 2030")
once(user.set_expiry("lab-bob", "never")) rest(user.set_expiry("lab-bob", "never"))
once(user.set_password("lab-bob", "$6$abc$other")) rest(user.set_password("lab-bob", "$6$abc$other"))
-- One in the clear goes through chpasswd, and what it makes of it fits.
once(user.set_password("lab-bob", "hunter2"))
infra_test.command_succeeds([[python3 -W ignore -c 'import crypt, spwd; h = spwd.getspnam("lab-bob").sp_pwdp; assert crypt.crypt("hunter2", h) == h']])
rest(user.create({ name = "lab-bob", password = "hunter3" })) -- nobody can tell from a hash
once(user.create({ name = "lab-bob", password = "hunter3", update_password = "always" }))
once(user.expire_password("lab-bob")) rest(user.expire_password("lab-bob"))
infra_test.command_stdout_contains("LC_ALL=C chage -l lab-bob", "password must be changed")
assert(user.run_as("lab-bob", "id -un; echo $HOME", { workdir = "/" }).stdout == "lab-bob\n/home/lab-bobby\n")
assert(user.get_last_login("lab-bob") == nil)
exec.run("lastlog -S -u lab-bob")
assert(math.abs(user.get_last_login("lab-bob").time - os.time()) < 60)
exec.run("setsid setpriv --reuid lab-bob --clear-groups sleep 12399 >/dev/null 2>&1 &")
wait_for({ command = "pgrep -u lab-bob" })
raises('user "lab-bob" is logged in: it runs sleep (pid ', user.delete, "lab-bob")
assert(user.exists("lab-bob"))
exec.run("pkill -u lab-bob") wait_for({ command = "! pgrep -u lab-bob" })
once(user.delete({ name = "lab-bob", remove_home = true })) rest(user.delete("lab-bob"))
fs.mkdir("/tmp/lab-skel") fs.write("/tmp/lab-skel/hint", "hello")
once(user.create({ name = "lab-skel", skeleton = "/tmp/lab-skel", home = "/srv/lab-skel", uid = 4712, group = "users" }))
infra_test.file_contains("/srv/lab-skel/hint", "hello") infra_test.file_owner("/srv/lab-skel/hint", "lab-skel")
assert(user.get_uid("lab-skel") == 4712 and user.get_info("lab-skel").group == "users")
once(user.delete({ name = "lab-skel", remove_home = true })) fs.rmr("/tmp/lab-skel")
once(user.create({ name = "lab-sys", system = true, create_home = false })) assert(user.is_system_user("lab-sys"))
once(user({ name = "lab-sys", state = "absent" })) rest(user({ name = "lab-sys", state = "absent" }))
once(user.group_delete("lab-ops")) rest(user.group_delete("lab-ops"))
`)
}
