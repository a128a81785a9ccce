package shim_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/shim/shimtest"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/vmihailenco/msgpack/v5"
)

// host is a server and a connection to it.
type host struct {
	*sshdtest.Server
	t    *testing.T
	conn connection.Conn
	opt  shim.Options
	sent atomic.Int64 // bytes of shim that were uploaded
}

func start(t *testing.T, o sshdtest.Options) *host {
	t.Helper()
	s := sshdtest.Start(t, o)
	h := &host{Server: s, t: t, opt: shim.Options{Host: s.Name, RunID: "test", Binaries: shimtest.Binaries(t)}}
	h.opt.Progress = func(done, _ int64) { h.sent.Store(done) }
	h.conn = h.dial()
	return h
}

func (h *host) dial() connection.Conn {
	h.t.Helper()
	d := ssh.NewDialer(ssh.Config{ConfigFile: "none"})
	c, err := d.Dial(h.t.Context(), h.Target())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close(); d.Close() })
	return c
}

// cached is where the shim lies in the login's home.
func (h *host) cached() string {
	_, hash, err := h.opt.Binaries.For(runtime.GOOS, runtime.GOARCH)
	if err != nil {
		h.t.Fatal(err)
	}
	return filepath.Join(h.Home, ".cache", "sloth", "shim-"+hash)
}

// mute is a handler for jobs that say nothing.
type mute struct{}

func (mute) Event(string, []byte) {}
func (mute) Call(context.Context, string, []byte) ([]byte, error) {
	return nil, errors.New("no calls")
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// facts runs one job in a session of its own.
func (h *host) facts() (map[string]any, error) {
	ctx := deadline(h.t)
	s, err := shim.Open(ctx, h.conn, h.opt)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	body, err := s.Do(ctx, shim.Job{ID: "1", Kind: "facts", Body: []string{"os"}}, mute{})
	if err != nil {
		return nil, err
	}
	var got map[string]any
	return got, msgpack.Unmarshal(body, &got)
}

// works checks that the host does a job, and whether the shim had to be uploaded.
func (h *host) works(upload bool) {
	h.t.Helper()
	h.sent.Store(0)
	got, err := h.facts()
	if err != nil {
		h.t.Fatal(err)
	}
	if len(got) == 0 {
		h.t.Errorf("no facts: %v", got)
	}
	if (h.sent.Load() > 0) != upload {
		h.t.Errorf("%d bytes of shim were uploaded", h.sent.Load())
	}
}

// fails returns the error that a job gives.
func (h *host) fails(class connection.Class, words ...string) *connection.Error {
	h.t.Helper()
	_, err := h.facts()
	var c *connection.Error
	if !errors.As(err, &c) || c.Class != class {
		h.t.Fatalf("got %v, want an error of class %s", err, class)
	}
	for _, w := range words {
		if !strings.Contains(c.Error()+" | "+c.Hint, w) {
			h.t.Errorf("%q is not in: %v | %s", w, c, c.Hint)
		}
	}
	return c
}

func TestFirstContactUploadsLaterOnesDoNot(t *testing.T) {
	h := start(t, sshdtest.Options{})
	h.works(true)
	h.works(false)
	st, err := os.Stat(h.cached())
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Error(st, err)
	}
	entries, _ := os.ReadDir(filepath.Dir(h.cached()))
	if len(entries) != 1 {
		t.Errorf("left beside the shim: %v", entries)
	}
}

func TestFault35EveryLoginShell(t *testing.T) {
	for _, shell := range []string{"sh", "bash", "dash", "zsh", "fish", "tcsh", "bsd-csh", "ksh"} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				if shell == "ksh" || shell == "bsd-csh" {
					t.Skip("no " + shell)
				}
				sshdtest.MustSkip(t, "needs "+shell)
			}
			a := sshdtest.AddAccount(t, path)
			h := start(t, sshdtest.Options{User: a.Name, RealHome: true})
			h.Home = a.Home
			h.works(true)
			h.works(false)
		})
	}
}

func TestWithoutSFTPAndWithOneSession(t *testing.T) {
	h := start(t, sshdtest.Options{NoSFTP: true, Config: []string{"MaxSessions 1"}})
	h.works(true)
	h.works(false)
}

// An SFTP server that sees another root cannot deliver; standard input can.
func TestSFTPThatLeadsElsewhere(t *testing.T) {
	if os.Geteuid() != 0 {
		sshdtest.MustSkip(t, "needs root for a chroot")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "sftp")
	jail := filepath.Join(dir, "jail")
	if err := os.MkdirAll(jail, 0o755); err != nil {
		t.Fatal(err)
	}
	server := "/usr/lib/openssh/sftp-server"
	if _, err := os.Stat(server); err != nil {
		sshdtest.MustSkip(t, "needs "+server)
	}
	// A namespace of its own whose home folders are empty.
	text := "#!/bin/sh\nexec unshare -m /bin/sh -c 'mount -t tmpfs tmpfs '\"$HOME\"' && exec " + server + "'\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	h := start(t, sshdtest.Options{NoSFTP: true, Config: []string{"Subsystem sftp " + script}})
	h.works(true)
	h.works(false)
}

func TestFault34NoiseOfTheLogin(t *testing.T) {
	h := start(t, sshdtest.Options{User: sshdtest.AddAccount(t, "/bin/bash").Name})
	rc := filepath.Join(h.Home, ".bashrc")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(rc, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(h.Home, 0o777); err != nil {
		t.Fatal(err)
	}
	write("echo Welcome to the machine; stty -echo; printf 'no newline$ '\n")
	h.works(true)
	write("echo Come in; yes noise\n")
	h.fails(connection.ClassShim, `"Come in"`, "printed 65536 bytes", "ssh HOST exec /bin/sh -c true")
	write("echo Maintenance until noon; exit 3\n")
	h.fails(connection.ClassShim, `"Maintenance until noon"`, "exit code 3")
}

func TestFault35AccountsThatRunNothing(t *testing.T) {
	for name, c := range map[string]struct {
		shell  string
		config []string
		words  []string
	}{
		"nologin":       {"/usr/sbin/nologin", nil, []string{"not available", "A nologin or restricted shell"}},
		"false":         {"/bin/false", nil, []string{"exit code 1"}},
		"rbash":         {"/bin/rbash", nil, []string{"restricted"}},
		"forced":        {"/bin/sh", []string{"ForceCommand echo only backups here"}, []string{`"only backups here"`, "a ForceCommand"}},
		"internal-sftp": {"/bin/sh", []string{"ForceCommand internal-sftp"}, []string{"did not start the worker"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(c.shell); err != nil {
				sshdtest.MustSkip(t, "needs "+c.shell)
			}
			h := start(t, sshdtest.Options{User: sshdtest.AddAccount(t, c.shell).Name, Config: c.config})
			h.fails(connection.ClassShim, c.words...)
		})
	}
}

func TestAShellThatNeverComesToAnEnd(t *testing.T) {
	h := start(t, sshdtest.Options{Config: []string{"ForceCommand sleep 1000"}})
	h.opt.StartTimeout = 300 * time.Millisecond
	h.fails(connection.ClassShim, "does not answer in time")
}

// unamed makes the host say that it is another machine.
func unamed(t *testing.T, sysname, machine string) sshdtest.Options {
	t.Helper()
	dir := t.TempDir()
	text := "#!/bin/sh\ncase $1 in -s) echo " + sysname + ";; -m) echo " + machine + ";; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "uname"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return sshdtest.Options{Env: map[string]string{"PATH": dir + ":/usr/bin:/bin"}}
}

func TestFault15ForeignPlatforms(t *testing.T) {
	h := start(t, unamed(t, "Linux", "s390x"))
	h.fails(connection.ClassShim, `"Linux" "s390x"`, "Linux (x86_64, aarch64, armv6 and later, i386, riscv64) and macOS")
	h = start(t, unamed(t, "SunOS", "i86pc"))
	h.fails(connection.ClassShim, `"SunOS" "i86pc"`)
	h = start(t, unamed(t, "Linux", "riscv64"))
	h.fails(connection.ClassShim, "no shim for linux/riscv64")
	if _, err := os.Stat(filepath.Join(h.Home, ".cache", "sloth", "shim-")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("something was uploaded", err)
	}
}

// A wrong guess is put right by what the host says.
func TestAnotherPlatformThanThought(t *testing.T) {
	h := start(t, sshdtest.Options{})
	h.opt.Platform = "darwin/arm64"
	h.opt.Binaries = guessed{h.opt.Binaries}
	h.works(true)
	h.works(false)
}

type guessed struct{ shim.Binaries }

func (g guessed) For(goos, goarch string) ([]byte, string, error) {
	if goos == "darwin" {
		return []byte("not for you"), strings.Repeat("d", 64), nil
	}
	return g.Binaries.For(goos, goarch)
}

func TestFault18FoldersThatAreNotOurs(t *testing.T) {
	if os.Geteuid() != 0 {
		sshdtest.MustSkip(t, "needs root to give folders away")
	}
	a := sshdtest.AddAccount(t, "")
	owner := sshdtest.AddAccount(t, "")
	uidOf := func(name string) string {
		out, err := exec.Command("id", "-u", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	uid := uidOf(a.Name)
	h := start(t, sshdtest.Options{User: a.Name, RealHome: true})
	h.Home = a.Home
	sh := func(script string) {
		t.Helper()
		if out, err := exec.Command("/bin/sh", "-c", script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
	}
	fallback := "/var/tmp/sloth-" + uid
	t.Cleanup(func() { os.RemoveAll(fallback) })
	cache := filepath.Join(a.Home, ".cache", "sloth")

	// Planted by somebody else: refused, the next folder is taken.
	sh("mkdir -p " + cache + " && chown " + a.Name + " " + filepath.Dir(cache) + " && chown " + owner.Name + " " + cache + " && chmod 777 " + cache)
	sh("printf '#!/bin/sh\\necho planted >&2\\n' > " + h.cached() + " && chmod 755 " + h.cached() + " && chown " + owner.Name + " " + h.cached())
	h.works(true)
	if _, err := os.Stat(filepath.Join(fallback, filepath.Base(h.cached()))); err != nil {
		t.Error(err)
	}
	if st, _ := os.Stat(cache); st.Mode().Perm() != 0o777 {
		t.Errorf("somebody else's folder was changed to %v", st.Mode())
	}
	h.works(false)

	// A link, also at the second place: the third is taken.
	sh("rm -rf " + fallback + " " + cache + " && mkdir -m 700 " + a.Home + "/elsewhere && chown " + a.Name + " " + a.Home + "/elsewhere")
	sh("ln -s " + a.Home + "/elsewhere " + cache + " && ln -s " + a.Home + "/elsewhere " + fallback)
	t.Cleanup(func() { os.RemoveAll("/tmp/sloth-" + uid) })
	h.works(true)
	if entries, _ := os.ReadDir(a.Home + "/elsewhere"); len(entries) != 0 {
		t.Errorf("written through a link: %v", entries)
	}
	sh("rm -rf " + fallback + " " + cache + " /tmp/sloth-" + uid)

	// A shim that others may write is not trusted.
	h.works(true)
	sh("chmod 777 " + h.cached())
	h.works(true)

	// A FIFO, and a link to a program, in the place of the shim.
	sh("rm " + h.cached() + " && mkfifo " + h.cached())
	h.works(true)
	sh("rm " + h.cached() + " && ln -s /bin/true " + h.cached())
	h.works(true)
	if st, _ := os.Lstat(h.cached()); !st.Mode().IsRegular() {
		t.Errorf("it still is %v", st.Mode())
	}
}

// A host whose kernel forbids to run what was put there is told from others, with
// what to allow.
func TestFault16StartingIsForbidden(t *testing.T) {
	h := start(t, in(t, `for d in /var/tmp /tmp /dev/shm; do mount -t tmpfs -o ro tmpfs $d; done; mount -t tmpfs tmpfs /run; mkdir /run/sshd; mount -o remount,ro /run; `))
	h.conn = &forbidding{h.conn}
	h.fails(connection.ClassShim, "the new shim in "+filepath.Dir(h.cached())+" does not run", "Permission denied", "SELinux, AppArmor or fapolicyd", "restorecon")
}

// forbidding is a connection to a host that does not let new files be started.
type forbidding struct{ connection.Conn }

func (c *forbidding) Upload(ctx context.Context, path string, mode fs.FileMode, size int64, src io.Reader) error {
	if err := c.Conn.Upload(ctx, path, mode, size, src); err != nil {
		return err
	}
	return os.Chmod(path, 0o600)
}

// A folder that others may write is left as it is, and the next one taken; where
// there is no other, the error says what to do.
func TestFault19AFolderThatOthersMayWrite(t *testing.T) {
	h := start(t, in(t, `for d in /var/tmp /tmp; do mount -t tmpfs -o ro tmpfs $d; done; `))
	cache := filepath.Dir(h.cached())
	for _, mode := range []os.FileMode{0o777, 0o707, 0o770} {
		if err := os.MkdirAll(cache, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.cached(), []byte("#!/bin/sh\necho planted >&2\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(cache, mode); err != nil {
			t.Fatal(err)
		}
		h.works(mode == 0o777) // in memory; the later ones find it there
		if st, err := os.Stat(cache); err != nil || st.Mode().Perm() != mode {
			t.Errorf("the folder was changed to %v, %v", st, err)
		}
	}
	// One that others may only read is ours to close.
	if err := os.Chmod(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	only := start(t, in(t, `for d in /var/tmp /tmp /dev/shm; do mount -t tmpfs -o ro tmpfs $d; done; mount -t tmpfs tmpfs /run; mkdir /run/sshd; mount -o remount,ro /run; `))
	cache = filepath.Dir(only.cached())
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(cache, 0o777); err != nil {
		t.Fatal(err)
	}
	only.fails(connection.ClassShim, cache+" can be written by others", "/var/tmp/sloth-0 cannot be made")
	if err := os.Chmod(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	only.works(true)
}

// in runs the server where mounts are its own.
func in(t *testing.T, mounts string) sshdtest.Options {
	t.Helper()
	if os.Geteuid() != 0 {
		sshdtest.MustSkip(t, "needs root to mount")
	}
	if err := exec.Command("unshare", "-m", "true").Run(); err != nil {
		sshdtest.MustSkip(t, "needs mount namespaces: "+err.Error())
	}
	// The server's own files are below the temporary folder.
	base, err := os.MkdirTemp("/var/lib", "shimtest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	t.Setenv("TMPDIR", base)
	// Nothing leaks into the machine's own folders in memory.
	mounts = "mount -t tmpfs -o mode=1777 tmpfs /dev/shm; if [ -d /run/user ]; then mount -t tmpfs tmpfs /run/user; fi; " + mounts
	return sshdtest.Options{Wrapper: []string{"unshare", "-m", "/bin/sh", "-c", mounts + ` exec "$@"`, "sh"}}
}

func TestFault14Noexec(t *testing.T) {
	h := start(t, in(t, `for d in /var/lib/shimtest-*/sshdtest-*/home /var/tmp /tmp; do mount -t tmpfs -o noexec,mode=1777 tmpfs $d; done;`))
	h.works(true) // /run/user or /dev/shm
	h = start(t, in(t, `for d in /var/lib/shimtest-*/sshdtest-*/home /var/tmp /tmp /dev/shm /run; do mount -t tmpfs -o noexec,mode=1777 tmpfs $d; done; mkdir /run/sshd;`))
	c := h.fails(connection.ClassShim, "there is no folder for it", "/var/tmp/sloth-0 is mounted noexec", "/.cache/sloth is mounted noexec", "/dev/shm/sloth-0 is mounted noexec")
	if !strings.Contains(c.Hint, "noexec") {
		t.Error(c.Hint)
	}
}

func TestFault13ReadOnlyAndFullDisks(t *testing.T) {
	h := start(t, in(t, `for d in /var/lib/shimtest-*/sshdtest-*/home /var/tmp; do mount -t tmpfs -o ro tmpfs $d; done; mount -t tmpfs -o mode=1777 tmpfs /tmp;`))
	h.works(true)
	// Too small for the shim, but not for the probe: the next folder is tried.
	h = start(t, in(t, `for d in /var/lib/shimtest-*/sshdtest-*/home; do mount -t tmpfs -o size=1m,mode=1777 tmpfs $d; done; mount -t tmpfs -o mode=1777 tmpfs /var/tmp;`))
	h.works(true)
	h = start(t, in(t, `for d in /var/lib/shimtest-*/sshdtest-*/home /var/tmp /tmp /dev/shm /run; do mount -t tmpfs -o size=1m,mode=1777 tmpfs $d; done; mkdir /run/sshd;`))
	h.fails(connection.ClassShim, "no space left in", "/.cache/sloth")
}

func TestFault17Tampering(t *testing.T) {
	h := start(t, sshdtest.Options{})
	h.works(true)
	h.opt.Verify = true
	h.works(false)
	f, err := os.OpenFile(h.cached(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	one := make([]byte, 1)
	if _, err := f.ReadAt(one, 5_000_000); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 1
	if _, err := f.WriteAt(one, 5_000_000); err != nil {
		t.Fatal(err)
	}
	f.Close()
	h.fails(connection.ClassShim, h.cached(), "is not what sloth put there")

	// Changed between its upload and its start: never run, and not tried again.
	h = start(t, sshdtest.Options{})
	h.conn = &changing{Conn: h.conn, t: t, from: h.Home}
	h.fails(connection.ClassShim, "is not what sloth put there")
	// The same where the host has no tool to hash with: the shim looks itself.
	o := sshdtest.Options{Env: map[string]string{"PATH": few(t)}}
	h = start(t, o)
	h.conn = &changing{Conn: h.conn, t: t, from: h.Home}
	h.fails(connection.ClassShim, "is not what sloth put there")
	h = start(t, o)
	h.works(true)
	h.opt.Verify = true
	h.fails(connection.ClassShim, "neither sha256sum nor shasum")
}

// few is a PATH with no tool to hash with.
func few(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"ls", "id", "mkdir", "chmod", "rm", "uname", "cat", "wc", "mv", "sh"} {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// changing is a connection whose uploads are changed once they are there.
type changing struct {
	connection.Conn
	t    *testing.T
	from string
}

func (c *changing) Upload(ctx context.Context, path string, mode fs.FileMode, size int64, src io.Reader) error {
	if err := c.Conn.Upload(ctx, path, mode, size, src); err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		c.t.Error(err)
	}
	return os.WriteFile(path, append(data, 'x'), 0o700)
}

func TestFault03ACutUploadLeavesNothingToRun(t *testing.T) {
	h := start(t, sshdtest.Options{})
	h.opt.Progress = func(done, total int64) {
		if done > total/3 {
			h.Cut()
		}
	}
	h.fails(connection.ClassTCP)
	if _, err := os.Stat(h.cached()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a shim has the name of a whole one: %v", err)
	}
	h.opt.Progress = func(done, _ int64) { h.sent.Store(done) }
	h.conn = h.dial()
	h.works(true)
}

func TestTheLineHasNothingThatAShellChanges(t *testing.T) {
	for _, line := range shim.Lines() {
		inner := strings.TrimSuffix(strings.TrimPrefix(line, "exec /bin/sh -c '"), "'")
		if len(inner) != len(line)-len("exec /bin/sh -c ''") || strings.ContainsAny(inner, "'!\\\n") {
			t.Errorf("%s", line)
		}
		out, err := exec.Command("/bin/sh", "-n", "-c", inner).CombinedOutput()
		if err != nil || len(bytes.TrimSpace(out)) > 0 {
			t.Errorf("%v: %s", err, out)
		}
	}
}
