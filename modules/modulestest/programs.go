package modulestest

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

//go:embed programs
var standIns embed.FS

const (
	preamble = "head.sh" // sourced before each of the stand-ins
	callsLog = "calls.log"
)

// Programs are stand-ins for the programs that change a host beside its files:
// those of apt and dpkg, systemctl, and the shadow suite. They keep what they
// change below the root of the host they are on, in the files that their first
// lines name, and fail on anything they were not made for. No other program
// runs on such a host.
type Programs struct{ dir string }

// NewPrograms writes the stand-ins down.
func NewPrograms(t testing.TB) *Programs {
	t.Helper()
	p := &Programs{t.TempDir()}
	entries, err := standIns.ReadDir("programs")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := standIns.ReadFile("programs/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		p.Put(t, e.Name(), string(text))
	}
	return p
}

// Put adds or replaces a stand-in. It is a script of /bin/sh that may use $ROOT,
// the functions called (write down what was called) and unexpected (fail), and
// "$PROGRAMS/NAME" of others.
func (p *Programs) Put(t testing.TB, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Without takes stand-ins away: the host then lacks these programs.
func (p *Programs) Without(t testing.TB, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.Remove(filepath.Join(p.dir, n)); err != nil {
			t.Fatal(err)
		}
	}
}

// Calls are the command lines of what changed something, and after "< " what it
// was told. They are forgotten then.
func (p *Programs) Calls(t testing.TB) []string {
	t.Helper()
	file := filepath.Join(p.dir, callsLog)
	text, err := os.ReadFile(file)
	if err != nil {
		if !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return nil
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Split(string(text), "\n"), func(s string) bool { return s == "" })
}

// On is m with root in place of / and these programs in place of its own.
func (p *Programs) On(m modules.Machine, root string) modules.Machine {
	return programmed{Rooted(m, root), p.dir, strings.TrimSuffix(root, "/")}
}

type programmed struct {
	modules.Machine
	dir, root string
}

func (h programmed) LookPath(name string) (string, error) {
	base := filepath.Base(name)
	if _, err := os.Stat(filepath.Join(h.dir, base)); err != nil || base == preamble || base == callsLog {
		return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
	}
	return "/usr/bin/" + base, nil
}

func (h programmed) Query(ctx context.Context, argv ...string) (facts.Answer, error) {
	return h.Run(ctx, modules.Cmd{Argv: argv, Env: []string{"LC_ALL=C"}})
}

func (h programmed) Run(ctx context.Context, c modules.Cmd) (facts.Answer, error) {
	if _, err := h.LookPath(c.Argv[0]); err != nil {
		return facts.Answer{}, fmt.Errorf("run %s: %w", c.Argv[0], err)
	}
	if c.Dir != "" {
		c.Dir = h.root + c.Dir
	}
	// A script that a shell reads needs no program file that could be busy.
	name := filepath.Base(c.Argv[0])
	c.Argv = append([]string{"/bin/sh", "-c", `. "$PROGRAMS/` + preamble + `"; . "$PROGRAMS/$TOOL"`, name}, c.Argv[1:]...)
	c.Env = append(slices.Clone(c.Env), "ROOT="+h.root, "PROGRAMS="+h.dir, "TOOL="+name, "CALLS="+filepath.Join(h.dir, callsLog))
	return h.Machine.Run(ctx, c)
}
