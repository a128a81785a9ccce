package conntest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
)

func cancelling(t *testing.T, open func(t testing.TB) connection.Conn) {
	h := dial(t, open)
	alive := func(pid string) bool {
		// A zombie is dead: its parent has yet to look.
		_, _, err := h.run(nil, "/bin/sh", "-c", `kill -0 $1 2>/dev/null && ! grep -q "^State:.*Z" /proc/$1/status 2>/dev/null`, "sh", pid)
		return err == nil
	}
	t.Run("before Start", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := h.conn.Start(ctx, connection.Command{Argv: []string{"true"}}); !errors.Is(err, context.Canceled) {
			t.Errorf("Start = %v", err)
		}
	})
	// Cancelled again and again in the first moments: in whatever state the
	// command was, nothing of it may stay behind.
	t.Run("at every moment of the start", func(t *testing.T) {
		// A duration that nobody else sleeps.
		length := strconv.Itoa(100_000 + rand.IntN(900_000))
		for i := range 12 {
			ctx, cancel := context.WithCancel(context.Background())
			timer := time.AfterFunc(time.Duration(i)*500*time.Microsecond, cancel)
			p, err := h.conn.Start(ctx, connection.Command{Argv: []string{"/bin/sh", "-c", "exec sleep " + length}})
			if err == nil {
				err = within(t, p)
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			timer.Stop()
			cancel()
		}
		eventually(t, "every command is gone", func() bool {
			out, _, _ := h.run(nil, "/bin/sh", "-c", `for f in /proc/[0-9]*/cmdline; do tr '\0' ' ' <$f 2>/dev/null; echo; done | grep "^sleep $1 "`, "sh", length)
			return out == ""
		})
	})
	for _, c := range []struct {
		name    string
		command connection.Command
	}{
		{"argv", connection.Command{Argv: []string{"/bin/sh", "-c", "echo $$; sleep 1000 & echo $!; wait"}}},
		{"line", connection.Command{Line: "/bin/sh -c 'echo $$; sleep 1000 & echo $!; wait'"}},
		{"argv that ignores TERM", connection.Command{Argv: []string{"/bin/sh", "-c", "trap '' TERM HUP INT PIPE; echo $$; sleep 1000 & echo $!; wait; sleep 1000"}}},
		{"argv without output", connection.Command{Argv: []string{"/bin/sh", "-c", "echo $$; sleep 1000 & echo $!; exec >/dev/null 2>&1; wait"}}},
	} {
		t.Run(c.name+" is ended on the host", func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			p, err := h.conn.Start(ctx, c.command)
			if err != nil {
				t.Fatal(err)
			}
			pids := lines(t, p.Stdout(), 2)
			if !alive(pids[0]) || !alive(pids[1]) {
				t.Fatalf("processes %v don't run", pids)
			}
			start := time.Now()
			cancel()
			if err := within(t, p); !errors.Is(err, context.Canceled) {
				t.Errorf("Wait = %v, want context.Canceled", err)
			}
			if took := time.Since(start); took > Patience/3 {
				t.Errorf("Wait took %v after the cancel", took)
			}
			eventually(t, "the process is gone", func() bool { return !alive(pids[0]) })
			eventually(t, "its child is gone", func() bool { return !alive(pids[1]) })
		})
	}
	t.Run("others live on", func(t *testing.T) {
		script := []string{"/bin/sh", "-c", "echo $$; exec sleep 1000"}
		var procs []connection.Process
		var pids []string
		var cancels []context.CancelFunc
		for range 3 {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			p, err := h.conn.Start(ctx, connection.Command{Argv: script})
			if err != nil {
				t.Fatal(err)
			}
			procs, cancels = append(procs, p), append(cancels, cancel)
			pids = append(pids, lines(t, p.Stdout(), 1)...)
		}
		cancels[1]()
		if err := within(t, procs[1]); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait = %v", err)
		}
		eventually(t, "the cancelled one is gone", func() bool { return !alive(pids[1]) })
		if !alive(pids[0]) || !alive(pids[2]) {
			t.Error("its neighbours are gone too")
		}
		for _, i := range []int{0, 2} {
			cancels[i]()
			_ = within(t, procs[i])
		}
	})
	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := connection.Run(ctx, h.conn, connection.Command{Argv: []string{"sleep", "1000"}}, nil, nil, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took > Patience/3 {
			t.Errorf("took %v", took)
		}
	})
	t.Run("nothing is written to the caller's buffer after Wait", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		p, err := h.conn.Start(ctx, connection.Command{Argv: []string{"/bin/sh", "-c", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"}})
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 32<<10)
		var mu sync.Mutex
		waited := false
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				n, err := p.Stdout().Read(buf)
				mu.Lock()
				late := waited && n > 0
				mu.Unlock()
				if late {
					t.Errorf("%d bytes read after Wait", n)
				}
				if err != nil {
					return
				}
			}
		})
		lines(t, p.Stderr(), 0)
		cancel()
		err = within(t, p)
		mu.Lock()
		waited = true
		mu.Unlock()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Wait = %v", err)
		}
		n, err := p.Stdout().Read(make([]byte, 10))
		if n != 0 || err == nil {
			t.Errorf("a Read after Wait gives %d, %v", n, err)
		}
		wg.Wait()
	})
	t.Run("upload and download", func(t *testing.T) {
		path := h.dir + "/cancelled"
		if err := h.conn.Upload(deadline(t), path, 0o600, 3, strings.NewReader("old")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		src := &cancellingReader{after: 1 << 20, cancel: cancel}
		if err := h.conn.Upload(ctx, path, 0o600, 100<<20, src); !errors.Is(err, context.Canceled) {
			t.Errorf("Upload = %v", err)
		}
		var got bytes.Buffer
		if err := h.conn.Download(deadline(t), path, &got); err != nil || got.String() != "old" {
			t.Errorf("after a cancelled upload: %q, %v", got.String(), err)
		}
		if err := h.conn.Download(ctx, path, io.Discard); !errors.Is(err, context.Canceled) {
			t.Errorf("Download = %v", err)
		}
		h.onlyFile("cancelled")
	})
}

// cancellingReader delivers zeros and cancels a context on the way.
type cancellingReader struct {
	n, after int
	cancel   context.CancelFunc
}

func (r *cancellingReader) Read(p []byte) (int, error) {
	if r.n >= r.after {
		r.cancel()
	}
	if r.n > 99<<20 { // the upload did not notice
		return 0, io.ErrUnexpectedEOF
	}
	clear(p)
	r.n += len(p)
	return len(p), nil
}

// within is Wait, which must not take long.
func within(t testing.TB, p connection.Process) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(Patience):
		t.Fatalf("Wait hangs")
		return nil
	}
}

// lines reads n lines and not a byte more.
func lines(t testing.TB, r io.Reader, n int) []string {
	t.Helper()
	var out []string
	var line []byte
	for one := make([]byte, 1); len(out) < n; {
		if _, err := io.ReadFull(r, one); err != nil {
			t.Fatalf("after %q: %v", line, err)
		}
		if one[0] == '\n' {
			out, line = append(out, string(line)), nil
			continue
		}
		line = append(line, one[0])
	}
	return out
}
