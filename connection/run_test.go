package connection_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/connection"
)

// endedConn gives commands that have ended well before anybody reads a byte.
type endedConn struct{ *fakeConn }

func (endedConn) Start(context.Context, connection.Command) (connection.Process, error) {
	return ended{}, nil
}

type ended struct{}

func (ended) Stdin() io.WriteCloser { return discard{} }
func (ended) Stdout() io.Reader     { return strings.NewReader("output") }
func (ended) Stderr() io.Reader     { return strings.NewReader("") }
func (ended) Wait() error           { return nil }

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }
func (b broken) Read([]byte) (int, error)  { return 0, b.err }

// TestRunReportsItsOwnSide: what could not be written or read here is an error
// even when the command ended well.
func TestRunReportsItsOwnSide(t *testing.T) {
	no := errors.New("disk full")
	run := func(stdin io.Reader, stdout io.Writer) error {
		return connection.Run(context.Background(), endedConn{newFake()}, connection.Command{Line: "x"}, stdin, stdout, nil)
	}
	if err := run(nil, broken{no}); !errors.Is(err, no) {
		t.Errorf("a writer that fails gives %v", err)
	}
	if err := run(broken{no}, nil); !errors.Is(err, no) {
		t.Errorf("a source that fails gives %v", err)
	}
	if err := run(strings.NewReader("in"), io.Discard); err != nil {
		t.Error(err)
	}
}
