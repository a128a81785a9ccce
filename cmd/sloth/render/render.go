// Package render shows a run to people and programs. Every renderer reads the
// one stream of runner/event and nothing else.
package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/runner/event"
)

// Renderer shows the events of one run.
type Renderer interface {
	// Handle takes the next event. It is called from one goroutine.
	Handle(e event.Event)
	// Close writes what is left and returns the first error of a write. It must
	// be called; without it the end may be missing.
	Close() error
}

// Suspender is a Renderer that draws on a terminal. Whoever wants to ask a
// person something calls Suspend first, and what it returns afterwards.
type Suspender interface {
	Suspend() (resume func())
}

// Stack is what a run belongs to, as json shows it.
type Stack struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Options says how the output looks. The zero value is plain text for a file.
type Options struct {
	Color       bool // the caller has looked at NO_COLOR and the terminal
	Interactive bool // out is a terminal on which lines can be drawn again
	Width       int  // of the terminal in columns; 0: 80
	Height      int  // in lines; 0: 24
	// Size asks the terminal for columns and lines before each drawing; nil:
	// it stays as it is.
	Size      func() (width, height int)
	Verbosity int  // 1: what did not change too, with outputs, and what commands print, as it comes; 2: calls that changed nothing
	Diff      bool // show the difference of each change
	Stack     Stack
	// Fold shortens a list of hosts for people, such as to web-[01-12]. nil
	// joins them with commas.
	Fold func([]string) string
	// Now is the clock; nil: time.Now.
	Now func() time.Time

	still bool // tests: nothing happens but in Handle and Close
}

func (o Options) withDefaults() Options {
	if o.Width <= 0 {
		o.Width = 80
	}
	if o.Height <= 0 {
		o.Height = 24
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	fold := o.Fold
	o.Fold = func(hosts []string) string {
		if len(hosts) == 1 {
			return Name(hosts[0])
		}
		if fold == nil {
			return Name(strings.Join(hosts, ","))
		}
		return Name(fold(hosts))
	}
	return o
}

// Kinds are the names that New knows.
func Kinds() []string {
	return []string{"basic", "enhanced", "rich", "modern", "json", "ndjson", "junit"}
}

// New returns the renderer that kind names. Empty means enhanced on a terminal
// and basic elsewhere. Results go to out; json, ndjson and junit write nothing
// else there, and show log lines and failures on errOut.
func New(kind string, out, errOut io.Writer, o Options) (Renderer, error) {
	o = o.withDefaults()
	if kind == "" {
		kind = "basic"
		if o.Interactive {
			kind = "enhanced"
		}
	}
	switch kind {
	case "basic", "enhanced", "rich", "modern":
		return newText(out, o, looks[kind]), nil
	case "json", "junit":
		aside := o
		aside.Interactive, aside.Color = false, false
		collected := newCollector(o)
		text := newText(errOut, aside, looks["basic"])
		text.quiet = true
		if kind == "json" {
			return &document{collector: collected, aside: text, out: out, write: writeJSON}, nil
		}
		return &document{collector: collected, aside: text, out: out, write: writeJUnit}, nil
	case "ndjson":
		return newNDJSON(out, o), nil
	}
	return nil, fmt.Errorf("output %q: there is %s", kind, strings.Join(Kinds(), ", "))
}
