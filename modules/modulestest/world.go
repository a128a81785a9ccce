package modulestest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	udiff "github.com/aymanbagabas/go-udiff"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
)

// run is one run of a task.
type run struct {
	mods       []modules.Module
	machine    modules.Machine
	controller *Controller
	root       string // workdir; in messages it is written as nothing
	plan       bool
}

// outcome is what came of it.
type outcome struct {
	records []bind.Record
	err     string
}

// do runs the task.
func (r run) do(t *testing.T, name, source string) outcome {
	t.Helper()
	var out outcome
	env := &bind.Env{
		Call:   modules.Call{Machine: r.machine, Services: r.controller, Workdir: r.root},
		Called: func(rec bind.Record) { out.records = append(out.records, rec) },
	}
	if r.plan {
		o := machine.NewOverlay(r.machine)
		env.Check, env.Viewer, env.Overlay = true, o, o
	}
	vm := engine.New(engine.Options{})
	defer vm.Close()
	bind.Install(vm, r.mods)
	chunk, err := vm.Load(name, []byte(source))
	if err != nil {
		t.Fatalf("%v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := vm.Run(bind.WithEnv(ctx, env), chunk); err != nil {
		var e *engine.Error
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		out.err = r.clean(e.Message)
	}
	return out
}

// clean takes what differs from run to run out of a message.
func (r run) clean(text string) string {
	if r.root != "/" {
		text = strings.ReplaceAll(strings.ReplaceAll(text, r.root+"/", ""), r.root, ".")
	}
	return backupName.ReplaceAllString(text, ".TIME~")
}

func (o outcome) changed() bool {
	for _, r := range o.records {
		if r.Changed {
			return true
		}
	}
	return false
}

// diff is what all calls changed, as text.
func (r run) diff(o outcome) string {
	var out strings.Builder
	for _, rec := range o.records {
		for _, c := range rec.Diff.Changes {
			fmt.Fprintf(&out, "%s %s", c.What, c.Attr)
			switch {
			case c.Hidden:
				out.WriteString(": hidden\n")
			case c.Unknown:
				out.WriteString(": unknown\n")
			case c.Text:
				out.WriteString(":\n")
				out.WriteString(hunks(c.Before, c.After))
			default:
				fmt.Fprintf(&out, ": %s -> %s\n", c.Before, c.After)
			}
		}
	}
	return r.clean(out.String())
}

// hunks is a unified diff without its two first lines.
func hunks(before, after string) string {
	text := udiff.Unified("a", "b", before, after)
	for range 2 {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text
}
