// Package connection reaches hosts: over SSH, on this machine, or through a
// resident agent. It moves bytes and runs commands; what they mean is not its
// business.
package connection

import (
	"context"
	"io"
	"io/fs"
)

// Conn is an open way to one host. All methods may be called from several
// goroutines at once. Whatever kind it is, it passes the suite in
// connection/conntest.
type Conn interface {
	// Start begins a command and returns while it runs. A cancelled ctx ends
	// the command on the host too, as far as the host lets us, and makes Wait
	// return at once with ctx's error.
	Start(ctx context.Context, c Command) (Process, error)

	// Upload writes src to path with the given mode: whole or not at all. size
	// is what src must deliver, or -1 where nobody knows; a source that fails
	// or ends early leaves the old file in place.
	Upload(ctx context.Context, path string, mode fs.FileMode, size int64, src io.Reader) error

	// Download copies the file at path to dst.
	Download(ctx context.Context, path string, dst io.Writer) error

	// Close ends the connection and everything that was started over it.
	// It may be called more than once.
	Close() error
}

// Command is what Start runs. Exactly one of Argv and Line is set.
type Command struct {
	// Argv is run without interpretation; over SSH it is quoted so that the
	// login shell hands it on unchanged.
	Argv []string
	// Line is given to the login shell as it is.
	Line string
	// Terminal asks for a pseudo-terminal; its output is merged into Stdout.
	Terminal bool
}

// Process is a started command. Its three streams must be used or closed; an
// unread Stdout holds the command up, as a pipe would.
type Process interface {
	Stdin() io.WriteCloser
	Stdout() io.Reader
	Stderr() io.Reader
	// Wait returns nil after exit code 0, *ExitError after any other end of
	// the command, *Error when the connection was lost, ctx's error when the
	// context given to Start was cancelled. After Wait nothing more arrives on
	// the streams.
	Wait() error
}

// Target says how one host is to be reached. The zero value of every field
// but Name and Kind means: as ~/.ssh/config and the defaults say.
type Target struct {
	Name           string // the inventory's name: shown, never dialled
	Kind           string // "ssh" (default), "local"
	Address        string // host name or IP; default Name
	Port           int
	User           string
	PrivateKeyFile string
	Password       *Secret           // nil: no password login
	Jump           string            // as ssh -J: [user@]host[:port],…
	Options        map[string]string // as ssh -o Key=Value, keys in lower case
}

// Secret is text that prints itself as "[secret]" wherever it is formatted or
// marshalled. Reveal is the only way to its content.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) *Secret { return &Secret{text} }

// Reveal returns the text. Callers pass it on over a pipe, never in argv or
// the environment.
func (s *Secret) Reveal() string {
	if s == nil {
		return ""
	}
	return s.text
}

// String hides the text from every fmt verb that asks for a string.
func (s Secret) String() string { return "[secret]" }

// GoString hides the text from %#v.
func (s Secret) GoString() string { return "[secret]" }

// MarshalText hides the text from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }
