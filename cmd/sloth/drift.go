package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/spf13/cobra"
)

func newDrift(a *app) *cobra.Command {
	f := &runFlags{}
	var commands bool
	c := &cobra.Command{
		Use:   "drift FILE.sloth [WORKFLOW]",
		Short: "Tell where hosts are not as a file describes them, and say nothing when they are",
		Long: `Tell where hosts are not as a file describes them: a line for each host and thing that differs, and nothing where all is
as it should be. It changes nothing. It exits with 3 when there is drift, and as plan does when the check itself fails.

Commands that would run (exec.run and the like) are no drift, since nothing tells what they would change; with --commands they are.`,
		Example: "  sloth drift -i hosts.yaml site.sloth\n  sloth drift -i hosts.yaml site.sloth --output junit > drift.xml",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.check = true
			v := &invocation{app: a, flags: f, file: args[0], onHosts: true, what: "drift"}
			if len(args) == 2 {
				v.workflow = args[1]
			}
			var report *driftReport
			v.newShow = func(render.Options) (render.Renderer, error) {
				var err error
				report, err = newDriftReport(f.output, commands, a.stdout, a.stderr)
				return report, err
			}
			err := v.run(cmd.Context())
			if err == nil && report != nil && len(report.found) > 0 {
				return exitError{exitChanges}
			}
			return err
		},
	}
	f.add(c.Flags(), "C")
	c.Flags().BoolVar(&commands, "commands", false, "commands that would run are drift too")
	return c
}

// drifted is one thing on one host that is not as it should be.
type drifted struct {
	Host     string           `json:"host"`
	Resource string           `json:"resource"`
	Changes  []modules.Change `json:"changes"`
	Task     string           `json:"task"`
	Function string           `json:"function"`
	File     string           `json:"file"`
	Line     int              `json:"line"`
}

// driftProblem is why something could not be checked.
type driftProblem struct {
	Host    string `json:"host"`
	Task    string `json:"task"`
	Message string `json:"message"`
}

// driftReport is a render.Renderer that keeps what differs and says so at the
// end, or with ndjson at once.
type driftReport struct {
	kind        string
	commands    bool
	out, errOut io.Writer
	found       []drifted
	problems    []driftProblem
	checked     map[string]bool
	order       []string
	message     string
	err         error
}

func newDriftReport(kind string, commands bool, out, errOut io.Writer) (*driftReport, error) {
	switch kind {
	case "", "basic", "json", "junit", "ndjson":
		return &driftReport{kind: kind, commands: commands, out: out, errOut: errOut, checked: map[string]bool{}}, nil
	}
	return nil, fmt.Errorf("--output %q: of drift there is basic, json, junit, ndjson", kind)
}

// Handle takes the next event.
func (d *driftReport) Handle(e event.Event) {
	switch e := e.(type) {
	case event.Called:
		d.called(e)
	case event.TaskDone:
		if e.Host != "" && !d.checked[e.Host] {
			d.checked[e.Host] = true
			d.order = append(d.order, e.Host)
		}
		if e.Status.Bad() && !e.Ignored && !e.Nested && e.Status != event.Unreachable || e.Partial {
			d.problem(e.Host, e.Task, e.Message)
		}
	case event.HostLost:
		d.problem(e.Host, "", e.Failure.Message)
	case event.RunDone:
		d.message = e.Message
		if e.Message != "" {
			d.problem("", "", e.Message)
		}
	}
}

func (d *driftReport) problem(host, task, message string) {
	d.problems = append(d.problems, driftProblem{host, task, message})
	where := strings.TrimSpace(host + " " + task)
	if where != "" {
		where = render.Name(where) + ": "
	}
	d.keep(fmt.Fprintf(d.errOut, "sloth: %s%s\n", where, indent(render.Sanitize(message))))
}

func (d *driftReport) keep(_ int, err error) {
	if d.err == nil {
		d.err = err
	}
}

// called splits a call by the things it would change.
func (d *driftReport) called(e event.Called) {
	if !e.Changed {
		return
	}
	one := drifted{Host: e.Host, Task: e.Task, Function: e.Function, File: e.File, Line: e.Line, Changes: []modules.Change{}}
	if len(e.Diff.Changes) == 0 {
		if d.commands {
			one.Resource = strings.TrimSpace(e.Function + " " + e.Message)
			d.add(one)
		}
		return
	}
	for i, c := range e.Diff.Changes {
		if slices.ContainsFunc(e.Diff.Changes[:i], func(b modules.Change) bool { return b.What == c.What }) {
			continue
		}
		thing := one
		thing.Resource, thing.Changes = c.What, nil
		for _, same := range e.Diff.Changes[i:] {
			if same.What == c.What {
				thing.Changes = append(thing.Changes, same)
			}
		}
		d.add(thing)
	}
}

// add keeps one line for each host and thing, though several calls speak of it.
func (d *driftReport) add(one drifted) {
	for i := range d.found {
		if f := &d.found[i]; f.Host == one.Host && f.Resource == one.Resource && d.kind != "ndjson" {
			f.Changes = append(f.Changes, one.Changes...)
			return
		}
	}
	d.found = append(d.found, one)
	if d.kind == "ndjson" {
		d.json(one, "")
	}
}

func (d *driftReport) json(v any, indent string) {
	enc := json.NewEncoder(d.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	d.keep(0, enc.Encode(v))
}

// Close writes the report.
func (d *driftReport) Close() error {
	switch d.kind {
	case "ndjson":
	case "json":
		d.document()
	case "junit":
		d.junit()
	default:
		for _, f := range d.found {
			d.keep(fmt.Fprintln(d.out, f.line()))
		}
	}
	return d.err
}

// line is one drifted thing for people.
func (f drifted) line() string {
	what := render.Name(f.Host) + "  " + render.Name(f.Resource)
	if s := f.how(); s != "" {
		what += ": " + s
	}
	at := f.Function
	if f.File != "" {
		at = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return what + "  (" + render.Name(f.Task) + ", " + render.Name(at) + ")"
}

// longestValue is what a line shows of a value, in bytes.
const longestValue = 60

func (f drifted) how() string {
	var parts []string
	for _, c := range f.Changes {
		p := c.Attr
		if !c.Text && !c.Hidden && !c.Unknown && len(c.Before)+len(c.After) < longestValue {
			p = strings.TrimSpace(p + " " + c.Before)
			if c.After != "" {
				p += " -> " + c.After
			}
		}
		if p != "" {
			parts = append(parts, strings.ReplaceAll(render.Sanitize(p), "\n", " "))
		}
	}
	return strings.Join(parts, ", ")
}

func (d *driftReport) status() string {
	switch {
	case len(d.problems) > 0:
		return "incomplete"
	case len(d.found) > 0:
		return "drift"
	}
	return "clean"
}

func (d *driftReport) document() {
	hosts := map[string][]drifted{}
	for _, h := range d.order {
		hosts[h] = []drifted{}
	}
	for _, f := range d.found {
		hosts[f.Host] = append(hosts[f.Host], f)
	}
	problems := d.problems
	if problems == nil {
		problems = []driftProblem{}
	}
	d.json(struct {
		Status   string               `json:"status"` // clean, drift, incomplete
		Drifted  int                  `json:"drifted"`
		Hosts    map[string][]drifted `json:"hosts"`
		Problems []driftProblem       `json:"problems"`
	}{d.status(), len(d.found), hosts, problems}, "  ")
}

// The report as CI systems read it: a suite for each host, a failed case for
// each thing that differs.
type (
	driftSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []driftSuite `xml:"testsuite"`
	}
	driftSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Cases    []driftCase `xml:"testcase"`
	}
	driftCase struct {
		Name    string     `xml:"name,attr"`
		Class   string     `xml:"classname,attr"`
		Failure *driftText `xml:"failure"`
		Error   *driftText `xml:"error"`
	}
	driftText struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func (d *driftReport) junit() {
	run := driftSuites{Name: "drift"}
	hosts := slices.Clone(d.order)
	for _, p := range d.problems {
		if !slices.Contains(hosts, p.Host) {
			hosts = append(hosts, p.Host)
		}
	}
	for _, h := range hosts {
		s := driftSuite{Name: render.Name(h)}
		if h == "" {
			s.Name = "run"
		}
		for _, f := range d.found {
			if f.Host == h {
				s.Failures++
				s.Cases = append(s.Cases, driftCase{Name: render.Name(f.Resource), Class: s.Name,
					Failure: &driftText{Type: "drift", Message: render.Name(f.Resource) + ": " + f.how(), Text: f.line()}})
			}
		}
		for _, p := range d.problems {
			if p.Host == h {
				s.Errors++
				text := render.Sanitize(p.Message)
				first, _, _ := strings.Cut(text, "\n")
				s.Cases = append(s.Cases, driftCase{Name: "check " + render.Name(p.Task), Class: s.Name, Error: &driftText{Type: "check", Message: first, Text: text}})
			}
		}
		if len(s.Cases) == 0 {
			s.Cases = []driftCase{{Name: "as described", Class: s.Name}}
		}
		s.Tests = len(s.Cases)
		run.Tests += s.Tests
		run.Failures += s.Failures
		run.Errors += s.Errors
		run.Suites = append(run.Suites, s)
	}
	d.keep(io.WriteString(d.out, xml.Header))
	enc := xml.NewEncoder(d.out)
	enc.Indent("", "  ")
	d.keep(0, enc.Encode(run))
	d.keep(io.WriteString(d.out, "\n"))
}
