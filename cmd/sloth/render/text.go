package render

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/runner/event"
)

const (
	maxTaskWidth = 28
	maxHostWidth = 20

	// Hosts that did the same are shown on one line, which waits for more of them
	// for so long at most; less where they are quick, and hardly for a failure.
	groupFor  = 3 * time.Second
	failedFor = 400 * time.Millisecond

	frame     = 80 * time.Millisecond // between two drawings
	stillTick = 400 * time.Millisecond
)

// text shows a run to a person, line by line. On a terminal it also draws what
// is under way below the last line.
type text struct {
	o     Options
	look  look
	p     painter
	quiet bool // neither recap nor last line

	mu        sync.Mutex
	q         *queue
	pending   bytes.Buffer // lines that are not yet written
	run       event.RunStarted
	several   bool // hosts: lines say where they come from
	taskWidth int
	hostWidth int
	tally     *tally
	flights   map[flightKey]*flight
	progress  map[string]event.Progress
	groups    []*group
	lost      map[string]bool // hosts whose loss was shown
	ended     bool
	blank     bool // the last line is empty
	done      int  // tasks on hosts

	began     time.Time
	drawn     string // the area below, as it is on the terminal
	suspended int
	stop      chan struct{}
	ticking   sync.WaitGroup
}

func newText(w io.Writer, o Options, l look) *text {
	t := &text{
		o: o, look: l, p: painter(o.Color), q: newQueue(w), tally: newTally(), flights: map[flightKey]*flight{},
		progress: map[string]event.Progress{}, lost: map[string]bool{}, stop: make(chan struct{}), began: o.Now(),
	}
	if !o.still {
		every := stillTick
		if o.Interactive {
			every = frame
		}
		t.ticking.Go(func() { t.tick(every) })
	}
	return t
}

// tick writes what waits, and draws.
func (t *text) tick(every time.Duration) {
	clock := time.NewTicker(every)
	defer clock.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-clock.C:
			t.mu.Lock()
			t.flushGroups(false)
			t.write()
			t.mu.Unlock()
		}
	}
}

// Close ends the drawing and writes what is left.
func (t *text) Close() error {
	close(t.stop)
	t.ticking.Wait()
	t.mu.Lock()
	t.ended = true
	t.flushGroups(true)
	t.write()
	t.mu.Unlock()
	return t.q.close()
}

// Suspend clears the drawing, so that somebody can be asked something.
func (t *text) Suspend() func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.suspended++
	t.write()
	t.q.drain()
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.suspended--
	}
}

func (t *text) print(line string) {
	t.pending.WriteString(line)
	t.pending.WriteByte('\n')
	t.blank = line == ""
}

// gap leaves one line empty.
func (t *text) gap() {
	if !t.blank {
		t.print("")
	}
}

// write hands what is pending to the terminal, above the area that is drawn.
func (t *text) write() {
	area := t.area()
	if t.pending.Len() == 0 && area == t.drawn {
		return
	}
	var out bytes.Buffer
	if n := strings.Count(t.drawn, "\n"); n > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\r\x1b[J", n)
	}
	out.Write(t.pending.Bytes())
	out.WriteString(area)
	t.pending.Reset()
	t.drawn = area
	_, _ = t.q.Write(out.Bytes())
}

// maxPending is what may wait for the next drawing.
const maxPending = 64 << 10

// Handle shows the next event.
func (t *text) Handle(e event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e := e.(type) {
	case event.RunStarted:
		t.start(e)
	case event.TaskStarted:
		f := t.flight(e.Where)
		f.begin(t.o.Now())
		delete(t.progress, hostOf(e.Where))
	case event.Output:
		t.output(e)
	case event.Log:
		t.log(e)
	case event.Called:
		t.called(e)
	case event.TaskRetry:
		t.retry(e)
	case event.TaskDone:
		t.taskDone(e)
	case event.HostLost:
		t.hostLost(e)
	case event.Progress:
		if t.progress[e.Host] = e; e.Total > 0 && e.Done >= e.Total {
			delete(t.progress, e.Host)
		}
	case event.RunDone:
		t.runDone(e)
	}
	t.flushGroups(false)
	if !t.o.Interactive || t.pending.Len() > maxPending {
		t.write()
	}
}

func (t *text) start(e event.RunStarted) {
	again := t.run.RunID != "" && t.run.RunID == e.RunID // the file acted, and now its workflow begins
	if !again {
		t.began = t.o.Now()
	}
	t.run, t.several = e, t.several || len(e.Hosts) > 1
	for _, name := range e.Tasks {
		t.taskWidth = max(t.taskWidth, min(columns(Name(name)), maxTaskWidth))
	}
	for _, name := range e.Hosts {
		t.tally.host(name)
		t.hostWidth = max(t.hostWidth, min(columns(Name(name)), maxHostWidth))
	}
	if again || !e.Check && len(e.Tasks) <= 1 && !t.several {
		return
	}
	what := t.p.bold(Name(e.Workflow))
	if e.Check {
		what = "plan of " + what
	}
	on := ""
	if t.several {
		on = " on " + count(len(e.Hosts), "host")
	} else if len(e.Hosts) == 1 && e.Hosts[0] != "local" {
		on = " on " + Name(e.Hosts[0])
	}
	if len(e.Tasks) > 0 {
		on = ": " + count(len(e.Tasks), "task") + on
	}
	t.print(what + t.p.dim(on))
	t.print("")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// prefix says where a line comes from, where that is not clear.
func (t *text) prefix(w event.Where) string {
	if !t.several || (w.Host == "" && w.Task == "") {
		return ""
	}
	from := pad(cut(Name(hostOf(w)), maxHostWidth), t.hostWidth)
	if w.Task != "" {
		from += " " + cut(Name(w.Task), maxTaskWidth)
	}
	return t.p.dim(from+" "+t.look.bar) + " "
}

func (t *text) log(e event.Log) {
	if e.Level == "debug" && t.o.Verbosity < 1 {
		return
	}
	prefix := t.prefix(e.Where)
	for i, l := range strings.Split(Sanitize(e.Message)+fields(e.Fields), "\n") {
		word := ""
		if i == 0 {
			switch e.Level {
			case "warn":
				word = "warning: "
			case "error", "debug":
				word = e.Level + ": "
			case "notice":
				word = "sloth: "
			}
		}
		t.print(prefix + t.level(e.Level, word+l))
	}
}

func (t *text) level(level, s string) string {
	switch level {
	case "warn":
		return t.p.yellow(s)
	case "error":
		return t.p.red(s)
	case "success":
		return t.p.green(s)
	case "debug", "notice":
		return t.p.dim(s)
	}
	return s
}

func (t *text) output(e event.Output) {
	f := t.flight(e.Where)
	complete := f.add(e.Stream, e.Data)
	if t.o.Verbosity < 1 {
		return
	}
	prefix := t.prefix(e.Where)
	for _, l := range complete {
		t.print(prefix + l)
	}
}

func (t *text) called(e event.Called) {
	f := t.flight(e.Where)
	if rest := f.rest(); t.o.Verbosity >= 1 { // the command has ended: what comes next is another's
		for _, l := range rest {
			t.print(t.prefix(e.Where) + l)
		}
	}
	if e.Changed {
		f.changed(e, t.o.Diff, t.p)
		return
	}
	if t.o.Verbosity >= 2 {
		t.print(t.prefix(e.Where) + t.p.dim(strings.TrimSpace("unchanged: "+Name(e.Function)+" "+place(e.File, e.Line)+" "+Name(e.Message))))
	}
}

func (t *text) retry(e event.TaskRetry) {
	f := t.flight(e.Where)
	f.tail = nil
	why := fmt.Sprintf("attempt %d failed: %s", max(e.Attempt, 1), Name(e.Failure.Message))
	if e.Delay > 0 {
		why += "; again in " + duration(e.Delay)
	}
	t.print(t.line(outRetry, e.Task, []string{hostOf(e.Where)}, cut(why, 400), 0))
}

func (t *text) taskDone(d event.TaskDone) {
	t.done++
	t.tally.add(d)
	f := t.flight(d.Where)
	if t.o.Verbosity >= 1 {
		for _, l := range f.rest() {
			t.print(t.prefix(d.Where) + l)
		}
	}
	delete(t.flights, keyOf(d.Where))
	host := hostOf(d.Where)
	o := outcomeOf(d)
	switch {
	case o == outUnreachable && t.lost[host]:
		return
	case (o == outOK || o == outSkipped) && t.several && t.o.Verbosity < 1:
		return
	}
	g := &group{outcome: o, task: d.Task, longest: d.Duration, nested: d.Nested}
	if d.Handler {
		g.task = "handler " + d.Task
	}
	t.explain(g, d, f)
	t.add(g, host)
}

// explain fills in what is to be said about a result.
func (t *text) explain(g *group, d event.TaskDone, f *flight) {
	message := lines(d.Message)
	if t.o.Verbosity >= 1 && f.said(message) {
		message = nil
	}
	first := ""
	if len(message) > 0 {
		first = message[0]
	}
	switch g.outcome {
	case outChanged:
		g.detail = f.summary(first)
		g.block = f.block
	case outOK, outSkipped:
		switch {
		case len(message) <= 1:
			g.detail = first
		default:
			g.block = capped(message, maxMessage, t.p)
		}
	default:
		failure := event.Failure{Message: d.Message}
		if d.Failure != nil {
			failure = *d.Failure
		}
		g.block = slices.Concat(f.block, t.failure(g, failure, f))
		if g.outcome == outCancelled && d.Failure == nil {
			g.detail, g.block = first, nil
		}
	}
	if t.o.Verbosity >= 1 && g.outcome != outSkipped {
		if s := compact(d.Outputs); s != "null" && s != "{}" && s != "[]" {
			g.block = append(slices.Clip(g.block), t.p.dim("outputs: "+s))
		}
	}
}

// maxMessage and maxTail are lines; a person scrolls back for more, or asks
// with -v.
const (
	maxMessage = 40
	maxTail    = 12
)

// failure is what went wrong, where, what to do next, and what the command
// printed last.
func (t *text) failure(g *group, e event.Failure, f *flight) []string {
	if e.Class != "" && e.Class != "task" {
		g.note = Name(e.Class)
	}
	if g.nested {
		g.note = strings.TrimPrefix(g.note+"; its caller goes on", "; ")
	}
	var out []string
	for _, l := range capped(lines(e.Message), maxMessage, t.p) {
		out = append(out, t.p.red(l))
	}
	if at := place(e.File, e.Line); at != "" {
		out = append(out, t.p.dim("at "+at))
	}
	for i, l := range lines(e.Hint) {
		if i == 0 {
			l = "hint: " + l
		}
		out = append(out, t.p.cyan(l))
	}
	if t.o.Verbosity < 1 && f != nil {
		for _, l := range f.last(e.Message) {
			out = append(out, t.p.dim(t.look.bar+" "+l))
		}
	}
	return out
}

func place(file string, line int) string {
	switch {
	case file == "":
		return ""
	case line == 0:
		return Name(file)
	}
	return fmt.Sprintf("%s:%d", Name(file), line)
}

func (t *text) hostLost(e event.HostLost) {
	t.tally.lost(e.Host)
	if t.lost[e.Host] {
		return
	}
	t.lost[e.Host] = true
	delete(t.progress, e.Host)
	g := &group{outcome: outUnreachable}
	g.block = t.failure(g, e.Failure, nil)
	t.add(g, e.Host)
}

func capped(all []string, n int, p painter) []string {
	if len(all) <= n {
		return all
	}
	return append(slices.Clone(all[:n]), p.dim(fmt.Sprintf("… %d more lines", len(all)-n)))
}

// duration is for people: 0.3s, 12.1s, 2m03s.
func duration(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	d = d.Round(time.Second)
	if d < time.Hour {
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
