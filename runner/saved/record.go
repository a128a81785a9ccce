package saved

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// Recorder collects what a check finds and reads. It may be used from several
// goroutines.
type Recorder struct {
	key Key

	mu     sync.Mutex
	inputs map[[3]string]Input
	hosts  map[string]*recorded
	order  []string
}

type recorded struct {
	steps map[string]*Step
	order []string
}

// NewRecorder makes digests under key.
func NewRecorder(key Key) *Recorder {
	return &Recorder{key: key, inputs: map[[3]string]Input{}, hosts: map[string]*recorded{}}
}

// Input notes something the plan stands on. The error says that it was noted
// before with another content.
func (r *Recorder) Input(kind, host, name, content string) error {
	in := r.key.Input(kind, host, name, content)
	at := [3]string{kind, host, name}
	r.mu.Lock()
	defer r.mu.Unlock()
	if was, again := r.inputs[at]; again && was.Hash != in.Hash {
		return errors.New("it has changed since it was read before")
	}
	r.inputs[at] = in
	return nil
}

// Event takes the next event of the check.
func (r *Recorder) Event(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := e.(type) {
	case event.Called:
		if s := r.step(e.Where); s != nil {
			s.Calls = append(s.Calls, called(e))
		}
	case event.TaskDone:
		if s := r.step(e.Where); s != nil {
			s.Status, s.Partial, s.Message = e.Status, e.Partial, e.Message
		}
	}
}

// step is nil for events that belong to no step.
func (r *Recorder) step(w event.Where) *Step {
	if w.Step == "" || w.Host == "" || w.Handler {
		return nil
	}
	h := r.hosts[w.Host]
	if h == nil {
		h = &recorded{steps: map[string]*Step{}}
		r.hosts[w.Host] = h
		r.order = append(r.order, w.Host)
	}
	s := h.steps[w.Step]
	if s == nil {
		s = &Step{ID: r.key.step(w.Step), Task: w.Task}
		h.steps[w.Step] = s
		h.order = append(h.order, w.Step)
	}
	return s
}

func called(e event.Called) step.Expected {
	c := step.Expected{Function: e.Function, File: e.File, Line: e.Line, Args: e.Args, Seen: e.Seen, Changed: e.Changed, Lines: step.Lines(e.Diff)}
	if len(c.Lines) == 0 && e.Message != "" {
		c.Lines = []string{e.Message}
	}
	c.Runs = e.Changed && len(e.Diff.Changes) == 0
	for _, ch := range e.Diff.Changes {
		c.Unknown = c.Unknown || ch.Unknown
	}
	return c
}

// Hosts are those that something was recorded of.
func (r *Recorder) Hosts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(slices.Values(r.order))
}

// Fill puts what was recorded into p.
func (r *Recorder) Fill(p *Plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.Inputs, p.Hosts = nil, nil
	for _, in := range r.inputs {
		p.Inputs = append(p.Inputs, in)
	}
	slices.SortFunc(p.Inputs, func(a, b Input) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Name, b.Name))
	})
	for _, name := range slices.Sorted(slices.Values(r.order)) {
		rec := r.hosts[name]
		h := Host{Name: name}
		for _, id := range rec.order {
			h.Steps = append(h.Steps, *rec.steps[id])
		}
		p.Hosts = append(p.Hosts, h)
	}
}

// Expectations answers for each step what the plan has of it.
type Expectations struct {
	key    Key
	steps  map[string]map[string]*step.Expect // by host, by keyed id
	inputs map[[3]string]string
	open   map[string]bool // hosts where steps may come up that the plan does not know
}

// Expect prepares a plan for being applied. With allow, what it could not know
// may come out in any way.
func (p *Plan) Expect(key Key, allow bool) *Expectations {
	x := &Expectations{key: key, steps: map[string]map[string]*step.Expect{}, inputs: map[[3]string]string{}, open: map[string]bool{}}
	for _, in := range p.Inputs {
		x.inputs[[3]string{in.Kind, in.Host, in.Name}] = in.Hash
	}
	for _, h := range p.Hosts {
		steps := map[string]*step.Expect{}
		x.steps[h.Name] = steps
		behind := false // something whose effect the plan does not know
		for _, s := range h.Steps {
			e := &step.Expect{Calls: s.Calls, Open: allow, OpenFrom: -1, Partial: s.Partial}
			for i, c := range s.Calls {
				if behind && e.OpenFrom < 0 {
					e.OpenFrom = i
				}
				behind = behind || c.Runs
			}
			if e.OpenFrom < 0 && (behind || s.Partial) {
				e.OpenFrom = len(s.Calls)
			}
			behind = behind || s.Partial
			steps[s.ID] = e
		}
		x.open[h.Name] = allow && behind
	}
	return x
}

// Step is runner.Options.Expect.
func (x *Expectations) Step(host, id string) (*step.Expect, bool) {
	if e, ok := x.steps[host][x.key.step(id)]; ok {
		return e, true
	}
	if x.open[host] {
		return &step.Expect{Open: true}, true
	}
	return nil, false
}

// Input refuses what is not as it was when the plan was made. What the plan does
// not have is none of its business.
func (x *Expectations) Input(kind, host, name, content string) error {
	was, known := x.inputs[[3]string{kind, host, name}]
	if known && was != x.key.Input(kind, host, name, content).Hash {
		return errors.New("it has changed since the plan was made")
	}
	return nil
}
