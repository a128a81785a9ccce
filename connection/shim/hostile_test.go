package shim_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/vmihailenco/msgpack/v5"
)

// frames encodes messages as a worker would.
func frames(t *testing.T, messages ...any) []byte {
	t.Helper()
	var out bytes.Buffer
	for i, m := range messages {
		kind := wire.KindEvent
		switch m.(type) {
		case wire.Welcome:
			kind = wire.KindWelcome
		case wire.Done:
			kind = wire.KindDone
		case wire.Job:
			kind = wire.KindJob
		}
		body, err := msgpack.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteByte(byte(kind))
		_ = binary.Write(&out, binary.BigEndian, [2]uint32{uint32(i + 1), uint32(len(body))})
		out.Write(body)
	}
	return out.Bytes()
}

// impostor is a server that answers every command with a mark and then these bytes.
func impostor(t *testing.T, says []byte) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "impostor-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "says")
	if err := os.WriteFile(file, says, 0o644); err != nil {
		t.Fatal(err)
	}
	return start(t, sshdtest.Options{Config: []string{"ForceCommand echo SLOTH/1 READY; cat " + file + "; exec cat > /dev/null"}})
}

func TestFault40AHostThatDoesNotKeepToTheProtocol(t *testing.T) {
	welcome := wire.Welcome{Version: wire.Version}
	event := func(seq uint64) wire.Event { return wire.Event{Seq: seq, Job: "1", Kind: "log"} }
	deep := append([]byte{byte(wire.KindEvent), 0, 0, 0, 1, 0, 0, 4, 0}, bytes.Repeat([]byte{0x91}, 1024)...)
	for name, c := range map[string]struct {
		says []byte
		want string
	}{
		"garbage":          {[]byte(strings.Repeat("garbage ", 100)), "a frame of type 103"},
		"a huge frame":     {[]byte{byte(wire.KindEvent), 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}, "a frame of 4294967295 bytes"},
		"tiny pieces":      {[]byte{byte(wire.KindEvent) | 0x80, 0, 0, 0, 1, 0, 0, 0, 1, 0}, "in pieces of 1 bytes"},
		"deep nesting":     {append(frames(t, welcome), deep...), "not sloth's protocol"},
		"another version":  {frames(t, wire.Welcome{Version: 99}), "the worker speaks version 99"},
		"welcome twice":    {frames(t, welcome, welcome), "welcome twice"},
		"a gap in events":  {frames(t, welcome, event(1), event(3)), "event 3 came after event 1"},
		"an event again":   {frames(t, welcome, event(1), event(1)), "event 1 came after event 1"},
		"a job of its own": {frames(t, welcome, wire.Job{ID: "x", Kind: "facts", Body: []byte{0xc0}}), "a job from a worker"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := impostor(t, c.says)
			other := start(t, sshdtest.Options{Name: "other"})
			got := h.fails(connection.ClassShim, c.want, "not sloth's protocol", "look into it")
			if !errors.Is(got, wire.ErrProtocol) {
				t.Errorf("%v is no protocol error", got)
			}
			other.works(true)
		})
	}
}

// A result is taken once, and only for what was asked.
func TestFault40ResultsThatNobodyAskedFor(t *testing.T) {
	for name, jobs := range map[string][]any{
		"unknown": {wire.Done{Seq: 1, Job: "never sent", Body: []byte{0xc0}}},
		"twice":   {wire.Done{Seq: 1, Job: "1", Body: []byte{0xc0}}, wire.Done{Seq: 2, Job: "1", Body: []byte{0xc0}}},
	} {
		t.Run(name, func(t *testing.T) {
			// The impostor waits for a job before it answers.
			h := start(t, sshdtest.Options{Config: []string{"ForceCommand echo SLOTH/1 READY; head -c 20 > /dev/null; cat $HOME/says; exec cat > /dev/null"}})
			if err := os.WriteFile(filepath.Join(h.Home, "says"), frames(t, append([]any{wire.Welcome{Version: wire.Version}}, jobs...)...), 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := shim.Open(deadline(t), h.conn, h.opt)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			// Of two results the first may be taken before the second is looked at.
			body, err := s.Do(deadline(t), shim.Job{ID: "1", Kind: "facts", Body: []string{}}, mute{})
			if name == "unknown" && err == nil {
				t.Errorf("the result of another job was taken: %x", body)
			}
			if _, err := s.Do(deadline(t), shim.Job{ID: "2", Kind: "facts", Body: []string{}}, mute{}); !errors.Is(err, wire.ErrProtocol) {
				t.Errorf("got %v, want a protocol error", err)
			}
		})
	}
}

func TestAWarmSessionIsOneExec(t *testing.T) {
	h := start(t, sshdtest.Options{})
	h.works(true)
	count := func() int { return strings.Count(h.Log(), "Starting session") }
	before := count()
	h.works(false)
	// sshd's line is there before the command runs, but travels by itself.
	until(t, "sshd to tell of the session", func() bool { return count() > before })
	if n := count() - before; n != 1 {
		t.Errorf("%d sessions were started, want 1", n)
	}
}

// until polls a condition.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestLinksThatBreak(t *testing.T) {
	h := start(t, sshdtest.Options{Config: []string{"ForceCommand echo SLOTH/1 READY; exec sleep 1000"}})
	s, err := shim.Open(deadline(t), h.conn, h.opt)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cut := time.AfterFunc(200*time.Millisecond, h.Cut)
	defer cut.Stop()
	_, err = s.Do(deadline(t), shim.Job{ID: "1", Kind: "facts", Body: []string{}}, mute{})
	var c *connection.Error
	if !errors.As(err, &c) || c.Class != connection.ClassTCP {
		t.Errorf("got %v, want an error of class tcp", err)
	}
	if _, err := s.Do(deadline(t), shim.Job{ID: "2", Kind: "facts", Body: []string{}}, mute{}); !errors.As(err, &c) || c.Class != connection.ClassTCP {
		t.Errorf("the next job got %v, want an error of class tcp", err)
	}
}

func TestACancelledContextEndsTheWaitAtOnce(t *testing.T) {
	h := start(t, sshdtest.Options{Config: []string{"ForceCommand sleep 1000"}})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := shim.Open(gone, h.conn, h.opt); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled Open gave %v, %v", s, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	s, err := shim.Open(ctx, h.conn, h.opt)
	if err == nil {
		_, err = s.Do(ctx, shim.Job{ID: "1", Kind: "facts", Body: []string{}}, mute{})
		defer s.Close()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("it took %s", d)
	}
}
