package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/shim/shimtest"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// host is a real server with a worker on it.
type host struct {
	*sshdtest.Server
	t    *testing.T
	sess *shim.Session
}

func open(t *testing.T, s *sshdtest.Server, o shim.Options) *host {
	t.Helper()
	d := ssh.NewDialer(ssh.Config{ConfigFile: "none"})
	c, err := d.Dial(t.Context(), s.Target())
	if err != nil {
		t.Fatal(err)
	}
	o.Host, o.RunID, o.Binaries = s.Name, "test", shimtest.Binaries(t)
	sess, err := shim.Open(within(t), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sess.Close(); c.Close(); d.Close() })
	return &host{s, t, sess}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// heard collects the events of a job.
type heard struct {
	mu     sync.Mutex
	events []event.Event
	on     func(event.Event) // may be nil
}

func (h *heard) Event(kind string, body []byte) {
	e, err := event.Decode(kind, body)
	if err != nil {
		panic(err) // a worker of this very build
	}
	h.mu.Lock()
	h.events = append(h.events, e)
	h.mu.Unlock()
	if h.on != nil {
		h.on(e)
	}
}

func (*heard) Call(context.Context, string, []byte) ([]byte, error) {
	return nil, errors.New("nothing is served here")
}

func shell(id, script string, after ...string) step.Spec {
	return step.Spec{ID: id, Task: id, Shell: script, After: after}
}

// do runs a segment and gives its results by step.
func (h *host) do(ctx context.Context, hear *heard, seg step.Segment) (map[string]step.Result, error) {
	h.t.Helper()
	seg.ID, seg.Host = "seg-"+h.t.Name(), step.Host{Name: h.Name}
	body, err := h.sess.Do(ctx, shim.Job{ID: seg.ID, Kind: "segment", Body: seg}, hear)
	if err != nil {
		return nil, err
	}
	var list []step.Result
	if err := packed.Unmarshal(body, &list); err != nil {
		h.t.Fatal(err)
	}
	out := map[string]step.Result{}
	for _, r := range list {
		out[r.ID] = r
	}
	return out, nil
}

func (h *host) must(seg step.Segment) map[string]step.Result {
	h.t.Helper()
	out, err := h.do(within(h.t), &heard{}, seg)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// until polls a condition.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// running says whether a process with that argument lives.
func running(argument string) bool {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		line, err := os.ReadFile(d + "/cmdline")
		if err == nil && strings.Contains("\x00"+string(line), "\x00"+argument+"\x00") {
			return true
		}
	}
	return false
}

// naps gives an odd number of seconds to sleep, by which the process is known.
func naps(t *testing.T, n int) string {
	t.Helper()
	return "9" + strconv.Itoa(os.Getpid()) + strconv.Itoa(n)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// worker is the process id of the session's worker.
func (h *host) worker() int {
	h.t.Helper()
	w, err := h.sess.Welcome(within(h.t))
	if err != nil {
		h.t.Fatal(err)
	}
	return w.PID
}

// alive is false for a process that only waits to be looked at.
func alive(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}
