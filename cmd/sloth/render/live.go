package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/runner/event"
)

// maxLive is how many lines the drawing takes at most, its last one included.
const maxLive = 9

var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// area is what is drawn below the last line: results that wait for more hosts,
// what is under way, the oldest first, and how far the run is.
func (t *text) area() string {
	if !t.o.Interactive || t.ended || t.suspended > 0 || len(t.flights)+len(t.progress)+len(t.groups) == 0 {
		return ""
	}
	if t.o.Size != nil {
		if w, h := t.o.Size(); w > 0 && h > 0 {
			t.o.Width, t.o.Height = w, h
		}
	}
	now := t.o.Now()
	room := max(1, min(maxLive, t.o.Height/3)-1)
	var out []string
	for _, g := range t.groups[max(0, len(t.groups)-(room+1)/2):] { // the others have been seen
		out = append(out, t.waitingLine(g))
	}
	for _, host := range slices.Sorted(maps.Keys(t.progress)) {
		out = append(out, t.progressLine(t.progress[host]))
	}
	running := slices.SortedFunc(maps.Values(t.flights), func(a, b *flight) int {
		if c := a.start.Compare(b.start); c != 0 {
			return c
		}
		return strings.Compare(a.where.Host+"\x00"+a.where.Task, b.where.Host+"\x00"+b.where.Task)
	})
	for _, f := range running {
		out = append(out, t.flightLine(f, now))
	}
	more := ""
	if n := len(out) - room; n > 0 {
		out = out[:room]
		more = fmt.Sprintf(", %d more not shown", n)
	}
	turn := spinner[int(now.Sub(t.began)/frame)%len(spinner)]
	_, changed := t.tally.sum()
	status := fmt.Sprintf("%s %s done, %d changed, %d running%s  %s", turn, count(t.done, "task"), changed, len(running), more, duration(now.Sub(t.began)))
	out = append(out, t.p.dim(cut(status, t.o.Width-1)))
	return strings.Join(out, "\n") + "\n"
}

// waitingLine is a result whose line is not written yet. It has no colours, since
// it is cut.
func (t *text) waitingLine(g *group) string {
	p := t.p
	defer func() { t.p = p }()
	t.p = false
	return cut(t.heading(g), t.o.Width-1)
}

func (t *text) flightLine(f *flight, now time.Time) string {
	s := "  " + pad(cut(Name(hostOf(f.where)), maxHostWidth), t.hostWidth) + "  " + pad(cut(Name(f.where.Task), maxTaskWidth), t.taskWidth)
	if took := now.Sub(f.start); took >= time.Second {
		s += "  " + duration(took.Truncate(time.Second/10))
	}
	if n := len(f.tail); n > 0 && t.o.Verbosity < 1 { // else it stands above already
		s += "  " + t.p.dim(cut(strings.ReplaceAll(f.tail[n-1], "\t", " "), t.o.Width-3-columns(s)))
		return s
	}
	return cut(s, t.o.Width-1)
}

const barWidth = 20

func (t *text) progressLine(e event.Progress) string {
	s := "  " + pad(cut(Name(e.Host), maxHostWidth), t.hostWidth) + "  " + cut(Name(e.What), maxTaskWidth)
	if e.Total > 0 {
		done := int(barWidth * max(0, min(e.Done, e.Total)) / e.Total)
		s += "  " + strings.Repeat("█", done) + strings.Repeat("░", barWidth-done) + fmt.Sprintf(" %3d%% of %s", 100*max(0, min(e.Done, e.Total))/e.Total, size(e.Total))
	} else {
		s += "  " + size(e.Done)
	}
	return cut(s, t.o.Width-1)
}

// size is for people: 512 B, 1.4 MB.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	f := float64(n)
	i := 0
	for ; f >= 1000 && i < len(units)-1; i++ {
		f /= 1000
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
