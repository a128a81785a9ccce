//go:build linux || darwin

package machine

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
)

func TestRunAsAnotherUser(t *testing.T) {
	m := New()
	run := func(user string) (string, error) {
		a, err := m.Run(context.Background(), modules.Cmd{Argv: []string{"/bin/sh", "-c", "id -un; echo $HOME $USER; id -gn"}, User: user, Dir: "/"})
		return strings.Join(strings.Fields(string(a.Stdout)), " "), err
	}
	if _, err := run("nosuchuser"); err == nil || err.Error() != "run /bin/sh as nosuchuser: there is no such user" {
		t.Errorf("got %v", err)
	}
	if os.Geteuid() != 0 {
		if _, err := run("root"); err == nil || err.Error() != "run /bin/sh as root: only root can run a program as another user; let the task become one" {
			t.Errorf("got %v", err)
		}
		if os.Getenv("SLOTH_MUST_RUN") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("the rest needs root")
	}
	for _, name := range []string{"nobody", "65534"} {
		if got, err := run(name); err != nil || got != "nobody /nonexistent nobody nogroup" {
			t.Errorf("as %s: got %q, %v", name, got, err)
		}
	}
	if got, err := run("root"); err != nil || !strings.HasPrefix(got, "root ") {
		t.Errorf("as root: got %q, %v", got, err)
	}
}

func TestRunSaysWhatKilledIt(t *testing.T) {
	a, err := New().Run(context.Background(), modules.Cmd{Argv: []string{"/bin/sh", "-c", "kill -SEGV $$"}})
	if err != nil || a.ExitCode != 139 || a.Signal != "SIGSEGV" || a.Lost != 0 {
		t.Errorf("got %+v, %v", a, err)
	}
}
