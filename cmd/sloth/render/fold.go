package render

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/runner/event"
)

// HostOutput is what one command did on one host. The caller limits the size
// of what it keeps.
type HostOutput struct {
	Host           string
	Stdout, Stderr []byte
	Truncated      bool // there was more
	ExitCode       int
	Failure        *event.Failure // why it could not be run to its end; nil: it could
}

func (h HostOutput) ok() bool { return h.ExitCode == 0 && h.Failure == nil }

func (h HostOutput) same(o HostOutput) bool {
	if (h.Failure == nil) != (o.Failure == nil) || h.Failure != nil && *h.Failure != *o.Failure {
		return false
	}
	return h.ExitCode == o.ExitCode && h.Truncated == o.Truncated && string(h.Stdout) == string(o.Stdout) && string(h.Stderr) == string(o.Stderr)
}

// folded is the same output of one or more hosts.
type folded struct {
	Hosts []string
	HostOutput
}

// foldOutputs puts hosts with the same output together, in the order given,
// those where something went wrong last.
func foldOutputs(results []HostOutput) []folded {
	var out []folded
	seen := map[string][]int{}
	for _, r := range results {
		// Outputs can be long: only those that begin alike are compared.
		key := fmt.Sprintf("%d %d %d %.64q", r.ExitCode, len(r.Stdout), len(r.Stderr), r.Stdout)
		i := slices.IndexFunc(seen[key], func(i int) bool { return out[i].same(r) })
		if i >= 0 {
			f := &out[seen[key][i]]
			f.Hosts = append(f.Hosts, r.Host)
			continue
		}
		seen[key] = append(seen[key], len(out))
		out = append(out, folded{[]string{r.Host}, r})
	}
	slices.SortStableFunc(out, func(a, b folded) int {
		switch {
		case a.ok() == b.ok():
			return 0
		case a.ok():
			return -1
		}
		return 1
	})
	return out
}

// WriteFolded shows what a command printed on each host, once where it is the
// same. The output of a single host has no heading.
func WriteFolded(w io.Writer, results []HostOutput, o Options) error {
	o = o.withDefaults()
	p := painter(o.Color)
	var b strings.Builder
	for _, f := range foldOutputs(results) {
		indent := "    "
		if len(results) == 1 && f.ok() {
			indent = ""
		} else {
			b.WriteString(f.heading(p, o) + "\n")
		}
		for _, l := range lines(string(f.Stdout)) {
			b.WriteString(indent + l + "\n")
		}
		for _, l := range lines(string(f.Stderr)) {
			b.WriteString(indent + p.red(l) + "\n")
		}
		if f.Truncated {
			b.WriteString(indent + p.dim("… there was more") + "\n")
		}
		if f.Failure != nil {
			for _, l := range lines(f.Failure.Message) {
				b.WriteString(indent + p.red(l) + "\n")
			}
			for _, l := range lines(f.Failure.Hint) {
				b.WriteString(indent + p.cyan("hint: "+l) + "\n")
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f folded) heading(p painter, o Options) string {
	name := o.Fold(f.Hosts)
	many := ""
	if len(f.Hosts) > 1 {
		many = "  " + p.dim(count(len(f.Hosts), "host"))
	}
	switch {
	case f.Failure != nil && f.Failure.Class != "" && f.Failure.Class != "task":
		return p.bold(p.red(name)) + many + "  " + p.purple("unreachable ("+Name(f.Failure.Class)+")")
	case f.Failure != nil:
		return p.bold(p.red(name)) + many + "  " + p.red("failed")
	case f.ExitCode != 0:
		return p.bold(p.red(name)) + many + "  " + p.red(fmt.Sprintf("exit code %d", f.ExitCode))
	}
	return p.bold(p.green(name)) + many
}

// Stream shows output of many hosts line by line as it comes, each with its
// host before it. Its methods may be called from several goroutines.
type Stream struct {
	mu    sync.Mutex
	w     io.Writer
	p     painter
	width int
	hosts map[string]*flight
	err   error
}

// NewStream returns a Stream for hosts; they are known only for the width.
func NewStream(w io.Writer, hosts []string, o Options) *Stream {
	s := &Stream{w: w, p: painter(o.Color), hosts: map[string]*flight{}}
	for _, h := range hosts {
		s.width = max(s.width, min(columns(Name(h)), maxHostWidth))
	}
	return s
}

// Add shows the lines that data completes. name is "stdout" or "stderr".
func (s *Stream) Add(host, name string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.hosts[host]
	if f == nil {
		f = &flight{}
		s.hosts[host] = f
	}
	s.print(host, f.add(name, data))
}

// Done shows what host printed without a line end.
func (s *Stream) Done(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.hosts[host]; f != nil {
		s.print(host, f.rest())
		delete(s.hosts, host)
	}
}

// Err is the first error of a write.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *Stream) print(host string, all []string) {
	for _, l := range all {
		_, err := io.WriteString(s.w, s.p.cyan(pad(cut(Name(host), maxHostWidth), s.width)+" |")+" "+l+"\n")
		if s.err == nil {
			s.err = err
		}
	}
}
