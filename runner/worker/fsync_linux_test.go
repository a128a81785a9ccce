package worker_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

var syncs = regexp.MustCompile(`(?m)(?:fsync|fdatasync)\(\d+<([^>]*)>`)

// synced runs steps while strace counts what the worker puts on the disk: of the
// journal, and of anything else.
func (h *durable) synced(job string, steps []step.Spec) (journal, others int, results []step.Result) {
	h.t.Helper()
	pid := h.now()
	trace := filepath.Join(h.t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "-qq", "-y", "-e", "trace=fsync,fdatasync,sync,syncfs", "-o", trace, "-p", fmt.Sprint(pid))
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	await(h.t, "every thread of the worker is traced", func() bool {
		select {
		case err := <-gone:
			h.t.Fatalf("strace ended: %v", err)
		default:
		}
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, f := range tasks {
			b, _ := os.ReadFile(f) // a thread that has ended is traced by nobody
			if strings.Contains(string(b), "TracerPid:\t0\n") {
				return false
			}
		}
		return err == nil && len(tasks) > 0
	})
	results, err := h.run(job, &said{}, step.Segment{Steps: steps})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		h.t.Fatal(err)
	}
	<-gone
	text, err := os.ReadFile(trace)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, m := range syncs.FindAllStringSubmatch(string(text), -1) {
		if strings.HasPrefix(m[1], h.runFolder()) {
			journal++
		} else {
			others++
		}
	}
	if strings.Contains(string(text), " sync()") || strings.Contains(string(text), "syncfs(") {
		h.t.Errorf("the worker puts whole disks in order:\n%s", text)
	}
	return journal, others, results
}

// A step with effects costs at most two waits for the disk, one without none.
func TestAStepCostsTwoSyncsAndAnUnchangedOneNone(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil || os.Geteuid() != 0 {
		sshdtest.MustSkip(t, "needs root and strace")
	}
	h := startDurable(t)
	const n = 20
	var steps []step.Spec
	for i := range n {
		steps = append(steps, step.Spec{ID: fmt.Sprint("f", i), Task: fmt.Sprint("f", i), Call: "file_ops.copy",
			Args: map[string]any{"dest": filepath.Join(h.Home, fmt.Sprint("file", i)), "content": fmt.Sprintln(i)}})
	}
	check := func(results []step.Result, changed bool) {
		t.Helper()
		if len(results) != n {
			t.Fatalf("%d results", len(results))
		}
		for _, r := range results {
			if r.Status != event.Success || r.Changed != changed {
				t.Fatalf("%+v", r)
			}
		}
	}
	journal, others, results := h.synced("first", steps)
	check(results, true)
	if journal < n || journal > 2*n {
		t.Errorf("the journal was synced %d times for %d steps with effects", journal, n)
	}
	t.Logf("%d steps with effects: %d syncs of the journal, %d of what they wrote", n, journal, others)
	for i := range steps {
		steps[i].ID = fmt.Sprint("again", i)
	}
	journal, others, results = h.synced("second", steps)
	check(results, false)
	if journal+others != 0 {
		t.Errorf("%d syncs of the journal and %d others for steps that changed nothing", journal, others)
	}
}
