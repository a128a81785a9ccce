package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/inventory"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/event"
	"golang.org/x/term"
)

// openShow makes the renderer of the run.
func (v *invocation) openShow() error {
	a := v.app
	o := render.Options{
		Color: color(a.stdout), Interactive: color(a.stdout), Verbosity: v.flags.verbosity, Diff: v.flags.diff || v.flags.check,
		Fold: inventory.Fold, Stack: v.stack,
	}
	if f, ok := a.stdout.(*os.File); ok && terminal(f) {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil {
			o.Width, o.Height = w, h
		}
	}
	var err error
	if v.newShow == nil {
		v.newShow = a.newShow
	}
	if v.newShow != nil {
		v.show, err = v.newShow(o)
		return err
	}
	v.show, err = render.New(v.flags.output, a.stdout, a.stderr, o)
	if err != nil {
		return fmt.Errorf("--%w", err)
	}
	return nil
}

// handle gives each event to the renderer and keeps what the exit code needs.
func (v *invocation) handle(e event.Event) {
	if v.checks != nil {
		if e = v.checks.see(e); e == nil {
			return
		}
	}
	switch x := e.(type) {
	case event.RunStarted:
		if v.opens != nil && x.Workflow == "" {
			x.Workflow, x.Tasks, x.Hosts = v.opens.Workflow, v.opens.Tasks, v.opens.Hosts
			e = x
		}
	case event.TaskDone:
		v.change = v.change || x.Changed
	case event.RunDone:
		v.ended = x
	}
	if v.planning != nil {
		v.planning.event(e)
	}
	v.summary.add(e)
	if v.record != nil {
		v.record.Event(e)
	}
	v.show.Handle(e)
}

// interrupts makes Ctrl-C stop after the current steps, the second kill them,
// and the third leave at once, as the end of the terminal does.
func (v *invocation) interrupts(r *runner.Runner) func() {
	sig := make(chan os.Signal, 3)
	signal.Notify(sig, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(sig, syscall.SIGHUP)
	}
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case s := <-sig:
				if s == syscall.SIGHUP {
					n = max(n, 3)
				}
				switch {
				case n == 1 && s != syscall.SIGTERM:
					fmt.Fprintln(v.app.stderr, "\nstopping after the current steps; press Ctrl-C again to end them")
					r.Stop(false)
				case n <= 2:
					fmt.Fprintln(v.app.stderr, "\nending the current steps; press Ctrl-C again to leave the hosts alone with them")
					r.Stop(true)
				case n == 3:
					v.left.Store(true)
					hosts := r.Detach()
					fmt.Fprintf(v.app.stderr, "\nleaving; ")
					if len(hosts) > 0 {
						fmt.Fprintf(v.app.stderr, "what had begun goes on on %s. ", strings.Join(hosts, ", "))
					}
					fmt.Fprintf(v.app.stderr, "Go on with `sloth runs resume %s`\n", v.runID)
				default:
					os.Exit(exitInterrupted)
				}
			}
		}
	}()
	return func() { signal.Stop(sig); close(done); <-finished }
}
