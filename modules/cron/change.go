package cron

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// present is cron.present.
type present struct {
	Name string `lua:"name,required,primary" doc:"Name of the job, by which it is found again; a comment in the crontab holds it"`
	Job  string `lua:"job" alias:"command,cmd" doc:"Command to run; cron takes a % for the end of the line unless it is written \\%"`
	times
	Disabled bool   `lua:"disabled" doc:"Keep the job in the crontab as a comment, so that it does not run"`
	State    string `lua:"state" enum:"present,absent" doc:"Whether there must be such a job"`
	edit
}

// Validate checks the schedule and what else cron would stumble over.
func (p *present) Validate() error {
	p.Job = strings.Trim(p.Job, "\r\n")
	switch err := errors.Join(checkName(p.Name), p.checkTable()); {
	case err != nil:
		return err
	case p.State == modules.Absent:
		return nil
	case p.Job == "":
		return errors.New("job is missing: the command to run")
	case strings.ContainsAny(p.Job, "\r\n\x00"):
		return fmt.Errorf("job = %q has a line break in it, which a crontab cannot hold; write a script and name it", p.Job)
	case p.File != "" && p.User == "":
		return errors.New("user is missing: a job in a cron_file says which user runs it")
	}
	return p.checkTimes()
}

func checkName(name string) error {
	if name == "" || strings.ContainsAny(name, "\r\n\x00") {
		return fmt.Errorf("name = %q is no name: it is one line of a crontab", name)
	}
	return nil
}

// Check looks for the job.
func (p *present) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	if p.State == modules.Absent {
		return p.check(ctx, v, without(p.Name))
	}
	if p.File != "" {
		if _, err := hostfile.UserID(ctx, v, p.User); err != nil && !guessing(v) {
			return modules.Diff{}, fmt.Errorf("%w, and cron would not run the job; user.create makes one", err)
		}
	}
	return p.check(ctx, v, func(lines []string) ([]string, error) { return putJob(lines, p.Name, p.line()), nil })
}

// line is the job as the crontab has it.
func (p *present) line() string {
	parts := []string{p.when(), p.Job}
	if p.File != "" {
		parts = []string{p.when(), p.User, p.Job}
	}
	line := strings.Join(parts, " ")
	if p.Disabled {
		return "#" + line
	}
	return line
}

func without(name string) func([]string) ([]string, error) {
	return func(lines []string) ([]string, error) {
		if findJob(lines, name) < 0 {
			return lines, nil
		}
		return dropJob(lines, name), nil
	}
}

// absent is cron.absent.
type absent struct {
	Name string `lua:"name,required,primary" doc:"Name of the job"`
	edit
}

// Validate checks the names.
func (a *absent) Validate() error { return errors.Join(checkName(a.Name), a.checkTable()) }

// Check looks for the job.
func (a *absent) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	return a.check(ctx, v, without(a.Name))
}

// variable is cron.env.
type variable struct {
	Name   string `lua:"name,required,primary" doc:"Name of the variable, such as PATH or MAILTO"`
	Value  string `lua:"value" alias:"job" pos:"2" doc:"Its value, without quotes; cron does not fill in other variables"`
	After  string `lua:"insertafter" alias:"insert_after" doc:"Variable behind which a new one goes; without it on top"`
	Before string `lua:"insertbefore" alias:"insert_before" doc:"Variable before which a new one goes"`
	State  string `lua:"state" enum:"present,absent" doc:"Whether the variable must be set"`
	edit

	line string
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Validate checks the name and finds quotes for the value.
func (e *variable) Validate() error {
	if err := e.checkTable(); err != nil {
		return err
	}
	quote := `"`
	if strings.Contains(e.Value, quote) {
		quote = `'`
	}
	switch {
	case !variableName.MatchString(e.Name):
		return fmt.Errorf("name = %q is no name of a variable", e.Name)
	case e.After != "" && e.Before != "":
		return errors.New("insertafter and insertbefore exclude each other; give one")
	case strings.ContainsAny(e.Value, "\r\n\x00"):
		return fmt.Errorf("value = %q has a line break in it, which a crontab cannot hold", e.Value)
	case strings.Contains(e.Value, quote):
		return fmt.Errorf("value = %q has both kinds of quotes in it, which a crontab cannot hold", e.Value)
	}
	e.line = e.Name + "=" + quote + e.Value + quote
	return nil
}

// Check looks for the variable.
func (e *variable) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	return e.check(ctx, v, func(lines []string) ([]string, error) {
		if e.State == modules.Absent {
			if findVariable(lines, e.Name) < 0 {
				return lines, nil
			}
			return dropVariable(lines, e.Name), nil
		}
		return putVariable(lines, e.Name, e.line, e.After, e.Before)
	})
}
