package render

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/runner/event"
)

// JUnit's format, as CI systems read it: a suite for each task, a case for
// each host. Failures that are ignored are successes with a word about it.
type (
	junitRun struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		Class     string        `xml:"classname,attr"`
		Time      string        `xml:"time,attr"`
		Failure   *junitProblem `xml:"failure"`
		Error     *junitProblem `xml:"error"`
		Skipped   *junitProblem `xml:"skipped"`
		SystemOut string        `xml:"system-out,omitempty"`
	}
	junitProblem struct {
		Type    string `xml:"type,attr,omitempty"`
		Message string `xml:"message,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

func xmlSeconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

func writeJUnit(w io.Writer, c *collector) error {
	_, took, _, message := c.outcome()
	run := junitRun{Name: Name(c.run.Workflow), Time: xmlSeconds(took)}
	for _, name := range c.order {
		run.add(c.tasks[name].junit())
	}
	run.add(c.junitRest(message))
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(run); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (r *junitRun) add(s junitSuite) {
	if s.Tests == 0 {
		return
	}
	r.Suites = append(r.Suites, s)
	r.Tests += s.Tests
	r.Failures += s.Failures
	r.Errors += s.Errors
	r.Skipped += s.Skipped
}

func (t *taskResult) junit() junitSuite {
	_, _, took, _ := t.sum()
	s := junitSuite{Name: Name(t.name), Time: xmlSeconds(took)}
	for _, host := range t.order {
		s.add(t.hosts[host].junit(t.name, host))
	}
	return s
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func (h *hostResult) junit(task, host string) junitCase {
	c := junitCase{Name: Name(host), Class: Name(task), Time: xmlSeconds(h.duration), SystemOut: Sanitize(strings.Join(h.tail, "\n"))}
	switch {
	case h.status == event.Skipped:
		c.Skipped = &junitProblem{Message: Name(h.message)}
	case h.status == event.Success:
	case h.ignored || h.nested:
		c.SystemOut = strings.TrimSpace("failed, which is ignored: " + Sanitize(h.message) + "\n" + c.SystemOut)
	case h.status == event.Failed || h.status == event.Timeout:
		c.Failure = problem(h.status, h.message, h.failure)
	default:
		c.Error = problem(h.status, h.message, h.failure)
	}
	return c
}

func problem(s event.Status, message string, f *event.Failure) *junitProblem {
	p := &junitProblem{Type: Name(strings.ToLower(string(s)))}
	if f == nil {
		f = &event.Failure{Message: message}
	}
	if f.Class != "" {
		p.Type = Name(f.Class)
	}
	p.Message = strings.SplitN(Sanitize(f.Message), "\n", 2)[0]
	p.Text = Sanitize(f.Message)
	if at := place(f.File, f.Line); at != "" {
		p.Text += "\nat " + at
	}
	if f.Hint != "" {
		p.Text += "\nhint: " + Sanitize(f.Hint)
	}
	return p
}

// junitRest has what no task shows: lost hosts, and a run that failed as a
// whole.
func (c *collector) junitRest(message string) junitSuite {
	s := junitSuite{Name: "run", Time: xmlSeconds(0)}
	for _, l := range c.lost {
		if c.shown(l.Host) {
			continue
		}
		s.add(junitCase{Name: Name(l.Host), Class: "reach", Time: xmlSeconds(0), Error: problem(event.Unreachable, "", &l.Failure)})
	}
	bad, _ := c.tally.sum()
	if (c.end == nil || c.end.Status.Bad()) && bad == 0 {
		s.add(junitCase{Name: "run", Class: "run", Time: xmlSeconds(0), Error: problem(event.Failed, message, nil)})
	}
	return s
}

// shown reports whether a task shows that host was unreachable.
func (c *collector) shown(host string) bool {
	for _, t := range c.tasks {
		if h := t.hosts[host]; h != nil && h.status == event.Unreachable {
			return true
		}
	}
	return false
}
