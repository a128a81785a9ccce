package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
	"github.com/sloth-runner/sloth/state/etcd/etcdtest"
)

// masters are two masters that share an etcd, agents that know both, and a
// controller that is logged in to both, all in processes of their own.
type masters struct {
	*controller
	etcd      *etcdtest.Cluster
	addresses []string
	processes []*exec.Cmd
	said      []*bytes.Buffer
	agents    []string
	exits     map[string]chan struct{} // closed when an agent has ended
}

func newMasters(t *testing.T, agents, nodes int, script string) *masters {
	t.Helper()
	m := &masters{etcd: etcdtest.Start(t, etcdtest.Options{Nodes: nodes}), controller: newController(t, 0, script), exits: map[string]chan struct{}{}}
	m.processes, m.said = make([]*exec.Cmd, 2), make([]*bytes.Buffer, 2)
	t.Cleanup(func() {
		for i := range m.processes {
			m.kill(i)
			if t.Failed() {
				t.Logf("master %d said:\n%s", i, m.said[i])
			}
		}
	})
	for range m.processes {
		m.addresses = append(m.addresses, net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t))))
	}
	m.startMaster(0)
	text, err := pki.Export(filepath.Join(m.dir, "m0"))
	if err == nil {
		_, err = pki.Import(filepath.Join(m.dir, "m1"), text)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.startMaster(1)
	m.write("token", firstLine(m.must("agent", "token", "--user", "ann", "--role", "admin", "--master", m.addresses[0])))
	m.must("login", m.both(), "--name", "ann", "--token-file", "token")
	for i := range agents {
		name := fmt.Sprintf("nat-%d", i+1)
		m.agents = append(m.agents, name)
		// Every second one begins with the other master.
		at := slices.Clone(m.addresses)
		if i%2 == 1 {
			slices.Reverse(at)
		}
		m.write("token-"+name, firstLine(m.must("agent", "token", name)))
		m.startAgent(name, strings.Join(at, ","), "--token-file", filepath.Join(m.dir, "token-"+name))
	}
	for _, name := range m.agents {
		m.awaitState(name, "Active")
	}
	return m
}

func (m *masters) both() string { return strings.Join(m.addresses, ",") }

func (m *masters) write(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *masters) must(args ...string) string {
	m.t.Helper()
	code, out := m.sloth(args...)
	if code != 0 {
		m.t.Fatalf("%v: exit code %d\n%s", args, code, out)
	}
	return out
}

func (m *masters) await(what string, ok func() bool) {
	m.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(30 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatalf("still not: %s", what)
		}
	}
}

func (m *masters) startMaster(i int) {
	m.t.Helper()
	_, port, _ := net.SplitHostPort(m.addresses[i])
	m.processes[i], m.said[i] = m.start("master", "start", "--bind-address", "127.0.0.1", "--port", port, "--heartbeat", "500ms", "--health-address", "off",
		"--dir", fmt.Sprintf("m%d", i), "--state", "etcd://"+strings.Join(m.etcd.Hosts, ",")+"/team")
	m.await("the master listens", func() bool {
		c, err := net.Dial("tcp", m.addresses[i])
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill ends a master as kill -9 does.
func (m *masters) kill(i int) {
	if p := m.processes[i]; p != nil {
		_ = p.Process.Kill()
		_ = p.Wait()
		m.processes[i] = nil
	}
}

func (m *masters) home(name string) string { return filepath.Join(m.dir, "home-"+name) }

func (m *masters) startAgent(name, at string, more ...string) {
	m.t.Helper()
	home := m.home(name)
	if err := os.MkdirAll(home, 0o700); err != nil {
		m.t.Fatal(err)
	}
	cmd, out := exec.Command(m.program, append([]string{"agent", "start", "--name", name, "--master", at, "--reconnect-first", "50ms", "--reconnect-longest", "400ms"}, more...)...), &bytes.Buffer{}
	cmd.Dir, cmd.Stdout, cmd.Stderr = home, out, out
	cmd.Env = append(slices.Clone(m.env), "HOME="+home, "XDG_STATE_HOME="+filepath.Join(home, "state"))
	cmd.WaitDelay = time.Second // what it starts holds its output open
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	exit := make(chan struct{})
	m.exits[name] = exit
	go func() {
		_ = cmd.Wait() // its log says why
		close(exit)
	}()
	m.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exit
		if m.t.Failed() {
			m.t.Logf("log of %s:\n%s", name, out)
		}
	})
}

// awaitState waits until both masters say it.
func (m *masters) awaitState(name, state string) {
	m.t.Helper()
	for i, at := range m.addresses {
		if m.processes[i] == nil {
			continue
		}
		m.await(name+" is "+state+" at "+at, func() bool {
			_, out := m.sloth("agent", "list", "--master", at)
			for line := range strings.Lines(out) {
				if f := strings.Fields(line); len(f) > 2 && f[0] == name && f[2] == state {
					return true
				}
			}
			return false
		})
	}
}

func (m *masters) listed() (list []agent.Status) {
	m.t.Helper()
	if err := json.Unmarshal([]byte(m.must("agent", "list", "--output", "json")), &list); err != nil {
		m.t.Fatal(err)
	}
	return list
}

func (m *masters) lines(name string) string {
	b, err := os.ReadFile(filepath.Join(m.home(name), "lines"))
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	return string(b)
}

// A master that is killed while steps run: its agents go to the other one, the
// controller follows, and every step runs once, in order.
func TestAMasterIsKilled(t *testing.T) {
	steps, agents, rounds := 60, 3, 1
	if s := os.Getenv("SLOTH_STORMS"); s != "" {
		rounds, _ = strconv.Atoi(s)
		agents, steps = 6, 150
	}
	script, want := appendLines(steps)
	m := newMasters(t, agents, 1, script)
	inv := "web:\n  hosts:\n"
	for _, name := range m.agents {
		inv += fmt.Sprintf("    %s: {connection: agent}\n", name)
	}
	m.write("hosts.yaml", inv)
	for round := range rounds {
		began := time.Now()
		victim := round % 2
		for _, name := range m.agents {
			os.Remove(filepath.Join(m.home(name), "lines"))
		}
		cmd, out := m.start("apply", "-i", "hosts.yaml", "site.sloth")
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		m.await("all have begun", func() bool {
			return !slices.ContainsFunc(m.agents, func(name string) bool { return strings.Count(m.lines(name), "\n") < 5 })
		})
		m.kill(victim)
		killed := time.Since(began)
		if !slices.ContainsFunc(m.agents, func(name string) bool { return m.lines(name) != want }) {
			t.Errorf("round %d: all was done before the master was killed", round)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("round %d: %v\n%s", round, err, out)
			}
		case <-time.After(2 * time.Minute):
			_ = cmd.Process.Kill()
			<-ended
			t.Fatalf("round %d: the run does not end\n%s", round, out)
		}
		for _, name := range m.agents {
			if got := m.lines(name); got != want {
				t.Errorf("round %d: %s has\n%s", round, name, got)
			}
		}
		for _, name := range m.agents {
			m.awaitState(name, "Active")
		}
		t.Logf("round %d: killed after %s, done after %s", round, killed.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		m.startMaster(victim)
		for _, name := range m.agents {
			m.awaitState(name, "Active")
		}
	}
	// Each master reaches every agent, wherever it is; what was decided at one
	// holds at the other.
	for _, at := range m.addresses {
		if out := m.must("agent", "run", "nat-*", "echo out", "--master", at); strings.Count(out, "out") == 0 {
			t.Errorf("over %s:\n%s", at, out)
		}
	}
	var where string
	for _, s := range m.listed() {
		if s.Name == "nat-1" {
			where = s.Master
		}
	}
	other := m.addresses[0]
	if where == other {
		other = m.addresses[1]
	}
	m.must("agent", "delete", "nat-1", "--master", other)
	select {
	case <-m.exits["nat-1"]:
	case <-time.After(5 * time.Second):
		t.Errorf("the agent at %s goes on 5 s after it was deleted at %s", where, other)
	}
}

// Without a quorum of etcd agents stay, and what runs goes on; what would
// change something says why it can't.
func TestMastersWithoutQuorum(t *testing.T) {
	m := newMasters(t, 2, 3, "")
	m.etcd.Kill(0)
	m.etcd.Kill(1)
	for _, at := range m.addresses {
		if out := m.must("agent", "run", "nat-*", "echo out", "--master", at); !strings.Contains(out, "out") {
			t.Errorf("over %s:\n%s", at, out)
		}
	}
	code, out := m.sloth("agent", "token", "web-1")
	if code != 1 && code != 4 || !strings.Contains(out, "what the masters share can't be reached, so nothing can be changed; try again when it answers: ") || !strings.Contains(out, "has no quorum: 1 of 3 hosts answer and know no leader") {
		t.Errorf("a token without a quorum: exit code %d\n%s", code, out)
	}
	m.etcd.Restart(t, 0)
	m.await("tokens can be made again", func() bool {
		code, _ := m.sloth("agent", "token", "web-1")
		return code == 0
	})
}
