package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// pair is two ends joined by a pipe.
func pair(t *testing.T) (*Conn, *Conn) {
	t.Helper()
	a, b := net.Pipe()
	x, y := NewConn(a, a), NewConn(b, b)
	t.Cleanup(func() {
		x.Close()
		y.Close()
		a.Close()
		b.Close()
		<-x.done
		<-y.done
	})
	return x, y
}

func TestMessagesArriveInOrderWhateverTheirSize(t *testing.T) {
	a, b := pair(t)
	sizes := []int{0, 1, MaxPayload - 1, MaxPayload, MaxPayload + 1, 3 * MaxPayload, 5 << 20}
	go func() {
		for _, n := range sizes {
			if err := a.Send(context.Background(), KindBlob, Blob{Hash: "h", Data: bytes.Repeat([]byte{7}, n)}); err != nil {
				t.Error(err)
			}
		}
	}()
	for _, n := range sizes {
		kind, body, err := b.Receive()
		if err != nil || kind != KindBlob {
			t.Fatal(kind, err)
		}
		var blob Blob
		if err := Decode(kind, body, &blob); err != nil || len(blob.Data) != n {
			t.Fatalf("got %d bytes, want %d: %v", len(blob.Data), n, err)
		}
	}
}

func TestCancelOvertakesBulk(t *testing.T) {
	a, b := pair(t)
	go func() {
		_ = a.Send(context.Background(), KindBlob, Blob{Data: make([]byte, 3<<20)})
		_ = a.Send(context.Background(), KindCancel, Cancel{Job: "x"})
	}()
	if kind, _, err := b.Receive(); err != nil || kind != KindCancel {
		t.Fatalf("the first whole message is a %s, %v", kind, err)
	}
	if kind, _, err := b.Receive(); err != nil || kind != KindBlob {
		t.Fatalf("then a %s, %v", kind, err)
	}
}

func TestControlOvertakesBlobsAndIsNotStarvedOut(t *testing.T) {
	a, b := pair(t)
	go func() {
		_ = a.Send(context.Background(), KindBlob, Blob{Data: make([]byte, 3<<20)})
		for range 40 {
			_ = a.Send(context.Background(), KindEvent, Event{Body: make([]byte, MaxPayload/2)})
		}
	}()
	events := 0
	for {
		kind, _, err := b.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if kind == KindBlob {
			break
		}
		events++
	}
	// 48 frames of the blob let 8 events pass each: all events come first.
	if events != 40 {
		t.Errorf("%d events came before the blob", events)
	}
}

func TestSendWaitsForRoomAndHonoursItsContext(t *testing.T) {
	a, _ := pair(t) // nobody reads
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var err error
	for range 100 {
		if err = a.Send(ctx, KindBlob, Blob{Data: make([]byte, 1<<20)}); err != nil {
			break
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestAHostileStreamIsRefused(t *testing.T) {
	raw := func(kind Kind, stream uint32, n int) []byte {
		var b bytes.Buffer
		f := frame{kind: kind, stream: stream, payload: make([]byte, n)}
		if err := f.write(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	many := func() []byte {
		var b []byte
		for i := range uint32(maxOpen + 1) {
			b = append(b, raw(KindJob|more, i, MaxPayload)...)
		}
		return b
	}()
	for name, in := range map[string][]byte{
		"unknown kind":    raw(kindEnd, 1, 0),
		"kind 0":          raw(0, 1, 0),
		"a huge frame":    {byte(KindJob), 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff},
		"many unfinished": many,
		"tiny pieces":     raw(KindJob|more, 1, 1),
		"a split cancel":  raw(KindCancel|more, 1, MaxPayload),
		"split data":      raw(kindData|more, 1, MaxPayload),
		"changes kind":    append(raw(KindJob|more, 1, MaxPayload), raw(KindDone, 1, 1)...),
	} {
		r := reader{r: bytes.NewReader(in)}
		var err error
		for err == nil {
			_, _, _, err = r.next()
		}
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
	endless := reader{r: repeat{raw(KindJob|more, 1, MaxPayload)}}
	if _, _, _, err := endless.next(); !errors.Is(err, ErrProtocol) {
		t.Errorf("an endless message: %v", err)
	}
}

// repeat reads the same bytes again and again.
type repeat struct{ b []byte }

func (r repeat) Read(p []byte) (int, error) {
	if len(p) > len(r.b) {
		p = p[:len(r.b)]
	}
	// Requests are whole headers or whole payloads, so the offset follows from the size.
	if len(p) <= header {
		return copy(p, r.b), nil
	}
	return copy(p, r.b[header:]), nil
}

func TestReadMark(t *testing.T) {
	for _, c := range []struct{ in, want, err string }{
		{"SLOTH/1 READY\nrest", "READY", ""},
		{"Welcome!\r\nhave fun\nSLOTH/1 READY\r\nrest", "READY", ""},
		{"prompt$ SLOTH/1 MISSING Linux x86_64\nrest", "MISSING Linux x86_64", ""},
		{"This account is currently not available.\n", "", "This account is currently not available."},
		{"", "", "the login shell did not start the worker: EOF"},
		{strings.Repeat("x", maxNoise+1), "", "printed 65536 bytes"},
	} {
		r := strings.NewReader(c.in)
		got, err := ReadMark(io.MultiReader(r))
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%.40q gives %q, %v", c.in, got, err)
		}
		if err == nil {
			if rest, _ := io.ReadAll(r); string(rest) != "rest" {
				t.Errorf("%.40q: %q was left", c.in, rest)
			}
		}
	}
}

func TestDepthIsChecked(t *testing.T) {
	if err := Decode(KindJob, bytes.Repeat([]byte{0x91}, 1<<20), &Job{}); !errors.Is(err, ErrProtocol) {
		t.Error(err)
	}
	body, err := msgpack.Marshal(map[string]any{"a": []any{1, "x", []byte{1}, 2.5, map[string]any{"b": nil}}, "c": strings.Repeat("y", 70000), "t": time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckDepth(bytes.Repeat(body, 300)); err != nil {
		t.Errorf("values beside each other are not deep: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	var b bytes.Buffer
	for _, fr := range []frame{
		{kind: KindJob | more, stream: 1, payload: make([]byte, MaxPayload)},
		{kind: KindJob, stream: 1, payload: []byte("def")},
		{kind: kindData, stream: 1, payload: []byte("raw")},
		{kind: kindCredit, stream: 1, payload: []byte{5}},
		{kind: kindFinish, stream: 1, payload: []byte{0x80}},
	} {
		if err := fr.write(&b); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(b.Bytes())
	same := func(n uint32) uint32 { return n }
	f.Add(packedFrames(f, same, frame{kind: KindEvent, stream: 1, payload: []byte{0x80}}, frame{kind: KindJob | more, stream: 2, payload: make([]byte, MaxPayload)}))
	f.Add(packedFrames(f, same, frame{kind: KindJob, stream: 2, payload: []byte("rest")}, frame{kind: kindPacked, payload: b.Bytes()[:20]}))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := NewConn(bytes.NewReader(in), io.Discard)
		defer func() { c.Close(); <-c.done }()
		if _, err := c.Incoming(context.Background()); err != nil {
			t.Fatal(err)
		}
		for {
			kind, body, err := c.Receive()
			if err != nil {
				return
			}
			if len(body) > MaxMessage {
				t.Fatal("over the limit")
			}
			switch kind {
			case KindWelcome:
				_ = Decode(kind, body, &Welcome{})
			case KindEvent:
				_ = Decode(kind, body, &Event{})
			case KindDone:
				_ = Decode(kind, body, &Done{})
			case KindCall:
				_ = Decode(kind, body, &Call{})
			}
		}
	})
}

func FuzzReadMark(f *testing.F) {
	f.Add([]byte("noise\nSLOTH/1 READY\n"))
	f.Fuzz(func(_ *testing.T, in []byte) { _, _ = ReadMark(bytes.NewReader(in)) })
}
