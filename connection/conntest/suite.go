// Package conntest holds what every kind of connection.Conn must do. A kind
// passes by calling Run with a way to open one.
package conntest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
)

// Patience is how long the suite waits for what must happen soon.
const Patience = 15 * time.Second

// Run checks the contract. open returns a new connection to a host with
// /bin/sh and the usual tools; the suite closes it. It must start nothing else
// that outlives the connection, since the suite counts goroutines.
func Run(t *testing.T, open func(t testing.TB) connection.Conn) {
	t.Run("commands", func(t *testing.T) { commands(t, open) })
	t.Run("cancel", func(t *testing.T) { cancelling(t, open) })
	t.Run("files", func(t *testing.T) { files(t, open) })
	t.Run("concurrent", func(t *testing.T) { concurrent(t, open) })
	t.Run("close", func(t *testing.T) { closing(t, open) })
	t.Run("leaks", func(t *testing.T) { leaks(t, open) })
}

// host is a connection under test with a folder of its own on the other side.
type host struct {
	t    testing.TB
	conn connection.Conn
	dir  string
}

func dial(t testing.TB, open func(t testing.TB) connection.Conn) *host {
	t.Helper()
	h := &host{t: t, conn: open(t)}
	h.dir = strings.TrimSpace(h.sh("mktemp -d"))
	if !strings.HasPrefix(h.dir, "/") {
		t.Fatalf("mktemp -d printed %q", h.dir)
	}
	t.Cleanup(func() {
		_, _, err := h.run(nil, "/bin/sh", "-c", `rm -rf -- "$1"`, "sh", h.dir)
		if err = errors.Join(err, h.conn.Close()); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return h
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

func (h *host) run(stdin io.Reader, argv ...string) (string, string, error) {
	h.t.Helper()
	var out, errOut bytes.Buffer
	err := connection.Run(deadline(h.t), h.conn, connection.Command{Argv: argv}, stdin, &out, &errOut)
	return out.String(), errOut.String(), err
}

// sh runs a script that must succeed and returns its output.
func (h *host) sh(script string, args ...string) string {
	h.t.Helper()
	out, errOut, err := h.run(nil, append([]string{"/bin/sh", "-c", script, "sh"}, args...)...)
	if err != nil {
		h.t.Fatalf("%s: %v: %s", script, err, errOut)
	}
	return out
}

// eventually polls a condition, for at most Patience.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not: %s", Patience, what)
		}
	}
}

// noise is reproducible binary data with every byte value, NUL and newlines.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func commands(t *testing.T, open func(t testing.TB) connection.Conn) {
	h := dial(t, open)
	sh := func(script string) connection.Command {
		return connection.Command{Argv: []string{"/bin/sh", "-c", script}}
	}
	for _, c := range []struct {
		name     string
		command  connection.Command
		stdin    string
		out, err string
		exit     *connection.ExitError
	}{
		{"nothing", sh("true"), "", "", "", nil},
		{"streams stay apart", sh("echo out; echo err >&2"), "", "out\n", "err\n", nil},
		{"stdin to its end", sh("cat"), "hello\nno newline", "hello\nno newline", "", nil},
		{"stdin is empty when none is given", sh("wc -c | tr -d ' '"), "", "0\n", "", nil},
		{"stdin nobody reads", sh("exit 0"), strings.Repeat("x", 1<<20), "", "", nil},
		{"exit code", sh("echo last words; exit 3"), "", "last words\n", "", &connection.ExitError{Code: 3}},
		{"exit code 255", sh("exit 255"), "", "", "", &connection.ExitError{Code: 255}},
		{"signal", sh("kill -KILL $$"), "", "", "", &connection.ExitError{Code: -1, Signal: "KILL"}},
		{"signal TERM", sh("kill -TERM $$"), "", "", "", &connection.ExitError{Code: -1, Signal: "TERM"}},
		{"line", connection.Command{Line: `echo "a  b"; exit 4`}, "", "a  b\n", "", &connection.ExitError{Code: 4}},
		{"line with quotes", connection.Command{Line: `printf '%s|' 'it'"'"'s' "#1"`}, "", "it's|#1|", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			err := connection.Run(deadline(t), h.conn, c.command, strings.NewReader(c.stdin), &out, &errOut)
			var exit *connection.ExitError
			switch {
			case c.exit == nil && err != nil:
				t.Errorf("Wait = %v, want nil", err)
			case c.exit != nil && !errors.As(err, &exit):
				t.Errorf("Wait = %v, want %v", err, c.exit)
			case c.exit != nil && *exit != *c.exit:
				t.Errorf("Wait = %+v, want %+v", *exit, *c.exit)
			}
			if out.String() != c.out || errOut.String() != c.err {
				t.Errorf("output %q, %q; want %q, %q", out.String(), errOut.String(), c.out, c.err)
			}
		})
	}

	t.Run("arguments arrive unchanged", func(t *testing.T) { Arguments(t, h.conn) })
	t.Run("command that does not exist", func(t *testing.T) {
		_, _, err := h.run(nil, "/no/such/program")
		if err == nil {
			t.Error("no error")
		}
	})
	t.Run("neither Argv nor Line", func(t *testing.T) {
		if p, err := h.conn.Start(deadline(t), connection.Command{}); err == nil {
			t.Errorf("Start = %v, want an error", p)
		}
	})
	t.Run("10 MB both ways", func(t *testing.T) {
		data := noise(10 << 20)
		var out bytes.Buffer
		if err := connection.Run(deadline(t), h.conn, connection.Command{Argv: []string{"cat"}}, bytes.NewReader(data), &out, nil); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), data) {
			t.Errorf("got %d bytes of %d, or others", out.Len(), len(data))
		}
	})
	t.Run("talk while it runs", func(t *testing.T) {
		p, err := h.conn.Start(deadline(t), connection.Command{Argv: []string{"cat"}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			want := fmt.Sprintf("message %d\n", i)
			if _, err := io.WriteString(p.Stdin(), want); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(p.Stdout(), got); err != nil || string(got) != want {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		if err := p.Stdin().Close(); err != nil {
			t.Error(err)
		}
		if n, err := p.Stdout().Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", n, err)
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
		if err := p.Wait(); err != nil {
			t.Errorf("second Wait: %v", err)
		}
	})
	t.Run("streams may be closed instead of read", func(t *testing.T) {
		p, err := h.conn.Start(deadline(t), sh("dd if=/dev/zero bs=65536 count=64 2>/dev/null; echo done >&2"))
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := p.Stdout().(io.Closer); !ok || c.Close() != nil {
			t.Error("Stdout can't be closed")
		}
		if got, err := io.ReadAll(p.Stderr()); err != nil || string(got) != "done\n" {
			t.Errorf("Stderr = %q, %v", got, err)
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Run("a daemon left behind does not hold Wait up", func(t *testing.T) {
		start := time.Now()
		out := h.sh(`sleep 100 & echo $!`)
		if took := time.Since(start); took > Patience/2 {
			t.Errorf("took %v", took)
		}
		h.sh(`kill -9 "$1"`, strings.TrimSpace(out))
	})
	t.Run("slow reader loses nothing", func(t *testing.T) {
		p, err := h.conn.Start(deadline(t), sh("printf 12345678901234567890"))
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		one := make([]byte, 1)
		for {
			n, err := p.Stdout().Read(one)
			got = append(got, one[:n]...)
			if err != nil {
				break
			}
			time.Sleep(60 * time.Millisecond) // the point is to be slower than any grace after the exit
		}
		if string(got) != "12345678901234567890" {
			t.Errorf("got %q", got)
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		var out bytes.Buffer
		c := sh("tty >/dev/null && echo yes; echo err >&2")
		c.Terminal = true
		if err := connection.Run(deadline(t), h.conn, c, nil, &out, nil); err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(out.String(), "\r", ""); !strings.Contains(got, "yes\nerr\n") {
			t.Errorf("got %q", got)
		}
	})
}

// Arguments checks that an Argv arrives unchanged, whatever the login shell on
// the way makes of quotes, blanks and control characters.
func Arguments(t *testing.T, conn connection.Conn) {
	t.Helper()
	args := []string{
		"plain", "", "two words", "  ", "it's", `"double"`, `back\slash`, `\\`, `trailing\`, `'`, `''`, `!bang!`, `$HOME`, "`id`", "$(id)",
		"*", "?", "[a]", "{a,b}", "~", "~root", "a;b", "a&b", "a|b", "a>b", "<a", "(a)", "#hash", "a#b", "%1", "=ls", "a=b", "-n", "--", "-e",
		"tab\there", "příbor", "日本", "^caret^", "@file", "a,b", "{}",
	}
	// Some need another way through the shell, which all arguments of a command then take.
	hard := []string{"new\nline", "\n", "cr\rlf", "\x01\x1b[0m", "\xff\xfe", "é'\\!\n$x", "100%\n%s", `\n` + "\n"}
	for _, args := range [][]string{args, append(hard, args...)} {
		var out, errOut bytes.Buffer
		argv := append([]string{"/bin/sh", "-c", `for a; do printf '%s\0' "$a"; done`, "sh"}, args...)
		if err := connection.Run(deadline(t), conn, connection.Command{Argv: argv}, nil, &out, &errOut); err != nil {
			t.Fatalf("%v: %s", err, errOut.String())
		}
		got := strings.Split(strings.TrimSuffix(out.String(), "\x00"), "\x00")
		for i := range max(len(got), len(args)) {
			if i >= len(got) || i >= len(args) || got[i] != args[i] {
				t.Errorf("argument %d of %d: got %q, want %q", i, len(got), at(got, i), at(args, i))
			}
		}
	}
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return "(none)"
}

func concurrent(t *testing.T, open func(t testing.TB) connection.Conn) {
	h := dial(t, open)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			want := strings.Repeat(strconv.Itoa(i), 200_000)
			var out bytes.Buffer
			if err := connection.Run(deadline(t), h.conn, connection.Command{Argv: []string{"cat"}}, strings.NewReader(want), &out, nil); err != nil || out.String() != want {
				t.Errorf("command %d: %v, %d bytes", i, err, out.Len())
			}
			path := h.dir + "/f" + strconv.Itoa(i)
			if err := h.conn.Upload(deadline(t), path, 0o600, int64(len(want)), strings.NewReader(want)); err != nil {
				t.Errorf("upload %d: %v", i, err)
				return
			}
			out.Reset()
			if err := h.conn.Download(deadline(t), path, &out); err != nil || out.String() != want {
				t.Errorf("download %d: %v, %d bytes", i, err, out.Len())
			}
		})
	}
	wg.Wait()
}

func closing(t *testing.T, open func(t testing.TB) connection.Conn) {
	t.Run("twice, and nothing works afterwards", func(t *testing.T) {
		c := open(t)
		for range 2 {
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if _, err := c.Start(deadline(t), connection.Command{Argv: []string{"true"}}); err == nil {
			t.Error("Start works after Close")
		}
		if err := c.Upload(deadline(t), "/tmp/never", 0o600, 0, strings.NewReader("")); err == nil {
			t.Error("Upload works after Close")
		}
		if err := c.Download(deadline(t), "/dev/null", io.Discard); err == nil {
			t.Error("Download works after Close")
		}
	})
	t.Run("ends what runs", func(t *testing.T) {
		c := open(t)
		p, err := c.Start(deadline(t), connection.Command{Argv: []string{"/bin/sh", "-c", "echo here; exec sleep 1000"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(p.Stdout(), make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		waited := make(chan error, 1)
		go func() { waited <- p.Wait() }()
		select {
		case err := <-waited:
			var lost *connection.Error
			if !errors.As(err, &lost) {
				t.Errorf("Wait = %v, want *connection.Error", err)
			}
		case <-time.After(Patience):
			t.Fatal("Wait hangs after Close")
		}
	})
}

func leaks(t *testing.T, open func(t testing.TB) connection.Conn) {
	use := func() {
		c := open(t)
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := connection.Run(ctx, c, connection.Command{Argv: []string{"true"}}, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
		early, stop := context.WithCancel(ctx)
		p, err := c.Start(early, connection.Command{Argv: []string{"sleep", "1000"}})
		if err != nil {
			t.Fatal(err)
		}
		stop()
		if err := p.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait = %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	use()
	runtime.GC()
	before := runtime.NumGoroutine()
	for range 3 {
		use()
	}
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
}
