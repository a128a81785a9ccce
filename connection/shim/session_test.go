package shim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/wire"
)

// played is a connection whose other end is a test: script is the worker, or
// what the login shell did instead of starting one.
type played struct {
	t      *testing.T
	script func(in io.Reader, out io.WriteCloser) error
	wg     sync.WaitGroup
}

func (p *played) Start(ctx context.Context, _ connection.Command) (connection.Process, error) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	r := &playedProcess{in: inW, out: outR, ctx: ctx, done: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() {
		inR.CloseWithError(ctx.Err())
		outW.CloseWithError(io.EOF)
	})
	p.wg.Go(func() {
		defer stop()
		r.err = p.script(inR, outW)
		outW.Close()
		inR.Close()
		close(r.done)
	})
	return r, nil
}

func (p *played) Upload(context.Context, string, fs.FileMode, int64, io.Reader) error {
	p.t.Error("an upload")
	return errors.New("no uploads")
}
func (p *played) Download(context.Context, string, io.Writer) error { return errors.New("no") }
func (p *played) Close() error                                      { p.wg.Wait(); return nil }

type playedProcess struct {
	in   *io.PipeWriter
	out  *io.PipeReader
	ctx  context.Context
	done chan struct{}
	err  error
}

func (p *playedProcess) Stdin() io.WriteCloser { return p.in }
func (p *playedProcess) Stdout() io.Reader     { return p.out }
func (p *playedProcess) Stderr() io.Reader     { return strings.NewReader("") }
func (p *playedProcess) Wait() error {
	select {
	case <-p.done:
		return p.err
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

type noBinaries struct{}

func (noBinaries) For(string, string) ([]byte, string, error) {
	return nil, strings.Repeat("0", 64), nil
}

// peer is the worker's end in a script.
type peer struct {
	*wire.Conn
	t *testing.T
}

func (p peer) say(kind wire.Kind, v any) {
	if err := p.Send(context.Background(), kind, v); err != nil {
		p.t.Errorf("say %s: %v", kind, err)
	}
}

// hear returns the body of the next message that is of this kind.
func (p peer) hear(want wire.Kind) []byte {
	for {
		kind, body, err := p.Receive()
		if err != nil {
			return nil
		}
		if kind == want {
			return body
		}
	}
}

// play opens a session whose worker, once it has a job, does what script says.
func play(t *testing.T, script func(p peer, job string) error) *shim.Session {
	t.Helper()
	conn := &played{t: t}
	conn.script = func(in io.Reader, out io.WriteCloser) error {
		fmt.Fprintf(out, "\n%sREADY\n", wire.Mark)
		p := peer{wire.NewConn(in, out), t}
		p.say(wire.KindWelcome, wire.Welcome{Version: wire.Version, User: "u"})
		var j wire.Job
		body := p.hear(wire.KindJob)
		if body == nil {
			return nil
		}
		if err := wire.Decode(wire.KindJob, body, &j); err != nil {
			t.Error(err)
		}
		err := script(p, j.ID)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.Drain(ctx) // the session may have hung up
		return err
	}
	s, err := shim.Open(deadline(t), conn, shim.Options{Host: "web-1", Binaries: noBinaries{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); conn.Close() })
	return s
}

// recorder keeps what a job says.
type recorder struct {
	mu     sync.Mutex
	events []string
	answer func(ctx context.Context, service string, body []byte) ([]byte, error)
}

func (r *recorder) Event(kind string, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, kind+":"+string(body))
}

func (r *recorder) Call(ctx context.Context, service string, body []byte) ([]byte, error) {
	return r.answer(ctx, service, body)
}

func TestAJobItsEventsAndItsCalls(t *testing.T) {
	s := play(t, func(p peer, job string) error {
		p.say(wire.KindEvent, wire.Event{Seq: 1, Job: job, Kind: "log", Body: []byte("one")})
		p.say(wire.KindCall, wire.Call{ID: 7, Job: job, Service: "state", Body: []byte("q")})
		var r wire.Reply
		if err := wire.Decode(wire.KindReply, p.hear(wire.KindReply), &r); err != nil || r.ID != 7 || string(r.Body) != "state q" || r.Err != "" {
			t.Error(r, err)
		}
		p.say(wire.KindCall, wire.Call{ID: 8, Job: job, Service: "bad"})
		if err := wire.Decode(wire.KindReply, p.hear(wire.KindReply), &r); err != nil || r.Err != "no such service" {
			t.Error(r, err)
		}
		p.say(wire.KindEvent, wire.Event{Seq: 2, Job: job, Kind: "log", Body: []byte("two")})
		p.say(wire.KindDone, wire.Done{Seq: 3, Job: job, Body: []byte{0xc3}})
		p.hear(wire.KindBye)
		return nil
	})
	r := &recorder{answer: func(_ context.Context, service string, body []byte) ([]byte, error) {
		if service == "bad" {
			return nil, errors.New("no such service")
		}
		return []byte(service + " " + string(body)), nil
	}}
	got, err := s.Do(deadline(t), shim.Job{ID: "j"}, r)
	if err != nil || !bytes.Equal(got, []byte{0xc3}) {
		t.Fatal(got, err)
	}
	if strings.Join(r.events, " ") != "log:one log:two" {
		t.Error(r.events)
	}
	if w, err := s.Welcome(deadline(t)); err != nil || w.User != "u" {
		t.Error(w, err)
	}
}

func TestAHostileWorkerIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		script func(p peer, job string)
		words  string
	}{
		"an event left out":   {func(p peer, job string) { p.say(wire.KindEvent, wire.Event{Seq: 2, Job: job}) }, "event 2 came after event 0"},
		"an event again":      {func(p peer, job string) { p.say(wire.KindEvent, wire.Event{Seq: 0, Job: job}) }, "event 0 came after"},
		"welcome twice":       {func(p peer, _ string) { p.say(wire.KindWelcome, wire.Welcome{Version: wire.Version}) }, "welcome twice"},
		"a controller's word": {func(p peer, _ string) { p.say(wire.KindJob, wire.Job{ID: "x"}) }, "a job from a worker"},
		"deep nesting":        {func(p peer, _ string) { p.say(wire.KindDone, deep{}) }, "nested deeper"},
		"no message at all":   {func(p peer, _ string) { p.say(wire.KindDone, "text") }, "done:"},
		"endless calls": {func(p peer, job string) {
			for i := range uint64(3000) {
				_ = p.Send(context.Background(), wire.KindCall, wire.Call{ID: i, Job: job, Service: "run"})
			}
		}, "calls at once"},
	} {
		t.Run(name, func(t *testing.T) {
			s := play(t, func(p peer, job string) error {
				c.script(p, job)
				p.hear(wire.KindBye)
				return nil
			})
			block := make(chan struct{})
			t.Cleanup(func() { close(block) })
			r := &recorder{answer: func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			_, err := s.Do(deadline(t), shim.Job{ID: "j"}, r)
			var e *connection.Error
			if !errors.As(err, &e) || e.Class != connection.ClassShim || e.Host != "web-1" || !strings.Contains(e.Error(), c.words) || !errors.Is(err, wire.ErrProtocol) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// deep encodes as arrays in arrays.
type deep struct{}

func (deep) MarshalMsgpack() ([]byte, error) {
	return append(bytes.Repeat([]byte{0x91}, 1000), 0xc0), nil
}

func TestTheResultBeforeTheEndCounts(t *testing.T) {
	s := play(t, func(p peer, job string) error {
		p.say(wire.KindDone, wire.Done{Seq: 1, Job: job, Body: []byte{0xc2}})
		return nil // and ends at once
	})
	if got, err := s.Do(deadline(t), shim.Job{ID: "j", Last: true}, mute{}); err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
}

func TestAWorkerThatEndsSaysHow(t *testing.T) {
	s := play(t, func(peer, string) error { return &connection.ExitError{Code: 137} })
	_, err := s.Do(deadline(t), shim.Job{ID: "j"}, mute{})
	var e *connection.Error
	if !errors.As(err, &e) || e.Class != connection.ClassShim || e.Error() != "talk to the worker: it ended: exit code 137" {
		t.Error(err)
	}
	s = play(t, func(peer, string) error {
		return &connection.Error{Class: connection.ClassTCP, Host: "web-1", Op: "talk", Err: net.ErrClosed}
	})
	_, err = s.Do(deadline(t), shim.Job{ID: "j"}, mute{})
	if !errors.As(err, &e) || e.Class != connection.ClassTCP {
		t.Error(err)
	}
}

func TestCancelOfOneJobWaitsForItsEnd(t *testing.T) {
	s := play(t, func(p peer, job string) error {
		var c wire.Cancel
		if err := wire.Decode(wire.KindCancel, p.hear(wire.KindCancel), &c); err != nil || c.Job != job || !c.Hard {
			t.Error(c, err)
		}
		p.say(wire.KindDone, wire.Done{Seq: 1, Job: job, Body: []byte{0xc2}})
		p.hear(wire.KindBye)
		return nil
	})
	if _, err := s.Welcome(deadline(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(deadline(t))
	time.AfterFunc(20*time.Millisecond, cancel)
	if got, err := s.Do(ctx, shim.Job{ID: "j"}, mute{}); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
}

func TestAJobIsNotWaitedForBeforeThereIsAWorker(t *testing.T) {
	conn := &played{t: t, script: func(in io.Reader, _ io.WriteCloser) error {
		_, _ = io.Copy(io.Discard, in) // a login shell that hangs
		return nil
	}}
	s, err := shim.Open(deadline(t), conn, shim.Options{Host: "web-1", Binaries: noBinaries{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(deadline(t))
	time.AfterFunc(20*time.Millisecond, cancel)
	begun := time.Now()
	if _, err := s.Do(ctx, shim.Job{ID: "j"}, mute{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.Close()
	conn.Close()
	if d := time.Since(begun); d > 3*time.Second {
		t.Errorf("took %v", d)
	}
}

// The password goes to nobody but the worker.
func TestAPasswordDoesNotTravelAhead(t *testing.T) {
	early := make(chan []byte, 1)
	conn := &played{t: t, script: func(in io.Reader, out io.WriteCloser) error {
		got := make(chan []byte)
		go func() {
			b := make([]byte, 1<<16)
			n, _ := in.Read(b)
			got <- b[:n]
		}()
		select {
		case b := <-got:
			early <- b
		case <-time.After(100 * time.Millisecond):
			early <- nil
		}
		fmt.Fprintf(out, "%sTAMPERED /x\n", wire.Mark)
		out.Close()
		<-got
		return nil
	}}
	s, err := shim.Open(deadline(t), conn, shim.Options{Host: "web-1", Binaries: noBinaries{}, Become: wire.Become{HasPassword: true, Password: []byte("hunter2")}})
	if err != nil {
		t.Fatal(err)
	}
	if b := <-early; len(b) != 0 {
		t.Errorf("%d bytes went ahead", len(b))
	}
	_, err = s.Do(deadline(t), shim.Job{ID: "j"}, mute{})
	var e *connection.Error
	if !errors.As(err, &e) || !strings.Contains(e.Error(), "is not what sloth put there") {
		t.Error(err)
	}
	s.Close()
	conn.Close()
}

func FuzzWorkerStream(f *testing.F) {
	f.Add([]byte("noise\nSLOTH/1 READY\n\x02\x00\x00\x00\x01\x00\x00\x00\x00"))
	f.Add([]byte("SLOTH/1 MISSING Linux x86_64 0 /tmp/a\n"))
	f.Add([]byte("SLOTH/1 NOWHERE Linux x86_64 0 because\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		if bytes.Contains(said, []byte("MISSING")) {
			return // that would upload
		}
		conn := &played{t: t, script: func(in io.Reader, out io.WriteCloser) error {
			go func() { _, _ = io.Copy(io.Discard, in) }()
			_, _ = out.Write(said)
			return nil
		}}
		s, err := shim.Open(t.Context(), conn, shim.Options{Host: "h", Binaries: noBinaries{}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Do(t.Context(), shim.Job{ID: "j"}, mute{}); err == nil && !bytes.Contains(said, []byte("j")) {
			t.Error("a job was done")
		}
		s.Close()
		conn.Close()
	})
}
