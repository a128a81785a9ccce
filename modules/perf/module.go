// Package perf is the module perf: how long things take and how often they
// happen, for as long as the program runs that the script is in.
package perf

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// Module describes the module perf, with nothing measured yet.
func Module() modules.Module {
	b := &book{}
	b.reset()
	return modules.Module{
		Name:    "perf",
		Summary: "Measure functions and count things.",
		Funcs: []modules.Func{
			{
				Name: "measure", Summary: "Call a function and tell how long it took.",
				Example: `local ms, answer = perf.measure("add", function() return 1 + 1 end)`,
				Returns: "milliseconds, then what the function returned",
				New:     func() any { return &measure{book: b} },
			},
			{
				Name: "counter", Summary: "Add to a counter.",
				Example: `local n = perf.counter("requests", 2)`, Returns: "its new value",
				New: func() any { return &counter{By: 1, book: b} },
			},
			{
				Name: "gauge", Summary: "Set a gauge, or read it.",
				Example: `local v = perf.gauge("queue", 7)`, Returns: "its value",
				New: func() any { return &gauge{book: b} },
			},
			{
				Name: "stats", Summary: "Give all that was measured and counted, or one measurement.",
				Example: `local s = perf.stats()`,
				Returns: "{measures = {NAME = {count, errors, total_ms, mean_ms, min_ms, max_ms, last_ms}}, counters, gauges}",
				New:     func() any { return &stats{book: b} },
			},
			{
				Name: "reset", Summary: "Forget all that was measured and counted.",
				Example: `perf.reset()`, Returns: "nothing",
				New: func() any { return &reset{book: b} },
			},
		},
	}
}

// maxNames bounds the memory a loop with ever new names can take.
const maxNames = 10_000

var errNames = fmt.Errorf("there are %d names already; use fewer, or perf.reset()", maxNames)

type book struct {
	mu       sync.Mutex
	measures map[string]*series
	counters map[string]float64
	gauges   map[string]float64
}

type series struct {
	count, errors            int
	total, least, most, last time.Duration
}

func (b *book) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.measures, b.counters, b.gauges = map[string]*series{}, map[string]float64{}, map[string]float64{}
}

func (b *book) measured(name string, took time.Duration, failed bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.measures[name]
	if s == nil {
		if len(b.measures) >= maxNames {
			return errNames
		}
		s = &series{least: math.MaxInt64}
		b.measures[name] = s
	}
	s.count++
	if failed {
		s.errors++
	}
	s.total += took
	s.last, s.least, s.most = took, min(s.least, took), max(s.most, took)
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (s *series) table() map[string]any {
	return map[string]any{
		"count": s.count, "errors": s.errors, "total_ms": ms(s.total), "mean_ms": ms(s.total) / float64(s.count),
		"min_ms": ms(s.least), "max_ms": ms(s.most), "last_ms": ms(s.last),
	}
}

type measure struct {
	First any              `lua:"name" pos:"1" doc:"Name to keep it under; it can be left out"`
	Fn    modules.Callback `lua:"fn" alias:"func" pos:"2" doc:"Function to call"`
	book  *book
}

// Validate finds the function where no name precedes it.
func (m *measure) Validate() error {
	if fn, ok := m.First.(modules.Callback); ok && m.Fn == nil {
		m.First, m.Fn = nil, fn
	}
	if m.Fn == nil {
		return errors.New("fn is missing: function to call")
	}
	if _, ok := m.First.(string); m.First != nil && !ok {
		return errors.New("name must be text")
	}
	return nil
}

// Query calls the function. Its error is the caller's; the time counts all the same.
func (m *measure) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	start := time.Now()
	out, err := m.Fn(ctx)
	took := time.Since(start)
	if name, ok := m.First.(string); ok {
		if e := m.book.measured(name, took, err != nil); e != nil && err == nil {
			err = e
		}
	}
	return append([]any{ms(took)}, out...), err
}

type counter struct {
	Name string  `lua:"name,required,primary" pos:"1" doc:"Name of the counter"`
	By   float64 `lua:"by" alias:"n,value" pos:"2" doc:"How much to add"`
	book *book
}

// Query adds.
func (c *counter) Query(context.Context, facts.Viewer) ([]any, error) {
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	return put(c.book.counters, c.Name, c.book.counters[c.Name]+c.By)
}

type gauge struct {
	Name  string   `lua:"name,required,primary" pos:"1" doc:"Name of the gauge"`
	Value *float64 `lua:"value" pos:"2" doc:"What it shows from now on"`
	book  *book
}

// Query sets or reads.
func (g *gauge) Query(context.Context, facts.Viewer) ([]any, error) {
	g.book.mu.Lock()
	defer g.book.mu.Unlock()
	if g.Value != nil {
		return put(g.book.gauges, g.Name, *g.Value)
	}
	v, ok := g.book.gauges[g.Name]
	if !ok {
		return []any{nil}, nil
	}
	return []any{v}, nil
}

func put(m map[string]float64, name string, v float64) ([]any, error) {
	if _, ok := m[name]; !ok && len(m) >= maxNames {
		return nil, errNames
	}
	m[name] = v
	return []any{v}, nil
}

type stats struct {
	Name string `lua:"name,primary" pos:"1" doc:"Only this measurement"`
	book *book
}

// Query gives a copy.
func (s *stats) Query(context.Context, facts.Viewer) ([]any, error) {
	b := s.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Name != "" {
		if one := b.measures[s.Name]; one != nil {
			return []any{one.table()}, nil
		}
		return []any{nil}, nil
	}
	measures := map[string]any{}
	for name, one := range b.measures {
		measures[name] = one.table()
	}
	return []any{map[string]any{"measures": measures, "counters": numbers(b.counters), "gauges": numbers(b.gauges)}}, nil
}

func numbers(from map[string]float64) map[string]any {
	out := map[string]any{}
	for k, v := range from {
		out[k] = v
	}
	return out
}

type reset struct{ book *book }

// Query forgets.
func (r *reset) Query(context.Context, facts.Viewer) ([]any, error) {
	r.book.reset()
	return nil, nil
}
