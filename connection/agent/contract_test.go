package agent_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/agenttest"
	"github.com/sloth-runner/sloth/connection/agent/master"
	"github.com/sloth-runner/sloth/connection/conntest"
	"github.com/sloth-runner/sloth/connection/faultproxy"
)

// TestContract runs what every kind of connection must do.
func TestContract(t *testing.T) {
	m := agenttest.Start(t, master.Options{Beat: 2 * time.Second}) // on a busy machine, too
	m.StartAgent(m.Enrol("web-1"), "web-1", "")
	m.Await("web-1", agent.StateActive)
	k := m.User("op", master.Operator)
	t.Run("a link of its own", func(t *testing.T) {
		conntest.Run(t, func(t testing.TB) connection.Conn { return m.Dial(t, k, m.Address, "web-1") })
	})
	t.Run("a shared link", func(t *testing.T) {
		r := agent.NewRouter(k.Dialer(m.Address))
		// One that stays, so that the link does.
		stays, err := r.Dial(soon(t), "web-1")
		if err != nil {
			t.Fatal(err)
		}
		defer stays.Close()
		conntest.Run(t, func(t testing.TB) connection.Conn {
			c, err := r.Dial(t.Context(), "web-1")
			if err != nil {
				t.Fatal(err)
			}
			return c
		})
	})
}

// TestLost loses each of the two links, in each way.
func TestLost(t *testing.T) {
	for name, fault := range map[string]func(*faultproxy.Proxy){
		"cut": (*faultproxy.Proxy).Cut, "reset": (*faultproxy.Proxy).Reset, "silent": (*faultproxy.Proxy).Blackhole,
	} {
		for _, agents := range []bool{true, false} {
			side := "controller"
			if agents {
				side = "agent"
			}
			t.Run(side+" "+name, func(t *testing.T) {
				t.Parallel()
				beat := 2 * time.Second // on a busy machine, too
				if name == "silent" {
					beat = 300 * time.Millisecond // the tests wait for three
				}
				m := agenttest.Start(t, master.Options{Beat: beat})
				k := m.User("op", master.Operator)
				conntest.Lost(t, func(t testing.TB) (connection.Conn, func()) {
					proxy := faultproxy.Start(t, m.Address)
					lose := func() { fault(proxy); proxy.Refuse(true) }
					address := m.Address
					n := "host-" + strconv.Itoa(proxy.Port())
					if agents {
						m.StartAgent(m.Enrol(n), n, proxy.Addr())
					} else {
						m.StartAgent(m.Enrol(n), n, "")
						address = proxy.Addr()
					}
					m.Await(n, agent.StateActive)
					return m.Dial(t, k, address, n), lose
				})
			})
		}
	}
}
