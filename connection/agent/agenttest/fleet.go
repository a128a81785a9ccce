package agenttest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// Fleet makes n agents known to the master whose folder is dir, before that
// master starts, and returns what each needs.
func Fleet(t testing.TB, dir string, n int) []*agent.Keep {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "agents"), 0o700); err != nil {
		t.Fatal(err)
	}
	a, err := pki.OpenAuthority(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	root, err := a.Root()
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	keeps := make([]*agent.Keep, n)
	for i := range keeps {
		name := FleetName(i)
		k, err := agent.OpenKeep(filepath.Join(base, name))
		if err != nil {
			t.Fatal(err)
		}
		csr, err := k.Request()
		if err != nil {
			t.Fatal(err)
		}
		der, err := a.Issue(csr, pki.Identity{Kind: pki.KindAgent, Name: name, Machine: Machine(name)}, pki.AgentLife)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Store(name, "", der, root); err != nil {
			t.Fatal(err)
		}
		record, err := json.Marshal(map[string]string{"name": name, "machine": Machine(name), "key": k.Key(), "host": name})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "agents", name+".json"), record, 0o600); err != nil {
			t.Fatal(err)
		}
		keeps[i] = k
	}
	return keeps
}

// FleetName is the name of one of a Fleet.
func FleetName(i int) string { return fmt.Sprintf("sim-%04d", i) }
