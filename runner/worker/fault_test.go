package worker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// everyOr is the distance of the places that a systematic test tries: what is
// sampled, or the number in SLOTH_EVERY_BYTE (1: all of them).
func everyOr(t *testing.T, sampled int) int {
	s := os.Getenv("SLOTH_EVERY_BYTE")
	if s == "" {
		return sampled
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("SLOTH_EVERY_BYTE=%s is no distance", s)
	}
	return n
}

// A link that breaks while the shim is being put there is made again, and only a
// whole shim gets its name.
func TestFault03CutDuringTheUpload(t *testing.T) {
	data, hash, err := shimtest.Binaries(t).For("linux", "amd64")
	if err != nil {
		t.Skip(err)
	}
	for _, part := range []int64{0, 1, 40, 99} {
		t.Run(fmt.Sprint(part, "%"), func(t *testing.T) {
			t.Parallel()
			s := sshdtest.Start(t, sshdtest.Options{})
			d := ssh.NewDialer(ssh.Config{ConfigFile: "none"})
			pool := connection.NewPool(d.Dial, connection.PoolOptions{})
			t.Cleanup(func() { pool.Close(); d.Close() })
			proxy := faultproxy.Start(t, s.Addr())
			target := proxy.Target(s.Target())
			h := &durable{Server: s, t: t, pool: pool, proxy: proxy}
			h.opt = shim.Options{Host: s.Name, RunID: "upload", Binaries: shimtest.Binaries(t), Durable: &wire.Durable{Key: runKey}, ReconnectFor: 30 * time.Second,
				Redial: func(ctx context.Context, broken connection.Conn) (connection.Conn, error) {
					broken.Close()
					return pool.Get(ctx, target)
				}}
			cut := proxy.CutAfter(8000+int64(len(data))*part/100, faultproxy.ToServer)
			h.open(target)
			steps, want := appending(2)
			got, err := h.run("j", &said{}, step.Segment{Steps: steps})
			var lost *shim.Lost
			if errors.As(err, &lost) && !lost.Blind && len(lost.Found) == 0 {
				got, err = h.run("k", &said{}, step.Segment{Steps: steps}) // nothing had begun
			}
			if err != nil || len(got) != 2 || h.lines() != want {
				t.Fatalf("%+v %v %q", got, err, h.lines())
			}
			select {
			case <-cut:
			default:
				t.Error("nothing was cut")
			}
			st, err := os.Stat(filepath.Join(h.Home, ".cache/sloth/shim-"+hash))
			if err != nil || st.Size() != int64(len(data)) {
				t.Error(st, err)
			}
		})
	}
}

// killWorker kills the worker of the host and waits until it is gone.
func (h *durable) killWorker() {
	h.t.Helper()
	pid := h.now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	await(h.t, "the worker is gone", func() bool { return isGone(pid) })
}

// leaveInFlight gives the host two steps, and leaves during the second.
func (h *durable) leaveInFlight() wire.Welcome {
	h.t.Helper()
	w, err := h.Welcome(before(h.t))
	if err != nil {
		h.t.Fatal(err)
	}
	steps, _ := appending(1)
	steps = append(steps, step.Spec{ID: "wait", Task: "wait", Shell: "touch $HOME/begun; sleep 100"})
	go func() { _, _ = h.run("j", &said{}, step.Segment{Steps: steps}) }() // its outcome is the next one's
	await(h.t, "the last step has begun", func() bool { return exists(filepath.Join(h.Home, "begun")) })
	if err := h.Leave(); err != nil {
		h.t.Fatal(err)
	}
	return w
}

// A run that is resumed where another machine answers, or where its journal is
// gone, does not take steps for never begun.
func TestFault48AResumedRunKnowsItsMachine(t *testing.T) {
	t.Parallel()
	h := startDurable(t)
	w := h.leaveInFlight()
	resumed := *h.opt.Durable
	resumed.Resume = true
	h.opt.Durable, h.opt.Adopt = &resumed, map[string]shim.Handler{"j": &said{}}

	h.opt.Expect = &shim.Identity{MachineID: "0123456789abcdef", Kept: true}
	h.open(h.proxy.Target(h.Target()))
	_, err := h.Adopted(before(t), "j")
	var c *connection.Error
	if !errors.As(err, &c) || c.Class != connection.ClassHostKey || !strings.Contains(err.Error(), "this is another machine") {
		t.Errorf("another machine: %v", err)
	}
	if _, err := h.run("k", &said{}, step.Segment{Steps: []step.Spec{{ID: "x", Task: "x", Shell: "touch $HOME/never"}}}); err == nil || exists(filepath.Join(h.Home, "never")) {
		t.Errorf("a step ran on another machine: %v", err)
	}

	h.killWorker()
	if err := os.RemoveAll(h.runFolder()); err != nil {
		t.Fatal(err)
	}
	h.opt.Expect = &shim.Identity{MachineID: w.MachineID, Kept: true}
	h.open(h.proxy.Target(h.Target()))
	_, err = h.Adopted(before(t), "j")
	var lost *shim.Lost
	if !errors.As(err, &lost) || !lost.Blind {
		t.Errorf("the journal is gone: %v, %+v", err, lost)
	}
	// What is new runs all the same.
	if got, err := h.run("k", &said{}, step.Segment{Steps: []step.Spec{{ID: "x", Task: "x", Shell: "true"}}}); err != nil || got[0].Status != event.Success {
		t.Errorf("%+v %v", got, err)
	}
}

// without takes record n out of a journal.
func without(text []byte, n int) []byte {
	at := 32 // magic and salt
	for ; n > 0; n-- {
		at += 4 + int(binary.BigEndian.Uint32(text[at:]))
	}
	return append(append([]byte{}, text[:at]...), text[at+4+int(binary.BigEndian.Uint32(text[at:])):]...)
}

// A cut, emptied or newer journal is not believed.
func TestFault10AJournalThatWasChanged(t *testing.T) {
	t.Parallel()
	h := startDurable(t)
	h.leaveInFlight()
	h.killWorker()
	file := filepath.Join(h.runFolder(), "journal")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	resumed := *h.opt.Durable
	resumed.Resume = true
	h.opt.Durable, h.opt.Adopt, h.opt.ReconnectFor = &resumed, map[string]shim.Handler{"j": &said{}}, 5*time.Second
	for _, c := range []struct {
		name, want string
		text       []byte
	}{
		{"empty", "the journal is not of this run", nil},
		{"only its head", "the journal is not of this run", whole[:40]},
		{"of another version", "the journal is of another version of sloth", append([]byte("sloth journal 9\n"), whole[16:]...)},
		{"a record taken out", "the journal was changed", without(whole, 1)},
	} {
		if err := os.WriteFile(file, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		h.open(h.proxy.Target(h.Target()))
		if _, err := h.Adopted(before(t), "j"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		h.Session.Close()
	}
	if h.lines() != "0\n" {
		t.Errorf("the host has %q", h.lines())
	}
}

// A link on which nothing arrives any more, and of whose end nobody is told, is
// given up and made anew; what ran meanwhile ran once.
func TestFault33ASilentLinkDuringASegment(t *testing.T) {
	t.Parallel()
	h := startDurable(t, func(o *shim.Options) { o.Silence = time.Second })
	for i, d := range []faultproxy.Direction{faultproxy.ToServer, faultproxy.ToClient} {
		if err := os.RemoveAll(filepath.Join(h.Home, "lines")); err != nil {
			t.Fatal(err)
		}
		lost := h.proxy.BlackholeAfter(int64(900+i*700), d)
		go func() { <-lost; h.proxy.Heal() }()
		steps, want := appending(10)
		var e said
		got, err := h.run(fmt.Sprint("j", i), &e, step.Segment{Steps: steps})
		if err != nil || len(got) != 10 || h.lines() != want || e.count("task_done") != 10 {
			t.Errorf("%+v %v %q", got, err, h.lines())
		}
	}
}

// Output that nobody takes does not keep a new link from being made.
func TestFault36AFloodOverALinkThatIsSilent(t *testing.T) {
	t.Parallel()
	h := startDurable(t, func(o *shim.Options) { o.Silence = time.Second })
	lost := h.proxy.BlackholeAfter(300_000, faultproxy.ToClient)
	go func() { <-lost; h.proxy.Heal() }()
	begun := time.Now()
	got, err := h.run("j", &said{}, step.Segment{Steps: []step.Spec{{ID: "s", Task: "t", Shell: "echo x >> $HOME/lines; head -c 40000000 /dev/zero | tr '\\0' a"}}})
	if err != nil || got[0].Status != event.Success || h.lines() != "x\n" {
		t.Fatalf("%v %q", err, h.lines())
	}
	if d := time.Since(begun); d > 15*time.Second {
		t.Errorf("it took %s", d)
	}
}

// watchJournal calls kill at the nth time that the journal has grown since now.
func (h *durable) watchJournal(ctx context.Context, n int, kill func()) (hit <-chan bool) {
	out := make(chan bool, 1)
	file := filepath.Join(h.runFolder(), "journal")
	size := func() int64 {
		st, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return st.Size()
	}
	last := size()
	go func() {
		for ctx.Err() == nil {
			if now := size(); now != last {
				if last, n = now, n-1; n <= 0 {
					kill()
					out <- true
					return
				}
			}
		}
		out <- false
	}()
	return out
}

// fronts are the processes that hold a link of this host's workers.
func (h *durable) fronts() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cmd, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if strings.HasPrefix(string(cmd), h.Home) && strings.Contains(string(cmd), "\x00front\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// With the worker killed at a write of the journal, no step that had ended is
// lost, none runs twice, and at most one is unknown.
func TestFault04TheWorkerKilledAtEveryWrite(t *testing.T) {
	t.Parallel()
	const n = 6
	h := startDurable(t)
	unknowns, hits := 0, 0
	for at := 1; at <= 2*n; at += everyOr(t, 3) {
		if err := os.RemoveAll(filepath.Join(h.Home, "lines")); err != nil {
			t.Fatal(err)
		}
		w := h.now()
		ctx, stop := context.WithCancel(t.Context())
		hit := h.watchJournal(ctx, at, func() { _ = syscall.Kill(w, syscall.SIGKILL) })
		left, _ := appending(n)
		for i := range left {
			left[i].ID = fmt.Sprint(at, "-", i)
			left[i].Shell = "sleep 0.003; " + left[i].Shell
		}
		unknown := map[string]bool{}
		for try := 0; len(left) > 0 && try < 5; try++ {
			job := fmt.Sprint("j", at, "-", try)
			_, err := h.run(job, &said{}, step.Segment{Steps: left})
			var lost *shim.Lost
			if err == nil {
				left = nil
				break
			}
			if !errors.As(err, &lost) || lost.Blind {
				t.Fatalf("write %d: %v", at, err)
			}
			begun := map[string]bool{}
			for _, f := range lost.Found {
				if f.Job == job {
					begun[f.Step] = true
					if !f.Ended {
						unknown[f.Step] = true
					}
				}
			}
			rest := left[:0:0]
			for _, s := range left {
				if !begun[s.ID] {
					rest = append(rest, s)
				}
			}
			left = rest
		}
		stop()
		if len(left) > 0 || len(unknown) > 1 {
			t.Fatalf("write %d: %d steps are left, %d are unknown", at, len(left), len(unknown))
		}
		unknowns += len(unknown)
		got, next := strings.Fields(h.lines()), 0
		for i := range n {
			if next < len(got) && got[next] == fmt.Sprint(i) {
				next++
			} else if !unknown[fmt.Sprint(at, "-", i)] {
				t.Fatalf("write %d: step %d is missing or doubled in %v", at, i, got)
			}
		}
		if next != len(got) {
			t.Fatalf("write %d: the host has %v", at, got)
		}
		if <-hit {
			hits++
		}
	}
	if hits == 0 {
		t.Error("nobody was killed")
	}
	t.Logf("%d kills, %d unknown steps", hits, unknowns)
}

// now is the process of the worker of now.
func (h *durable) now() int {
	h.t.Helper()
	var pids []int
	await(h.t, "there is one worker", func() bool { pids = workersAt(h.Home); return len(pids) == 1 })
	return pids[0]
}

func workersAt(home string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cmd, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if strings.HasPrefix(string(cmd), home) && strings.Contains(string(cmd), "\x00worker\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// With the front killed at a write of the journal nothing is lost at all.
func TestFault02TheFrontKilledAtEveryWrite(t *testing.T) {
	t.Parallel()
	h := startDurable(t)
	hits := 0
	for at := 1; at <= 12; at += everyOr(t, 4) {
		if err := os.RemoveAll(filepath.Join(h.Home, "lines")); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		hit := h.watchJournal(ctx, at, func() {
			for _, pid := range h.fronts() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		})
		steps, want := appending(6)
		var e said
		got, err := h.run(fmt.Sprint("j", at), &e, step.Segment{Steps: steps})
		stop()
		if err != nil || len(got) != 6 || h.lines() != want || e.count("task_done") != 6 {
			t.Fatalf("write %d: %+v %v %q", at, got, err, h.lines())
		}
		if <-hit {
			hits++
		}
	}
	if hits == 0 {
		t.Error("nobody was killed")
	}
}

// locking is a session that changes the host as its only one.
func (h *durable) locking(run string, wait time.Duration) *shim.Session {
	h.t.Helper()
	o := h.opt
	o.RunID = run
	o.Durable = &wire.Durable{Key: runKey, Run: run, Owner: "owner of " + run, Lock: true, LockWait: wait.Seconds()}
	c, err := h.pool.Get(before(h.t), h.proxy.Target(h.Target()))
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := shim.Open(before(h.t), c, o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { s.Close() })
	return s
}

func (e *said) has(text string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, v := range e.all {
		if l, ok := v.(event.Log); ok && strings.Contains(l.Message, text) {
			return true
		}
	}
	return false
}

// Of two runs on one host the second waits, and says for whom, or fails with a
// class of its own; the lock ends with the worker that holds it.
func TestFault09TwoRunsOnOneHost(t *testing.T) {
	t.Parallel()
	h := startDurable(t)
	one := func(s *shim.Session, e *said, script string) (step.Result, error) {
		r, err := results(s.Do(before(t), shim.Job{ID: "j", Kind: "segment", Body: step.Segment{ID: "j", Steps: []step.Spec{{ID: "s", Task: "t", Shell: script}}}}, e))
		if err != nil {
			return step.Result{}, err
		}
		return r[0], nil
	}
	type outcome struct {
		step.Result
		error
	}
	first, second := make(chan outcome, 1), make(chan outcome, 1)
	a := h.locking("run-a", 0)
	go func() { r, err := one(a, &said{}, "touch $HOME/begun; sleep 1000"); first <- outcome{r, err} }()
	await(t, "the first has begun", func() bool { return exists(filepath.Join(h.Home, "begun")) })
	w, err := a.Welcome(before(t))
	if err != nil {
		t.Fatal(err)
	}

	r, err := one(h.locking("run-c", 0), &said{}, "touch $HOME/never")
	if err != nil || r.Status != event.Failed || r.Failure == nil || r.Failure.Class != "lock" || !strings.Contains(r.Failure.Message, "the host is being changed by run run-a of owner of run-a since") {
		t.Errorf("who does not wait: %+v %+v %v", r, r.Failure, err)
	}
	var e said
	b := h.locking("run-b", time.Minute)
	go func() { r, err := one(b, &e, "echo after >> $HOME/lines"); second <- outcome{r, err} }()
	await(t, "the second says that it waits", func() bool { return e.has("waiting: the host is being changed by run run-a of owner of run-a") })
	if h.lines() != "" || exists(filepath.Join(h.Home, "never")) {
		t.Error("the host was changed under a lock")
	}
	if err := syscall.Kill(w.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := <-second; got.error != nil || got.Status != event.Success || h.lines() != "after\n" {
		t.Errorf("%+v %q", got, h.lines())
	}
	var lost *shim.Lost
	if got := <-first; !errors.As(got.error, &lost) {
		t.Errorf("%+v", got)
	}
}

// Users who become root are kept apart by root's lock.
func TestFault09TwoUsersWhoBecomeRoot(t *testing.T) {
	root, err := os.MkdirTemp("/var/lib", "workertest-")
	if err != nil {
		sshdtest.MustSkip(t, err.Error())
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	var sessions []*shim.Session
	for _, name := range []string{"run-a", "run-b"} {
		me := sshdtest.AddAccount(t, "")
		// Both see one home of root that is not this machine's.
		s := sshdtest.Start(t, sshdtest.Options{User: me.Name, RealHome: true, Wrapper: []string{"unshare", "-m", "/bin/sh", "-c", "mount --bind " + root + ` /root; exec "$@"`, "sh"}})
		(&rules{t, me, s}).sudoers("ME ALL=(ALL) NOPASSWD: ALL")
		d := ssh.NewDialer(ssh.Config{ConfigFile: "none"})
		c, err := d.Dial(t.Context(), s.Target())
		if err != nil {
			t.Fatal(err)
		}
		sess, err := shim.Open(before(t), c, shim.Options{Host: s.Name, RunID: name, Binaries: shimtest.Binaries(t),
			Durable: &wire.Durable{Key: runKey, Run: name, Owner: me.Name, Lock: true}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sess.Close(); c.Close(); d.Close() })
		sessions = append(sessions, sess)
	}
	one := func(s *shim.Session) step.Result {
		t.Helper()
		r, err := results(s.Do(before(t), shim.Job{ID: "j", Kind: "segment", Body: step.Segment{ID: "j", Steps: []step.Spec{{ID: "s", Task: "t", Shell: "id -un", Become: "root"}}}}, &said{}))
		if err != nil {
			t.Fatal(err)
		}
		return r[0]
	}
	if r := one(sessions[0]); r.Status != event.Success {
		t.Fatalf("%+v %+v", r, r.Failure)
	}
	// The first has the lock until its run is over.
	if r := one(sessions[1]); r.Status != event.Failed || r.Failure == nil || r.Failure.Class != "lock" || !strings.Contains(r.Failure.Message, "run run-a") {
		t.Errorf("%+v %+v", r, r.Failure)
	}
}
