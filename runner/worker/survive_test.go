package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/faultproxy"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/shim/shimtest"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// durable is a host behind a bad network, and a session with it that comes back.
type durable struct {
	*sshdtest.Server
	t     *testing.T
	proxy *faultproxy.Proxy
	pool  *connection.Pool
	opt   shim.Options
	*shim.Session
}

var runKey = bytes.Repeat([]byte{9}, 32)

func startDurable(t *testing.T, change ...func(*shim.Options)) *durable {
	t.Helper()
	s := sshdtest.Start(t, sshdtest.Options{})
	d := ssh.NewDialer(ssh.Config{ConfigFile: "none"})
	pool := connection.NewPool(d.Dial, connection.PoolOptions{})
	t.Cleanup(func() { pool.Close(); d.Close() })
	h := &durable{Server: s, t: t, pool: pool, proxy: faultproxy.Start(t, s.Addr())}
	target := h.proxy.Target(s.Target())
	h.opt = shim.Options{Host: s.Name, RunID: "run-" + t.Name()[:min(len(t.Name()), 40)], Binaries: shimtest.Binaries(t),
		Durable: &wire.Durable{Key: runKey, Owner: "tester"}, ReconnectFor: 30 * time.Second,
		Redial: func(ctx context.Context, broken connection.Conn) (connection.Conn, error) {
			broken.Close()
			return pool.Get(ctx, target)
		}}
	h.opt.RunID = strings.Map(func(r rune) rune {
		if r == '/' || r == '#' {
			return '-'
		}
		return r
	}, h.opt.RunID)
	for _, f := range change {
		f(&h.opt)
	}
	// The shim is there before anything is broken.
	h.open(target)
	if _, err := h.Welcome(before(t)); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *durable) open(target connection.Target) {
	h.t.Helper()
	c, err := h.pool.Get(before(h.t), target)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.Session, err = shim.Open(before(h.t), c, h.opt); err != nil {
		h.t.Fatal(err)
	}
	s := h.Session
	h.t.Cleanup(func() { s.Close() })
}

func (h *durable) run(id string, e shim.Handler, seg step.Segment) ([]step.Result, error) {
	seg.ID = id
	return results(h.Do(before(h.t), shim.Job{ID: id, Kind: "segment", Body: seg}, e))
}

func results(body []byte, err error) ([]step.Result, error) {
	if err != nil {
		return nil, err
	}
	var out []step.Result
	return out, packed.Unmarshal(body, &out)
}

// appending is n steps that each append their number to $HOME/lines.
func appending(n int) (steps []step.Spec, want string) {
	for i := range n {
		steps = append(steps, step.Spec{ID: fmt.Sprint("s", i), Task: fmt.Sprint("t", i), Shell: fmt.Sprintf("echo %d >> $HOME/lines", i)})
		want += fmt.Sprintln(i)
	}
	return steps, want
}

func (h *durable) lines() string {
	b, err := os.ReadFile(filepath.Join(h.Home, "lines"))
	if err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	return string(b)
}

func (h *durable) runFolder() string {
	return filepath.Join(h.Home, ".local/state/sloth/runs", h.opt.RunID)
}

// A cut at any byte of the conversation, either way, changes nothing: every step
// runs once, in order, and its result and its event arrive once.
func TestFault01CutAtAnyByte(t *testing.T) {
	for _, way := range []struct {
		name string
		d    faultproxy.Direction
		most int
	}{{"to the host", faultproxy.ToServer, 6000}, {"from the host", faultproxy.ToClient, 9000}} {
		for _, rude := range []bool{false, true} {
			t.Run(fmt.Sprint(way.name, rude), func(t *testing.T) {
				t.Parallel()
				h := startDurable(t)
				for at := 0; at < way.most; at += everyOr(t, way.most/8) {
					if err := os.RemoveAll(filepath.Join(h.Home, "lines")); err != nil {
						t.Fatal(err)
					}
					if rude {
						h.proxy.ResetAfter(int64(at), way.d)
					} else {
						h.proxy.CutAfter(int64(at), way.d)
					}
					steps, want := appending(10)
					var e said
					got, err := h.run(fmt.Sprint("job", at), &e, step.Segment{Steps: steps})
					if err != nil {
						t.Fatalf("cut at %d: %v", at, err)
					}
					for i, r := range got {
						if r.Status != event.Success {
							t.Errorf("cut at %d: step %d: %+v", at, i, r)
						}
					}
					if h.lines() != want {
						t.Fatalf("cut at %d: the host has %q", at, h.lines())
					}
					if n := e.count("task_done"); n != 10 {
						t.Errorf("cut at %d: %d ends of steps arrived", at, n)
					}
					if at%300 == 0 {
						t.Logf("up to byte %d", at)
					}
				}
			})
		}
	}
}

func (e *said) count(kind string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, v := range e.all {
		if event.Kind(v) == kind {
			n++
		}
	}
	return n
}

// Output that a long step prints while nobody listens arrives later.
func TestAStepGoesOnWithoutItsLink(t *testing.T) {
	t.Parallel()
	h := startDurable(t)
	var e said
	seg := step.Segment{Steps: []step.Spec{{ID: "s", Task: "t", Shell: "echo before; touch $HOME/begun; until [ -e $HOME/go ]; do sleep 0.02; done; echo after"}}}
	type outcome struct {
		r   []step.Result
		err error
	}
	done := make(chan outcome, 1)
	go func() { r, err := h.run("j", &e, seg); done <- outcome{r, err} }()
	await(t, "the step has begun", func() bool { return exists(filepath.Join(h.Home, "begun")) })
	h.proxy.Refuse(true)
	h.proxy.Cut()
	if err := os.WriteFile(filepath.Join(h.Home, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	await(t, "the journal has the step's end", func() bool {
		b, _ := os.ReadFile(filepath.Join(h.runFolder(), "journal"))
		return len(b) > 400
	})
	h.proxy.Refuse(false)
	got := <-done
	if got.err != nil || got.r[0].Status != event.Success || e.output() != "before\nafter\n" {
		t.Fatalf("%+v %v %q", got.r, got.err, e.output())
	}
	s := h.Session
	s.Close()
	await(t, "nothing is left of a run that ended well", func() bool { return !exists(h.runFolder()) })
}

// A worker that is killed leaves its journal: the step in flight is not guessed
// at, what was done is known, and the session goes on.
func TestFault04AKilledWorkerLeavesItsJournal(t *testing.T) {
	t.Parallel()
	h := startDurable(t)
	w, err := h.Welcome(before(t))
	if err != nil || w.Kept != h.runFolder() || w.Unkept != "" {
		t.Fatalf("%+v %v", w, err)
	}
	steps, _ := appending(2)
	steps = append(steps, step.Spec{ID: "flight", Task: "flight", Shell: "touch $HOME/begun; sleep 100"}, step.Spec{ID: "after", Task: "after", Shell: "touch $HOME/never"})
	go func() {
		for range 1000 {
			if exists(filepath.Join(h.Home, "begun")) {
				break
			}
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // polls for the condition
		}
		_ = syscall.Kill(w.PID, syscall.SIGKILL)
	}()
	_, err = h.run("j", &said{}, step.Segment{Steps: steps})
	var lost *shim.Lost
	if !errors.As(err, &lost) || lost.Blind || lost.Rebooted {
		t.Fatalf("%v", err)
	}
	state := map[string]bool{}
	for _, f := range lost.Found {
		state[f.Step] = f.Ended
	}
	if len(state) != 3 || !state["s0"] || !state["s1"] || state["flight"] {
		t.Errorf("the journal says %v", state)
	}
	if exists(filepath.Join(h.Home, "never")) {
		t.Error("a step behind the one in flight ran")
	}
	got, err := h.run("k", &said{}, step.Segment{Steps: []step.Spec{{ID: "again", Task: "t", Shell: "echo back"}}})
	if err != nil || got[0].Status != event.Success {
		t.Errorf("%+v %v", got, err)
	}
}

// A controller that died is followed by another, which takes over what runs.
func TestFault06AnotherControllerTakesOver(t *testing.T) {
	t.Parallel()
	h := startDurable(t)
	steps, want := appending(3)
	steps = append(steps, step.Spec{ID: "wait", Task: "wait", Shell: "touch $HOME/begun; until [ -e $HOME/go ]; do sleep 0.02; done"})
	go func() { _, _ = h.run("j", &said{}, step.Segment{Steps: steps}) }() // its outcome is the other's
	await(t, "the last step has begun", func() bool { return exists(filepath.Join(h.Home, "begun")) })
	if err := h.Leave(); err != nil {
		t.Fatal(err)
	}

	e := &said{}
	resumed := *h.opt.Durable
	resumed.Resume = true
	h.opt.Durable, h.opt.Adopt = &resumed, map[string]shim.Handler{"j": e, "never": e}
	h.open(h.proxy.Target(h.Target()))
	if err := os.WriteFile(filepath.Join(h.Home, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := results(h.Adopted(before(t), "j"))
	if err != nil || len(got) != 4 || got[3].Status != event.Success || h.lines() != want {
		t.Fatalf("%+v %v %q", got, err, h.lines())
	}
	var lost *shim.Lost
	if _, err := h.Adopted(before(t), "never"); !errors.As(err, &lost) || len(lost.Found) > 0 || lost.Blind {
		t.Errorf("a job that never arrived: %v", err)
	}
}

// Nobody goes on with a run who does not have its key, or whose journal was
// changed.
func TestFault10ARunBelongsToItsKey(t *testing.T) {
	t.Parallel()
	h := startDurable(t)
	steps, _ := appending(1)
	if _, err := h.run("j", &said{}, step.Segment{Steps: steps}); err != nil {
		t.Fatal(err)
	}
	if err := h.Leave(); err != nil {
		t.Fatal(err)
	}
	refused := func(want string, d wire.Durable) {
		t.Helper()
		o := h.opt
		o.Durable, o.ReconnectFor = &d, 5*time.Second
		c, err := h.pool.Get(before(t), h.proxy.Target(h.Target()))
		if err != nil {
			t.Fatal(err)
		}
		s, err := shim.Open(before(t), c, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Do(before(t), shim.Job{ID: "x", Kind: "facts", Body: []string{}}, &said{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	other := bytes.Repeat([]byte{1}, 32)
	refused("this run belongs to somebody else", wire.Durable{Key: other, Resume: true})
	// The worker is gone, and its journal with another key is no better.
	w, err := h.Welcome(before(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(w.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "the worker is gone", func() bool { return isGone(w.PID) })
	refused("the journal is not of this run", wire.Durable{Key: other, Resume: true})
	file := filepath.Join(h.runFolder(), "journal")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-40] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("the journal was changed", wire.Durable{Key: runKey, Resume: true})
}
