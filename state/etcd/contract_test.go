package etcd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/etcd/etcdtest"
	"github.com/sloth-runner/sloth/state/statetest"
)

const envHosts = "SLOTH_ETCD_TEST_HOSTS"

func place(t testing.TB, hosts []string, rest string) *Place {
	t.Helper()
	p, err := ParsePlace(Scheme + strings.Join(hosts, ",") + "/" + rest)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestContract(t *testing.T) {
	hosts := os.Getenv(envHosts) // in a child
	if hosts == "" {
		hosts = strings.Join(etcdtest.Start(t, etcdtest.Options{Nodes: 3}).Hosts, ",")
		t.Setenv(envHosts, hosts)
	}
	statetest.Run(t, statetest.Kind{
		Durable: true,
		Open: func(t *testing.T, dir string) state.Store {
			return New(Options{Place: place(t, strings.Split(hosts, ","), fmt.Sprintf("test/%s", filepath.Base(filepath.Dir(dir))+filepath.Base(dir)))})
		},
	})
}
