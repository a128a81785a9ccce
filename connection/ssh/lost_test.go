package ssh_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// patience is how long a test waits for what must happen soon, on a machine
// that may be busy with other things.
const patience = 30 * time.Second

// running starts a command and returns once it runs.
func running(t *testing.T, c connection.Conn) connection.Process {
	t.Helper()
	p, err := c.Start(testContext(t), connection.Command{Argv: []string{"/bin/sh", "-c", "echo here; exec sleep 1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p.Stdout(), make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestConnectionLost(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	gone := func(t *testing.T, c connection.Conn, err error, message string) {
		t.Helper()
		expect(t, s, err, connection.ClassTCP, message, "the link or the host went down while this was under way")
		if _, err := c.Start(testContext(t), connection.Command{Argv: []string{"true"}}); err == nil {
			t.Error("Start works on a lost connection")
		} else {
			asError(t, err)
		}
		select {
		case <-c.(interface{ Done() <-chan struct{} }).Done():
		case <-time.After(patience):
			t.Error("Done is not closed")
		}
	}
	t.Run("cut", func(t *testing.T) {
		c := mustDial(t, newDialer(t, ssh.Config{}), s.Target())
		p := running(t, c)
		s.Cut()
		gone(t, c, p.Wait(), `wait for the command: the connection broke`)
	})
	t.Run("during an upload", func(t *testing.T) {
		c := mustDial(t, newDialer(t, ssh.Config{}), s.Target())
		file := filepath.Join(t.TempDir(), "f")
		err := c.Upload(testContext(t), file, 0o600, 64<<20, &cutter{s: s})
		expect(t, s, err, connection.ClassTCP, `upload `+file+`: the connection broke`, `.*`)
		if _, err := os.Stat(file); err == nil {
			t.Error("half a file is there")
		}
	})
}

// cutter delivers zeros and cuts the server's connections on the way.
type cutter struct {
	s *sshdtest.Server
	n int
}

func (c *cutter) Read(p []byte) (int, error) {
	if c.n += len(p); c.n > 4<<20 && c.s != nil {
		c.s.Cut()
		c.s = nil
	}
	clear(p)
	return len(p), nil
}
