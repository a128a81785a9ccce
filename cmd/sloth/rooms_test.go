package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is where all of sloth's own packages are.
const module = "github.com/sloth-runner/sloth"

// room says what the packages below one folder may not have in them, directly
// or through others. A name that begins with "=" is that package alone, others
// are a package and all below it; a name without a dot in its first element is
// one of sloth's own, or of the standard library.
type room struct {
	name  string
	never []string
}

// outside are the packages that make a program large; only the controller has
// them.
var outside = []string{
	"github.com/dgraph-io/badger", "github.com/spf13/cobra", "google.golang.org/grpc", "go.etcd.io", "golang.org/x/crypto/ssh",
	"github.com/pkg/sftp", "filippo.io/age", "github.com/Masterminds/sprig", "github.com/nikolalohinski/gonja", "github.com/hashicorp/go-multierror",
	"github.com/kevinburke/ssh_config", "text/template", "html/template",
}

var rooms = []room{
	{"=cmd/sloth-shim", append([]string{
		"inventory", "state", "connection/ssh", "connection/local", "connection/shim", "=connection", "=runner", "runner/template", "cmd/sloth",
	}, outside...)},
	{"inventory", []string{"net/http", "filippo.io/age", "runner", "connection/ssh", "connection/local", "connection/shim", "connection/wire", "lua", "modules", "facts", "state", "cmd", "github.com/yuin/gopher-lua"}},
	{"connection", []string{"lua", "modules", "facts", "inventory", "state", "runner", "cmd", "github.com/yuin/gopher-lua"}},
	{"connection/wire", []string{"=connection", "connection/shim", "connection/ssh", "connection/local"}},
	{"connection/agent", []string{"connection/ssh", "connection/local", "connection/shim", "golang.org/x/crypto/ssh"}},
	{"lua", []string{"connection", "runner", "state", "inventory", "cmd", "github.com/spf13/cobra"}},
	{"modules", []string{"connection", "runner", "state", "inventory", "cmd", "github.com/spf13/cobra"}},
	{"state/disk", []string{"connection", "lua", "modules", "facts", "inventory", "state", "runner", "cmd"}},
	{"facts", []string{"connection", "runner", "state", "inventory", "lua", "modules", "cmd", "github.com/yuin/gopher-lua"}},
	{"runner", []string{"connection/ssh", "connection/local", "connection/agent", "inventory", "state", "cmd", "github.com/dgraph-io/badger", "github.com/spf13/cobra", "golang.org/x/crypto/ssh"}},
	{"runner/worker", []string{"=runner", "runner/template", "=connection", "connection/shim"}},
	{"runner/step", []string{"=runner", "runner/worker", "runner/template", "connection"}},
	// What a front links is what every host waits for at every run.
	{"runner/worker/front", []string{"connection", "lua", "modules", "facts", "runner/step", "runner/service", "runner/event", "=runner/worker", "fmt", "net"}},
	{"state", []string{"connection", "runner", "inventory", "lua", "cmd"}},
	{"cmd/sloth/render", []string{"connection/ssh", "connection/local", "connection/wire", "inventory", "state", "lua/dsl", "=runner"}},
}

// kinds are named by the program alone: everybody else has the interface.
var kinds = []string{"connection/ssh", "connection/local", "state/badger", "state/etcd"}

// graph is who imports whom, tests left out.
type graph map[string][]string

// imports asks the go command.
func imports(t *testing.T, goos string) graph {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		missing(t, "there is no go command")
	}
	cmd := exec.CommandContext(t.Context(), goTool, "list", "-deps", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", module+"/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS="+goos, "GOARCH=amd64")
	cmd.Dir = filepath.Join("..", "..")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	g := graph{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		g[f[0]] = f[1:]
	}
	return g
}

// missing skips, or fails where skipping is forbidden.
func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("SLOTH_MUST_RUN") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// full is the import path of a name as room has it, without "=".
func full(name string) string {
	name = strings.TrimPrefix(name, "=")
	first, _, _ := strings.Cut(name, "/")
	if strings.Contains(first, ".") || slices.Contains([]string{"net", "fmt", "text", "html"}, first) {
		return name
	}
	return module + "/" + name
}

// matches reports whether pkg is what name means. How anything is kept on a disk,
// state/disk, is no part of the state that rooms may not know.
func matches(pkg, name string) bool {
	path := full(name)
	if name == "state" && strings.HasPrefix(pkg, module+"/state/disk/") {
		return false
	}
	return pkg == path || !strings.HasPrefix(name, "=") && strings.HasPrefix(pkg, path+"/")
}

// way is the shortest chain of imports from pkg to one that name matches.
func (g graph) way(pkg, name string) []string {
	from := map[string]string{pkg: ""}
	for queue := []string{pkg}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at != pkg && matches(at, name) {
			var chain []string
			for ; at != ""; at = from[at] {
				chain = append(chain, strings.TrimPrefix(at, module+"/"))
			}
			slices.Reverse(chain)
			return chain
		}
		for _, next := range g[at] {
			if _, seen := from[next]; !seen {
				from[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// own reports whether pkg is sloth's and part of a program: packages that hold
// what tests share may reach further.
func own(pkg string) bool {
	return strings.HasPrefix(pkg, module+"/") && !strings.HasSuffix(pkg, "test")
}

// TestRooms holds the rules of docs/architecture.md about who may know whom.
func TestRooms(t *testing.T) {
	for _, goos := range []string{"linux", "darwin"} {
		t.Run(goos, func(t *testing.T) {
			g := imports(t, goos)
			for _, r := range rooms {
				g.hold(t, r)
			}
			for _, kind := range kinds {
				for pkg, list := range g {
					if own(pkg) && pkg != module+"/cmd/sloth" && slices.Contains(list, full(kind)) {
						t.Errorf("%s imports %s; only cmd/sloth may", strings.TrimPrefix(pkg, module+"/"), kind)
					}
				}
				if !slices.Contains(g[module+"/cmd/sloth"], full(kind)) {
					t.Errorf("cmd/sloth does not import %s: the rule has lost its object", kind)
				}
			}
		})
	}
}

func (g graph) hold(t *testing.T, r room) {
	t.Helper()
	found := false
	for pkg := range g {
		if !own(pkg) || !matches(pkg, r.name) {
			continue
		}
		found = true
		for _, name := range r.never {
			if way := g.way(pkg, name); way != nil {
				t.Errorf("%s must not know %s: %s", strings.TrimPrefix(r.name, "="), strings.TrimPrefix(name, "="), strings.Join(way, " → "))
			}
		}
	}
	if !found {
		t.Errorf("there is no package in %s: the rule has lost its object", r.name)
	}
	for _, name := range r.never {
		if strings.HasPrefix(full(name), module) && !g.any(name) {
			t.Errorf("%s must not know %s, which is not there: correct the rule", r.name, name)
		}
	}
}

func (g graph) any(name string) bool {
	for pkg := range g {
		if matches(pkg, name) {
			return true
		}
	}
	return false
}
