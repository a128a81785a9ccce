package worker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/shim/shimtest"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// rig is a server with a worker on it.
type rig struct {
	*sshdtest.Server
	t    *testing.T
	conn connection.Conn
	opt  shim.Options
	*shim.Session
}

func rigUp(t *testing.T, o sshdtest.Options, change ...func(*shim.Options)) *rig {
	t.Helper()
	s := sshdtest.Start(t, o)
	h := &rig{Server: s, t: t, opt: shim.Options{Host: s.Name, RunID: "test", Binaries: shimtest.Binaries(t)}}
	for _, f := range change {
		f(&h.opt)
	}
	d := ssh.NewDialer(ssh.Config{ConfigFile: "none"})
	c, err := d.Dial(t.Context(), h.Target())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); d.Close() })
	h.conn = c
	h.open()
	return h
}

func (h *rig) open() {
	h.t.Helper()
	var err error
	if h.Session, err = shim.Open(before(h.t), h.conn, h.opt); err != nil {
		h.t.Fatal(err)
	}
	s := h.Session
	h.t.Cleanup(func() { s.Close() })
}

func before(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// said keeps what steps say.
type said struct {
	mu  sync.Mutex
	all []event.Event
}

func (e *said) Event(kind string, body []byte) {
	v, err := event.Decode(kind, body)
	if err != nil {
		v = event.Log{Level: "error", Message: err.Error()}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, v)
}

func (e *said) Call(context.Context, string, []byte) ([]byte, error) {
	return nil, errors.New("no calls")
}

func (e *said) output() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	for _, v := range e.all {
		if o, ok := v.(event.Output); ok {
			b.Write(o.Data)
		}
	}
	return b.String()
}

var jobCount int
var jobCountMu sync.Mutex

func nextJob() string {
	jobCountMu.Lock()
	defer jobCountMu.Unlock()
	jobCount++
	return fmt.Sprintf("job-%d", jobCount)
}

// segment runs steps and returns their results.
func (h *rig) segment(ctx context.Context, id string, e *said, seg step.Segment) ([]step.Result, error) {
	seg.ID = id
	body, err := h.Do(ctx, shim.Job{ID: id, Kind: "segment", Body: seg}, e)
	if err != nil {
		return nil, err
	}
	var results []step.Result
	return results, packed.Unmarshal(body, &results)
}

// sh runs one shell step that must succeed and returns what it printed.
func (h *rig) sh(script string, change ...func(*step.Spec)) string {
	h.t.Helper()
	out, res := h.try(script, change...)
	if res.Status != event.Success {
		h.t.Fatalf("%s: %s: %+v", script, res.Status, res.Failure)
	}
	return out
}

func (h *rig) try(script string, change ...func(*step.Spec)) (string, step.Result) {
	h.t.Helper()
	spec := step.Spec{ID: "s", Task: "t", Shell: script}
	for _, f := range change {
		f(&spec)
	}
	var e said
	results, err := h.segment(before(h.t), nextJob(), &e, step.Segment{Steps: []step.Spec{spec}})
	if err != nil {
		h.t.Fatalf("%s: %v", script, err)
	}
	return e.output(), results[0]
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// pidsIn reads the process ids that a script wrote, one a line.
func pidsIn(t *testing.T, file string, n int) []int {
	t.Helper()
	var out []int
	await(t, fmt.Sprintf("%d pids in %s", n, file), func() bool {
		b, _ := os.ReadFile(file)
		out = nil
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				out = append(out, pid)
			}
		}
		return len(out) == n && strings.HasSuffix(string(b), "\n")
	})
	return out
}

func isGone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil {
		_, rest, _ := strings.Cut(string(b), ") ")
		return strings.HasPrefix(rest, "Z")
	}
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func TestWelcomeSaysWhoIsThere(t *testing.T) {
	h := rigUp(t, sshdtest.Options{})
	w, err := h.Welcome(before(t))
	if err != nil {
		t.Fatal(err)
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if w.UID != os.Getuid() || w.Home != h.Home || w.BootID != strings.TrimSpace(string(boot)) || !strings.HasPrefix(w.Shim, "shim-") {
		t.Errorf("%+v", w)
	}
}

func TestTheLoginsOwnUmaskAndNoTerminal(t *testing.T) {
	h := rigUp(t, sshdtest.Options{})
	if got := h.sh("umask; tty || true; echo $HOME"); got != "0022\nnot a tty\n"+h.Home+"\n" {
		t.Errorf("got %q", got)
	}
}

func TestFault63APlanWritesNothingBesideTheShim(t *testing.T) {
	h := rigUp(t, sshdtest.Options{}, func(o *shim.Options) { o.Check = true })
	file := filepath.Join(h.Home, "new")
	spec := step.Spec{ID: "s", Task: "t", Call: "file_ops.copy", Args: map[string]any{"content": "x", "dest": file}}
	seg := step.Segment{Check: true, Steps: []step.Spec{spec, {ID: "s2", Task: "t2", Call: "file_ops.copy", Args: map[string]any{"content": "x", "dest": file}}}}
	results, err := h.segment(before(t), nextJob(), &said{}, seg)
	if err != nil || len(results) != 2 || !results[0].Changed || results[0].Status != event.Success {
		t.Fatalf("%+v %v", results, err)
	}
	// The second sees what the first planned, also in another job.
	again, err := h.segment(before(t), nextJob(), &said{}, seg)
	if err != nil || results[1].Changed || again[0].Changed {
		t.Errorf("%+v %+v %v", results[1], again, err)
	}
	h.Session.Close()
	var found []string
	err = filepath.WalkDir(h.Home, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, strings.TrimPrefix(path, h.Home))
		}
		return err
	})
	if err != nil || len(found) != 1 || !strings.HasPrefix(found[0], "/.cache/sloth/shim-") {
		t.Error(found, err)
	}
}

func TestOneStepCanBeCancelled(t *testing.T) {
	h := rigUp(t, sshdtest.Options{})
	file := filepath.Join(t.TempDir(), "pids")
	id := nextJob()
	done := make(chan []step.Result, 1)
	go func() {
		results, err := h.segment(before(t), id, &said{}, step.Segment{Steps: []step.Spec{
			{ID: "a", Task: "a", Shell: "echo $$ > " + file + "; sleep 1000"},
			{ID: "b", Task: "b", Shell: "true"},
			{ID: "c", Task: "c", Shell: "true"},
		}})
		if err != nil {
			t.Error(err)
		}
		done <- results
	}()
	pidsIn(t, file, 1)
	for _, s := range []string{"b", "a"} {
		if err := h.Cancel(id, s, true); err != nil {
			t.Fatal(err)
		}
	}
	r := <-done
	if r[0].Status != event.Cancelled || r[0].NotRun || r[1].Status != event.Cancelled || !r[1].NotRun || r[2].Status != event.Success {
		t.Errorf("%+v", r)
	}
}

func TestTheEndOfTheLinkEndsWhatRuns(t *testing.T) {
	for name, end := range map[string]func(h *rig){
		"cut":    func(h *rig) { h.Cut() },
		"closed": func(h *rig) { h.Session.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			h := rigUp(t, sshdtest.Options{})
			w, err := h.Welcome(before(t))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "pids")
			failed := make(chan error, 1)
			go func() {
				_, err := h.segment(before(t), nextJob(), &said{}, step.Segment{Steps: []step.Spec{{ID: "a", Task: "a", Shell: "echo $$ > " + file + "; sleep 1000; true"}}})
				failed <- err
			}()
			ids := append(pidsIn(t, file, 1), w.PID)
			end(h)
			err = <-failed
			var c *connection.Error
			if name == "cut" && (!errors.As(err, &c) || c.Class != connection.ClassTCP) {
				t.Errorf("got %v", err)
			}
			for _, pid := range ids {
				await(t, fmt.Sprintf("%d is gone", pid), func() bool { return isGone(pid) })
			}
		})
	}
}

func TestAKilledWorkerIsToldFromABrokenLink(t *testing.T) {
	h := rigUp(t, sshdtest.Options{})
	w, err := h.Welcome(before(t))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pids")
	failed := make(chan error, 1)
	go func() {
		_, err := h.segment(before(t), nextJob(), &said{}, step.Segment{Steps: []step.Spec{{ID: "a", Task: "a", Shell: "echo $$ > " + file + "; sleep 1000; true"}}})
		failed <- err
	}()
	ids := pidsIn(t, file, 1)
	if err := syscall.Kill(w.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	err = <-failed
	var c *connection.Error
	if !errors.As(err, &c) || c.Class != connection.ClassShim || !strings.Contains(err.Error(), "the worker was killed by signal killed") {
		t.Errorf("got %v", err)
	}
	_ = syscall.Kill(-ids[0], syscall.SIGKILL)
}

func TestManyJobsAtOnceAndMuchOutput(t *testing.T) {
	h := rigUp(t, sshdtest.Options{})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			var e said
			script := fmt.Sprintf("echo %d; head -c 300000 /dev/zero | tr '\\0' x", i)
			r, err := h.segment(before(t), fmt.Sprintf("many-%d", i), &e, step.Segment{Steps: []step.Spec{{ID: "s", Task: "t", Shell: script}}})
			if err != nil || r[0].Status != event.Success || len(e.output()) != 300000+len(fmt.Sprint(i))+1 || !strings.HasPrefix(e.output(), fmt.Sprint(i)+"\n") {
				t.Errorf("job %d: %v %d bytes", i, err, len(e.output()))
			}
		})
	}
	wg.Wait()
}

func TestTheLastJobEndsTheWorker(t *testing.T) {
	h := rigUp(t, sshdtest.Options{})
	w, err := h.Welcome(before(t))
	if err != nil {
		t.Fatal(err)
	}
	seg := step.Segment{ID: "last", Steps: []step.Spec{{ID: "s", Task: "t", Shell: "echo last"}}}
	if _, err := h.Do(before(t), shim.Job{ID: "last", Kind: "segment", Body: seg, Last: true}, &said{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the worker is gone", func() bool { return isGone(w.PID) })
}

func TestAFrontDoesNotInitialiseWhatItDoesNotNeed(t *testing.T) {
	data, _, err := shimtest.Binaries(t).For(runtime.GOOS, runtime.GOARCH)
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "shim")
	if err := os.WriteFile(path, data, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(before(t), path, "front")
	cmd.Env = []string{"GODEBUG=inittrace=1"}
	trace := &strings.Builder{}
	cmd.Stderr = trace
	_ = cmd.Run() // the worker finds its input at its end
	for name, want := range map[string]int{"init os @": 2, "init github.com/sloth-runner/sloth/modules/data @": 1, "init github.com/yuin/gopher-lua @": 1} {
		if n := strings.Count(trace.String(), name); n != want {
			t.Errorf("%q happens %d times, want %d: once in the worker\n%s", name, n, want, trace)
		}
	}
}
