package worker

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// beginService is what an executor asks its worker before a step's first effect.
const beginService = "begin"

// effects keeps a step from changing anything before it is on record that it
// begins.
type effects struct {
	r     *run
	j     *job
	step  string
	where event.Where

	mu   sync.Mutex
	over bool // recorded
}

var errAbandoned = errors.New("nobody has listened for " + aloneFor.String() + "; nothing more is begun")

// begin is called before each effect; only the first is an event.
func (e *effects) begin(ctx context.Context, _ string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || e.r.hello.Durable == nil {
		return nil
	}
	if e.r.abandoned() {
		return errAbandoned
	}
	if err := e.r.locked(ctx, e.j, e.where); err != nil {
		return err
	}
	var err error
	if e.r.role == roleExecutor {
		_, err = e.r.call(ctx, e.j.id, beginService, nil)
	} else {
		err = e.r.keeper.begin(e.j.id, e.step)
	}
	e.over = err == nil
	return err
}

// ended records the result of a step that had begun.
func (r *run) ended(j *job, res step.Result) {
	if r.role != roleWorker || r.hello.Durable == nil {
		return
	}
	body, err := packed.Marshal(res)
	if err == nil {
		err = r.keeper.end(j.id, res.ID, body)
	}
	if err == nil {
		return
	}
	// Only if everything else is lost too will this step be unknown.
	kind, text, encErr := event.Encode(event.Log{Where: event.Where{Step: res.ID}, Level: "warn", Message: "the journal does not have this step's end: " + err.Error()})
	if encErr == nil {
		r.emit(j.id, kind, text)
	}
}

// restartPause is what a worker has to write down and send the end of the step
// that asked for a restart.
const restartPause = 1500 * time.Millisecond

// restarting prepares the restart that a step asked for. Whoever ran the step
// has the rights to begin it; the worker sees that the step's end is on disk.
func (r *run) restarting(j *job, res step.Result, spec *step.Spec) {
	if r.role == roleWorker {
		r.keeper.sync()
	}
	if r.role == roleWorker && spec.Become != "" && !isMe(spec.Become) {
		return // the executor begins it
	}
	how := res.Restart
	line := how.Command
	if line == "" {
		line = "systemctl --no-block reboot || shutdown -r now || reboot"
		if how.Message != "" {
			line = "wall -n \"$1\" 2>/dev/null; " + line
		}
	}
	c := exec.Command("/bin/sh", "-c", fmt.Sprintf("sleep %.1f; %s", (how.Delay+restartPause).Seconds(), line), "sh", how.Message)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives whoever asked
	if err := c.Start(); err != nil {
		kind, body, encErr := event.Encode(event.Log{Where: event.Where{Task: spec.Task, Step: spec.ID}, Level: "error", Message: "restart the host: " + err.Error()})
		if encErr == nil {
			r.emit(j.id, kind, body)
		}
		return
	}
	go func() { _ = c.Wait() }() // the restart ends this process too
}
