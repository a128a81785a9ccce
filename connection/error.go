package connection

import (
	"errors"
	"fmt"
)

// Class says in which phase a host could not be served. Each has its own cure.
type Class string

// The classes, in the order in which the phases happen.
const (
	ClassDNS     Class = "dns"     // the name does not resolve
	ClassTCP     Class = "tcp"     // no connection, or it broke
	ClassHostKey Class = "hostkey" // the host is not who known_hosts says
	ClassAuth    Class = "auth"    // the host does not let us in
	ClassChannel Class = "channel" // no session, no SFTP
	ClassShim    Class = "shim"    // the shim cannot be put there or started
	ClassBecome  Class = "become"  // sudo, doas or su refused
	ClassTask    Class = "task"    // the task itself failed
)

// Error is a failure to reach or use a host.
type Error struct {
	Class Class
	Host  string // inventory name
	Op    string // what was tried: "dial 10.0.0.1:22"
	Err   error
	Hint  string // what to do next, one sentence, may be empty
}

// Error gives "OP: CAUSE"; class, host and hint are shown by whoever renders it.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Op, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Unreachable reports whether err means that the host could not be reached at
// all, as against a task that failed on it.
func Unreachable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Class != ClassTask && e.Class != ClassBecome
}

// ExitError is the end of a command that was not exit code 0.
type ExitError struct {
	Code   int    // -1 when a signal ended it
	Signal string // "KILL", without SIG; empty after an exit
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return "killed by signal " + e.Signal
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// SizeError is a file that was not as long as it was said to be: its source
// ended early, or bytes got lost. The old file is still in place.
type SizeError struct {
	Want, Got int64
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("got %d bytes of %d; the old file is untouched", e.Got, e.Want)
}
