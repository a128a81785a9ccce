package conntest

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
)

// Lost checks what a Conn that can be lost (one over a network) does then. open
// returns a new connection and what ends its link: at once, or in a way that the
// connection has to find out. The cases run side by side: each has a link of its
// own.
func Lost(t *testing.T, open func(t testing.TB) (c connection.Conn, lose func())) {
	for _, c := range []struct {
		name string
		use  func(t *testing.T, c connection.Conn, lose func()) error
	}{
		{"nothing under way", func(t *testing.T, c connection.Conn, lose func()) error {
			lose()
			// The first to come may have to find out.
			return connection.Run(minute(t), c, connection.Command{Argv: []string{"sleep", "1000"}}, nil, nil, nil)
		}},
		{"a command", func(t *testing.T, c connection.Conn, lose func()) error {
			p, err := c.Start(minute(t), connection.Command{Argv: []string{"/bin/sh", "-c", "echo here; exec sleep 1000"}})
			if err != nil {
				t.Fatal(err)
			}
			lines(t, p.Stdout(), 1)
			lose()
			if b, _ := io.ReadAll(p.Stdout()); len(b) > 0 { // Wait says how it ended
				t.Errorf("its output ends with %q", b)
			}
			return p.Wait()
		}},
		{"its input", func(t *testing.T, c connection.Conn, lose func()) error {
			return connection.Run(minute(t), c, connection.Command{Argv: []string{"/bin/sh", "-c", "cat >/dev/null"}}, &losing{after: 1 << 20, lose: lose}, nil, nil)
		}},
		{"its output", func(t *testing.T, c connection.Conn, lose func()) error {
			return connection.Run(minute(t), c, connection.Command{Argv: []string{"/bin/sh", "-c", "exec cat /dev/zero"}}, nil, &losing{after: 1 << 20, lose: lose}, nil)
		}},
		{"an upload", func(t *testing.T, c connection.Conn, lose func()) error {
			return c.Upload(minute(t), t.TempDir()+"/never", 0o600, 1<<30, &losing{after: 1 << 20, lose: lose})
		}},
		{"a download", func(t *testing.T, c connection.Conn, lose func()) error {
			path := t.TempDir() + "/file"
			if err := connection.Run(minute(t), c, connection.Command{Argv: []string{"/bin/sh", "-c", `head -c 64000000 /dev/zero >"$1"`, "sh", path}}, nil, nil, nil); err != nil {
				t.Fatal(err)
			}
			return c.Download(minute(t), path, &losing{after: 1 << 20, lose: lose})
		}},
		{"many at once", func(t *testing.T, c connection.Conn, lose func()) error {
			var wg sync.WaitGroup
			errs := make(chan error, 30) // more than there are sessions: some wait for one
			begun := make(signal, cap(errs))
			for range cap(errs) {
				wg.Go(func() {
					errs <- connection.Run(minute(t), c, connection.Command{Argv: []string{"/bin/sh", "-c", "echo here; exec sleep 1000"}}, nil, begun, nil)
				})
			}
			for range 3 {
				<-begun
			}
			lose()
			wg.Wait()
			close(errs)
			for err := range errs {
				if !isLost(err) {
					return err
				}
			}
			return errLost
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn, lose := open(t)
			var once sync.Once
			lost := make(chan error, 1)
			go func() {
				defer close(lost) // a Fatal in there ends this goroutine alone
				lost <- c.use(t, conn, func() { once.Do(lose) })
			}()
			select {
			case err, ok := <-lost:
				if !ok {
					t.FailNow()
				}
				if !isLost(err) {
					t.Errorf("got %v (%T), want a *connection.Error of class tcp", err, err)
				}
			case <-time.After(2 * Patience):
				t.Fatal("hangs")
			}
			for what, err := range map[string]error{
				"Start":    second(conn.Start(minute(t), connection.Command{Argv: []string{"true"}})),
				"Upload":   conn.Upload(minute(t), "/tmp/never", 0o600, 1, strings.NewReader("x")),
				"Download": conn.Download(minute(t), "/dev/null", io.Discard),
			} {
				if !isLost(err) {
					t.Errorf("%s afterwards gives %v (%T)", what, err, err)
				}
			}
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				for range 2 {
					if err := conn.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				}
			}()
			select {
			case <-closed:
			case <-time.After(Patience):
				t.Fatal("Close hangs")
			}
		})
	}
}

var errLost = &connection.Error{Class: connection.ClassTCP, Op: "all of them", Err: errors.New("lost")}

func isLost(err error) bool {
	var ce *connection.Error
	return errors.As(err, &ce) && ce.Class == connection.ClassTCP && connection.Unreachable(err)
}

func second(_ connection.Process, err error) error { return err }

func minute(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// losing gives and takes bytes without end, and loses the link on the way.
type losing struct {
	n, after int
	lose     func()
}

func (l *losing) count(p []byte) (int, error) {
	if l.n += len(p); l.n > l.after {
		l.lose()
	}
	return len(p), nil
}

func (l *losing) Read(p []byte) (int, error)  { clear(p); return l.count(p) }
func (l *losing) Write(p []byte) (int, error) { return l.count(p) }

// signal tells of each write.
type signal chan struct{}

func (s signal) Write(p []byte) (int, error) {
	s <- struct{}{}
	return len(p), nil
}
