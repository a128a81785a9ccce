package step

import (
	"fmt"
	"strings"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/modules"
)

// ClassPlan is the class of a failure of a step that is not as its plan has it.
const ClassPlan = "plan"

// Expected is one call as a plan saw it. Args and Seen are the digests of
// bind.Record.
type Expected struct {
	Function string `msgpack:"f" json:"function"`
	File     string `msgpack:"i,omitempty" json:"file,omitempty"`
	Line     int    `msgpack:"l,omitempty" json:"line,omitempty"`
	Args     string `msgpack:"a" json:"args"`
	Seen     string `msgpack:"s" json:"seen"`
	Changed  bool   `msgpack:"c,omitempty" json:"changed,omitempty"`
	Unknown  bool   `msgpack:"u,omitempty" json:"unknown,omitempty"` // what it changes is known only once applied
	// Runs says that it runs something whose effect a plan cannot know.
	Runs  bool     `msgpack:"r,omitempty" json:"runs,omitempty"`
	Lines []string `msgpack:"n,omitempty" json:"lines,omitempty"` // for people; nothing secret
}

// Place is the call and where it stands.
func (e Expected) Place() string { return placeOf(e.Function, e.File, e.Line) }

func placeOf(function, file string, line int) string {
	if file == "" {
		return function
	}
	return fmt.Sprintf("%s at %s:%d", function, file, line)
}

// Expect is what a saved plan says of one step. The calls of its command must
// be these, each once, and find what the plan found; hooks are not in a plan.
type Expect struct {
	Calls []Expected `msgpack:"c,omitempty"`
	// Open lets calls differ that are unknown until applied, and from call
	// number OpenFrom on, behind something whose effect the plan does not know,
	// all. A negative OpenFrom: there is nothing of the kind.
	Open     bool `msgpack:"o,omitempty"`
	OpenFrom int  `msgpack:"of,omitempty"`
	// Partial says that the plan did not see to the step's end.
	Partial bool `msgpack:"p,omitempty"`
}

// strayed is a call that is not in the plan as it is.
type strayed struct{ what string }

func (s *strayed) Error() string        { return s.what }
func (s *strayed) FailureClass() string { return ClassPlan }

// expecting compares the calls of a step with a plan. Its fields are guarded by
// the run's mutex.
type expecting struct {
	plan  *Expect
	used  []bool // in this attempt
	ever  []bool // in any attempt
	stray *strayed
}

func (e *expecting) begin(plan *Expect) {
	if e.plan = plan; plan != nil {
		e.used, e.ever = make([]bool, len(plan.Calls)), make([]bool, len(plan.Calls))
	}
}

// again begins to count anew: an attempt repeats the calls of the last one.
func (e *expecting) again() { clear(e.used) }

// approve takes a call off the plan's list, or fails.
func (e *expecting) approve(rec bind.Record, hide bool) error {
	if e.stray != nil {
		return e.stray
	}
	near := -1
	for i, c := range e.plan.Calls {
		if e.used[i] || c.Function != rec.Function {
			continue
		}
		// An attempt that failed may have changed what it was allowed to.
		fits := c.Seen == rec.Seen || e.ever[i] || e.open(i, c)
		if c.Args == rec.Args && fits || e.openFrom(i) && c.File == rec.File && c.Line == rec.Line {
			e.used[i], e.ever[i] = true, true
			return nil
		}
		if near < 0 || c.Args == rec.Args && e.plan.Calls[near].Args != rec.Args {
			near = i
		}
	}
	if e.plan.Open && e.beyond() {
		return nil
	}
	e.stray = &strayed{what: e.differs(rec, near, hide)}
	return e.stray
}

func (e *expecting) open(i int, c Expected) bool {
	return e.plan.Open && c.Unknown || e.openFrom(i)
}

func (e *expecting) openFrom(i int) bool {
	return e.plan.Open && e.plan.OpenFrom >= 0 && i >= e.plan.OpenFrom
}

// beyond reports whether calls may come that the plan does not have: it was not
// to know, and those that it knew are done.
func (e *expecting) beyond() bool {
	if e.plan.OpenFrom < 0 {
		return false
	}
	for i, used := range e.used {
		if !used && i < e.plan.OpenFrom {
			return false
		}
	}
	return true
}

// skipped is the end of a step that run_if has kept from running.
func (e *expecting) skipped() {
	if e.plan != nil && (!e.plan.Open || !e.plan.Partial) {
		e.missed()
	}
}

// differs is what people read of a call that does not fit.
func (e *expecting) differs(rec bind.Record, near int, hide bool) string {
	place := placeOf(rec.Function, rec.File, rec.Line)
	behind := ""
	if from := e.plan.OpenFrom; !e.plan.Open && from >= 0 && (near < 0 || near >= from) {
		behind = "\n  it follows something whose effect the plan does not know; --allow-unknown lets it differ"
	}
	if near < 0 {
		return place + ": the plan has no such call in this step; it was not made" + behind
	}
	c := e.plan.Calls[near]
	if c.Args != rec.Args {
		return place + ": its arguments are not those of the plan; it was not made" + behind
	}
	now := Lines(rec.Diff)
	if hide {
		now = Lines(rec.Diff.Hide())
	}
	return place + ": what it would change is not what was planned; it was not made\n" +
		c.Against(Expected{Lines: now, Changed: rec.Changed}) + behind
}

// Against puts what was planned above what is to be done now.
func (e Expected) Against(now Expected) string {
	planned, is := e.Shown(), now.Shown()
	if planned == is {
		is += " (with another content)"
	}
	return "  planned: " + planned + "\n  now:     " + is
}

// Shown says what the call changes.
func (e Expected) Shown() string {
	switch {
	case len(e.Lines) > 0:
		return strings.Join(e.Lines, "\n           ")
	case e.Changed:
		return "to be run"
	}
	return "nothing to change"
}

// missed names a change of the plan that a command that has ended did not make.
func (e *expecting) missed() {
	if e.plan == nil || e.stray != nil {
		return
	}
	for i, c := range e.plan.Calls {
		if c.Changed && !e.ever[i] && !e.open(i, c) {
			e.stray = &strayed{what: c.Place() + ": it is in the plan and was not called\n  planned: " + c.Shown()}
			return
		}
	}
}

// Limits of Lines.
const (
	maxLines = 20
	maxWords = 160 // bytes of one value
)

// Lines says what a diff changes, a line each and no whole texts.
func Lines(d modules.Diff) []string {
	var out []string
	for i, c := range d.Changes {
		if i == maxLines {
			return append(out, fmt.Sprintf("%d more", len(d.Changes)-i))
		}
		line := c.What
		if c.Attr != "" {
			line += " " + c.Attr
		}
		switch {
		case c.Unknown:
			line += ": unknown until applied"
		case c.Hidden:
			line += ": differs (hidden)"
		case c.Text:
			line += fmt.Sprintf(": %d bytes -> %d bytes", len(c.Before), len(c.After))
		case c.Before == "":
			line += ": " + clipTo(c.After, maxWords)
		default:
			line += ": " + clipTo(c.Before, maxWords) + " -> " + clipTo(c.After, maxWords)
		}
		out = append(out, strings.ReplaceAll(line, "\n", " "))
	}
	return out
}
