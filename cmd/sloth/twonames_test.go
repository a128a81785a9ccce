package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/connection/faultproxy"
)

// One machine under two names in one run: each name has its own worker and
// journal there, through cuts and with the controller killed, and both are told.
func TestFault49TwoNamesKeepTheirWorkers(t *testing.T) {
	t.Parallel()
	const steps = 12
	c := newController(t, 1, fmt.Sprintf(`
local tasks = {}
for i = 1, %d do
  tasks[i] = task("t" .. i):command(function() return exec.run("sleep 0.02; echo " .. i .. " >> $HOME/" .. host.name).success end):build()
end
workflow.define("w"):config({ hosts = "all" }):tasks(tasks)`, steps))
	names := []string{"one", "other"}
	proxies := c.throughProxies(names...)
	home := c.servers[0].Home
	if code, out := c.sloth("ping", "-i", "hosts.yaml", "-F", "ssh.conf", "all"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	want := ""
	for i := range steps {
		want += fmt.Sprintln(i + 1)
	}
	journals := func() int {
		found, _ := filepath.Glob(filepath.Join(home, ".local/state/sloth/runs/*/journal")) // the pattern is one
		return len(found)
	}
	written := func(name string) string {
		b, err := os.ReadFile(filepath.Join(home, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(b)
	}
	for round := range 3 {
		for _, name := range names {
			if err := os.RemoveAll(filepath.Join(home, name)); err != nil {
				t.Fatal(err)
			}
		}
		rng := rand.New(rand.NewPCG(uint64(round), 49)) //nolint:gosec // the same at every run
		for _, p := range proxies {
			p.ResetAfter(4000+rng.Int64N(5000), faultproxy.ToClient)
		}
		cmd, out := c.start(c.apply()...)
		if round == 2 {
			c.await("two journals", func() bool { return journals() == 2 })
			c.await("a step", func() bool { return written("one") != "" && written("other") != "" })
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			cmd, out = c.start("runs", "resume", "last")
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, out)
		}
		if !strings.Contains(out.String(), "one and other are one machine") && !strings.Contains(out.String(), "other and one are one machine") {
			t.Errorf("round %d: nobody was told\n%s", round, out)
		}
		for _, name := range names {
			if got := written(name); got != want {
				t.Errorf("round %d: %s has %q\n%s", round, name, got, out)
			}
		}
		if n := journals(); n != 0 {
			t.Errorf("round %d: %d journals are left", round, n)
		}
	}
}
