package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sloth-runner/sloth/state/etcd/etcdtest"
)

// TestStateInEtcd runs the whole program with a real cluster.
func TestStateInEtcd(t *testing.T) {
	cluster := etcdtest.Start(t, etcdtest.Options{})
	if _, err := cluster.Client(t).Put(t.Context(), "newer/schema", "99"); err != nil {
		t.Fatal(err)
	}
	shim, err := shimProgram()
	if err != nil {
		t.Fatal(err)
	}
	// The cluster must outlive the scripts, which run in parallel: the group
	// ends when all of them have.
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir: "testdata/etcd", UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
			Setup: func(e *testscript.Env) error {
				home := filepath.Join(e.WorkDir, "home")
				for k, v := range map[string]string{
					"HOME": home, "XDG_STATE_HOME": filepath.Join(e.WorkDir, "state"), "SLOTH_SHIM": shim, "SLOTH_INVENTORY": "", "NO_COLOR": "1",
					"ETCD": cluster.Hosts[0],
				} {
					e.Setenv(k, v)
				}
				return os.MkdirAll(home, 0o700)
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code, "json": jsonKeys},
		})
	})
}
