package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/cmd/sloth/remote"
	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/sshclient"
)

// world is a script's view of one SSH server called web.
type world struct {
	t      *testing.T
	server *sshdtest.Server
	all    *remote.Connections
	dir    string // of the script
	env    *bind.Env
	recs   []bind.Record
	lines  []string
}

func newWorld(t *testing.T, o sshdtest.Options) *world {
	t.Helper()
	o.Name = "web"
	w := &world{t: t, server: sshdtest.Start(t, o), dir: t.TempDir()}
	d := ssh.NewDialer(ssh.Config{ConfigFile: "none", Home: t.TempDir()})
	w.all = remote.New(remote.Options{Dir: w.dir, Dial: func(ctx context.Context, said connection.Target) (connection.Conn, error) {
		target := w.server.Target()
		if said.Name != "web" {
			return nil, fmt.Errorf("there is no host %q", said.Name)
		}
		if said.User != "" {
			target.User = said.User
		}
		if said.PrivateKeyFile != "" {
			target.PrivateKeyFile = said.PrivateKeyFile
		}
		return d.Dial(ctx, target)
	}})
	w.env = &bind.Env{Call: modules.Call{Log: func(_, line string, _ map[string]any) { w.lines = append(w.lines, line) }}}
	w.env.Called = func(r bind.Record) { w.recs = append(w.recs, r) }
	t.Cleanup(func() {
		if err := errors.Join(w.all.Close(), d.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) run(src string) ([]lua.LValue, error) {
	w.t.Helper()
	vm := engine.New(engine.Options{})
	defer vm.Close()
	bind.Install(vm, []modules.Module{sshclient.Module(w.all)})
	// H is the home folder of the server; that of the account stays as it is.
	chunk, err := vm.Load("site.sloth", []byte(strings.ReplaceAll(src, "H/", w.server.Home+"/")))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	return vm.Run(bind.WithEnv(ctx, w.env), chunk)
}

func (w *world) is(want, src string) {
	w.t.Helper()
	rets, err := w.run(src)
	if got := fmt.Sprint(rets); err != nil || got != want {
		w.t.Errorf("%s\n got %s, %v\nwant %s", src, got, err, want)
	}
}

func (w *world) fails(want, src string) {
	w.t.Helper()
	_, err := w.run(src)
	var e *engine.Error
	if !errors.As(err, &e) || !strings.Contains(e.Message, want) {
		w.t.Errorf("%s\n got %v\nwant %s", src, err, want)
	}
}

func (w *world) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(path string) string {
	w.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		w.t.Error(err)
	}
	return string(text)
}

const connect = `local c = ssh.connect("web") `

func TestCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshdtest.Options{})
	w.is("[hello 0 true]", connect+`local r = ssh.exec(c, "printf hello") return r.stdout, r.exit_code, r.success`)
	w.is("[exit code 3: no 3 false true]", connect+`local r = c:exec("echo no >&2; exit 3") return r.error, r.exit_code, r.success, r.changed`)
	w.is("[false]", connect+`return c:exec("true", { check_safe = true }).changed`)
	w.is("[a b]", connect+`return ssh.exec({ connection = c, argv = { "printf", "%s", "a b" } }).stdout`)
	w.is("[in]", connect+`return c:exec("cat", { stdin = "in" }).stdout`)
	w.is("[timed out after 200ms true -1]", connect+`local r = c:exec("sleep 30", { timeout = 0.2 }) return r.error, r.timed_out, r.exit_code`)
	w.fails(`there is no connection "ssh-`, connect+`ssh.disconnect(c) c:exec("true")`)
	w.fails(`there is no host "wbe"`, `ssh.connect("wbe")`)
	w.fails("ssh.connect: ", `ssh.connect("web", "nobody-of-that-name")`)
	w.fails("connection is missing", `ssh.exec({ command = "true" })`)
	w.fails("connection must be what ssh.connect returned", `ssh.exec(3, "true")`)
	w.fails("command is missing", connect+`c:exec()`)
}

func TestFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshdtest.Options{})
	home := w.server.Home
	w.write("app.tar.gz", "binary\x00\xff")
	// The form of the specification, then once more.
	w.is("[true false]", connect+`
local function up() return ssh.upload({ connection = c, local_path = "app.tar.gz", remote_path = "H/app.tar.gz" }).changed end
return up(), up()`)
	if got := w.read(filepath.Join(home, "app.tar.gz")); got != "binary\x00\xff" {
		t.Errorf("uploaded %q", got)
	}
	w.is("[true false 0600 file 8 app.tar.gz]", connect+`
local a = c:upload("app.tar.gz", "H/app.tar.gz", { mode = "0600" }).changed
local b = c:upload("app.tar.gz", "H/./app.tar.gz", { mode = "0600" }).changed
local s = c:stat("H/app.tar.gz")
return a, b, s.mode, s.type, s.size, s.name`)
	w.is("[true false]", connect+`return c:download("H/app.tar.gz", "back/../copy").changed, c:download("H/app.tar.gz", "copy").changed`)
	if got := w.read(filepath.Join(w.dir, "copy")); got != "binary\x00\xff" {
		t.Errorf("downloaded %q", got)
	}
	w.is("[true false nil true true false]", connect+`
local missing = c:stat("H/none")
local a = c:mkdir("H/a/b/c").changed
return c:exists("H/a/b"), c:exists("H/a/x"), missing, a, c:chmod("H/a/b", "0700").changed, c:chmod("H/a/b", "u=rwx").changed`)
	w.is("[2 link x directory]", connect+`
c:exec("cd H/; ln -s nowhere a/x; mkdir -p a/y; rm -rf a/b")
local l = c:list_dir("H/a")
local by = {}
for _, e in ipairs(l) do by[e.name] = e end
return #l, by.x.type, by.x.name, by.y.type`)
	w.is("[true true false]", connect+`
c:rename("H/a", "H/z")
local was = c:remove("H/z", { recursive = true }).changed
return was, not c:exists("H/z"), c:remove("H/z").changed`)
	w.is("[true true]", connect+`return c:stat("~").is_dir, c:exists(".")`)
	w.is("[false]", connect+fmt.Sprintf(`return c:chown("H/app.tar.gz", "%d", "%d").changed`, os.Getuid(), os.Getgid()))

	w.fails("the folder is not empty; say recursive = true", connect+`c:mkdir("H/full/x") c:remove("H/full")`)
	w.fails("local_path is missing", connect+`c:upload()`)
	w.fails("no such file or directory", connect+`c:upload("none", "H/x")`)
	w.fails("is a folder there: name the file", connect+`c:mkdir("H/folder") c:upload("app.tar.gz", "H/folder")`)
	w.fails("does not exist", connect+`c:list_dir("H/nowhere")`)
	w.fails("not exist", connect+`c:download("H/nowhere", "x")`)
	w.fails(`path = "/": that is not removed`, connect+`c:remove("/", { recursive = true })`)
	w.fails("mode", connect+`c:chmod("H/app.tar.gz", 644)`)
	if left, _ := filepath.Glob(filepath.Join(w.dir, "*.part")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshdtest.Options{})
	home := w.server.Home
	w.write("site/index.html", "<h1>hi</h1>")
	w.write("site/css/a b.css", "h1 {}")
	w.is("[2 2 true 2 0 false]", connect+`
local a = c:upload_dir("site", "H/srv/site")
local b = c:upload_dir("site", "H/srv/site")
return a.files, a.copied, a.changed, b.files, b.copied, b.changed`)
	if got := w.read(filepath.Join(home, "srv/site/css/a b.css")); got != "h1 {}" {
		t.Errorf("uploaded %q", got)
	}
	w.write("site/index.html", "<h1>ho</h1>") // of the same size
	w.is("[1]", connect+`return ssh.upload_dir({ connection = c, local_path = "site", remote_path = "H/srv/site" }).copied`)
	if err := os.Symlink("/etc/passwd", filepath.Join(home, "srv/site/passwd")); err != nil {
		t.Fatal(err)
	}
	// A folder here that leads elsewhere is not written through.
	outside := t.TempDir()
	w.is("[2 2 true 0 false]", connect+`
local a = c:download_dir("H/srv/site", "back")
local b = c:download_dir("H/srv/site", "back")
return a.files, a.copied, a.changed, b.copied, b.changed`)
	if got := w.read(filepath.Join(w.dir, "back/index.html")); got != "<h1>ho</h1>" {
		t.Errorf("downloaded %q", got)
	}
	if _, err := os.Lstat(filepath.Join(w.dir, "back/passwd")); err == nil {
		t.Error("a link of the host was copied")
	}
	if err := errors.Join(os.Mkdir(filepath.Join(w.dir, "led"), 0o755), os.Symlink(outside, filepath.Join(w.dir, "led/css"))); err != nil {
		t.Fatal(err)
	}
	w.fails("escapes", connect+`c:download_dir("H/srv/site", "led")`)
	if list, _ := os.ReadDir(outside); len(list) > 0 {
		t.Errorf("written outside: %v", list)
	}
}

func TestWithoutSFTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshdtest.Options{NoSFTP: true})
	w.write("f", "text")
	w.is("[true text]", connect+`return c:upload("f", "H/g").changed, c:exec("cat H/g").stdout`)
	w.fails("the host has no SFTP", connect+`c:stat("H/g")`)
}

func TestTunnel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshdtest.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			// Answers once the other side has said all, as half-closing programs do.
			var said []byte
			if said, err = io.ReadAll(c); err == nil {
				_, err = c.Write([]byte("you said " + string(said)))
			}
			c.Close()
		}
		served <- err
	}()
	rets, err := w.run(connect + fmt.Sprintf(`local t = c:create_tunnel(0, "127.0.0.1", %d) return t.local_port, t.id`, l.Addr().(*net.TCPAddr).Port))
	if err != nil {
		t.Fatal(err)
	}
	port, id := int(rets[0].(lua.LNumber)), rets[1].String()
	near, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	if _, err := near.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := near.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(near); err != nil || string(got) != "you said hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	w.is("[true]", fmt.Sprintf(`return ssh.close_tunnel(%q).success`, id))
	if c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
		c.Close()
		t.Error("the tunnel is still open")
	}
	w.fails("there is no tunnel", fmt.Sprintf(`ssh.close_tunnel(%q)`, id))
	// One that is open ends with its connection.
	rets, err = w.run(connect + `local t = c:create_tunnel(0, "127.0.0.1", 9) c:disconnect() return t.local_port`)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", "127.0.0.1:"+rets[0].String()); err == nil {
		c.Close()
		t.Error("the tunnel outlived its connection")
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshdtest.Options{})
	w.env.Check = true
	w.is("[true false nil 0 true]", connect+`
local up = c:upload("none", "x")
return c.planned, c:exists("x"), c:stat("x"), #c:list_dir("."), up.planned`)
	if len(w.recs) != 1 || w.recs[0].Message != "ssh: upload none to x" || !w.recs[0].Changed {
		t.Errorf("records %+v", w.recs)
	}
	if strings.Contains(w.server.Log(), "Accepted") {
		t.Error("a plan connected")
	}
}

func TestUnknownHostKeyIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshdtest.Options{})
	if err := os.WriteFile(w.server.KnownHosts, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.fails("known", `ssh.connect("web")`)
}
