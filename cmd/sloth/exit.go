package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/go-multierror"
	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/connection"
)

// The exit codes, as documented for people and scripts.
const (
	exitOK          = 0
	exitUsage       = 1 // usage, configuration, a file that does not parse
	exitFailed      = 2 // a task failed or timed out
	exitChanges     = 3 // a plan has changes, with --detailed-exitcode
	exitUnreachable = 4
	exitMaxFail     = 5
	exitLocked      = 6
	exitUnknown     = 7 // an outcome is not known
	exitInterrupted = 130
)

// exitError ends the program with a code after everything has been said.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit %d", e.code) }

// hinted is an error with the next step to take.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

func withHint(err error, hint string) error { return hinted{err, hint} }

// exitCode prints err, all of its parts, and turns it into the program's code.
func (a *app) exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	var exit exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	a.printError(err)
	if connection.Unreachable(err) {
		return exitUnreachable
	}
	return exitUsage
}

func (a *app) printError(err error) {
	var many *multierror.Error
	if errors.As(err, &many) {
		for _, e := range many.Errors {
			a.printError(e)
		}
		return
	}
	fmt.Fprintf(a.stderr, "%s %s\n", a.paint("31", "sloth:"), indent(render.Sanitize(a.redactor().String(err.Error()))))
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(a.stderr, "       %s\n", indent(render.Sanitize(a.redactor().String(hint))))
	}
}

func hintOf(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.hint
	}
	var c *connection.Error
	if errors.As(err, &c) {
		return c.Hint
	}
	return ""
}

// indent keeps the lines after the first under the text of the first.
func indent(s string) string {
	return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n       ")
}
