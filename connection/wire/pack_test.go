package wire

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// counting counts what is written.
type counting struct {
	io.Writer
	n int
}

func (c *counting) Write(p []byte) (int, error) { c.n += len(p); return c.Writer.Write(p) }

// packing is two ends of which the first packs, and what the first has written.
func packing(t *testing.T, from int) (*Conn, *Conn, *counting) {
	t.Helper()
	a, b := net.Pipe()
	w := &counting{Writer: a}
	x, y := NewConn(a, w), NewConn(b, b)
	x.PackFrom(from)
	t.Cleanup(func() {
		x.Close()
		y.Close()
		a.Close()
		b.Close()
		<-x.done
		<-y.done
	})
	return x, y, w
}

func anEvent(i int) Event {
	return Event{Seq: uint64(i), Job: "0123456789abcdef01234567-1", Kind: "task_done", Body: fmt.Appendf(nil, "step %d of many, all of which say about the same", i)}
}

func TestWhatIsAlikeIsPacked(t *testing.T) {
	const n = 300
	a, b, w := packing(t, 2000)
	var plain int
	for i := range n {
		m, err := Encode(KindEvent, anEvent(i))
		if err != nil {
			t.Fatal(err)
		}
		plain += m.Len() + header
	}
	go func() {
		for i := range n {
			if err := a.Send(context.Background(), KindEvent, anEvent(i)); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range n {
		kind, body, err := b.Receive()
		var e Event
		if err == nil {
			err = Decode(kind, body, &e)
		}
		if err != nil || string(e.Body) != string(anEvent(i).Body) {
			t.Fatalf("event %d: %s %q, %v", i, kind, e.Body, err)
		}
	}
	if w.n > plain/2 || w.n < 2000 {
		t.Errorf("%d bytes were sent as %d", plain, w.n)
	}
}

func TestAShortRunIsNotPacked(t *testing.T) {
	a, b, w := packing(t, 1<<20)
	m, err := Encode(KindEvent, anEvent(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Post(context.Background(), m); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Receive(); err != nil {
		t.Fatal(err)
	}
	if w.n != m.Len()+header {
		t.Errorf("%d bytes for a message of %d", w.n, m.Len())
	}
}

// TestPackedAndOtherFramesKeepTheirOrder mixes sizes around every limit, content
// that deflates to nothing and content that does not deflate, streams and pings.
func TestPackedAndOtherFramesKeepTheirOrder(t *testing.T) {
	a, b, _ := packing(t, 1)
	noise := make([]byte, 2*packMessage)
	seed := uint64(1)
	for i := range noise {
		seed = seed*6364136223846793005 + 1442695040888963407
		noise[i] = byte(seed >> 56)
	}
	sizes := []int{0, 1, 100, packBatch - 50, packBatch, packBatch + 1, MaxPayload - 60, MaxPayload, MaxPayload + 1, 3 * MaxPayload, packMessage, packMessage + 1}
	in, err := b.Incoming(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := a.Outgoing(in.ID())
	if err != nil {
		t.Fatal(err)
	}
	streamed := make(chan error, 2)
	go func() { _, _, _ = a.Receive() }() // its credit
	go func() { streamed <- out.Copy(t.Context(), bytes.NewReader(noise)) }()
	go func() {
		got, err := io.ReadAll(in)
		if err == nil && !bytes.Equal(got, noise) {
			err = fmt.Errorf("the stream arrives as other %d bytes", len(got))
		}
		streamed <- err
	}()
	go func() {
		for i, n := range sizes {
			for _, text := range [][]byte{noise[:n], bytes.Repeat([]byte{'x'}, n)} {
				if err := a.Send(context.Background(), KindDone, Done{Seq: uint64(i), Body: mustMarshal(text)}); err != nil {
					t.Error(err)
				}
				_ = a.Send(context.Background(), KindPing, nil)
			}
		}
	}()
	for i := 0; i < 2*len(sizes); {
		kind, body, err := b.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if kind == KindPing {
			continue
		}
		var d Done
		if err := Decode(kind, body, &d); err != nil || d.Seq != uint64(i/2) || len(d.Body) < sizes[i/2] {
			t.Fatalf("message %d: %d, %d bytes, %v", i, d.Seq, len(d.Body), err)
		}
		i++
	}
	go func() { _, _, _ = b.Receive() }() // what is left of the stream
	for range 2 {
		if err := <-streamed; err != nil {
			t.Fatal(err)
		}
	}
}

func mustMarshal(v any) []byte {
	b, err := marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// packedFrames is what packer makes of frames, with another claim of their size.
func packedFrames(t testing.TB, claim func(size uint32) uint32, frames ...frame) []byte {
	t.Helper()
	var raw, z, out bytes.Buffer
	for _, f := range frames {
		if err := f.write(&raw); err != nil {
			t.Fatal(err)
		}
	}
	w, err := flate.NewWriter(&z, packLevel)
	if err != nil {
		t.Fatal(err)
	}
	size := uint32(raw.Len())
	_, _ = w.Write(raw.Bytes())
	_ = w.Flush()
	payload := append(binary.BigEndian.AppendUint32(nil, claim(size)), z.Bytes()...)
	if err := (frame{kind: kindPacked, payload: payload}).write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestHostilePackedFramesAreRefused(t *testing.T) {
	as := func(n uint32) uint32 { return n }
	ping := frame{kind: KindPing, stream: 1}
	zeros := frame{kind: KindEvent, stream: 1, payload: make([]byte, MaxPayload)}
	inner := packedFrames(t, as, ping)
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"too short":        {[]byte{byte(kindPacked), 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 1}, "a packed frame of 3 bytes"},
		"nothing":          {packedFrames(t, func(uint32) uint32 { return 0 }, ping), "holds 0 bytes"},
		"a bomb":           {packedFrames(t, as, zeros, zeros, zeros), "the limit is"},
		"a liar":           {packedFrames(t, func(n uint32) uint32 { return n + 1 }, ping), "a packed frame: unexpected EOF"},
		"more than said":   {packedFrames(t, func(n uint32) uint32 { return n - MaxPayload }, zeros, ping), "behind its end"},
		"half a frame":     {packedFrames(t, func(n uint32) uint32 { return n - 1 }, frame{kind: KindEvent, payload: []byte("abc")}), "in a packed frame"},
		"no deflate":       {[]byte{byte(kindPacked), 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff}, "a packed frame: flate"},
		"one in another":   {packedFrames(t, as, frame{kind: kindPacked, payload: inner[header:]}), "in another"},
		"much behind it":   {trailing(t), "behind its end"},
		"without an end":   {bytes.Repeat(append([]byte{byte(kindPacked | more), 0, 0, 0, 0, 0, 1, 0, 0}, make([]byte, MaxPayload)...), 8), "of more than"},
		"a rest is no end": {[]byte{byte(kindPacked | more), 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1}, "in pieces"},
	} {
		r := reader{r: bytes.NewReader(c.in)}
		var err error
		for err == nil {
			_, _, _, err = r.next()
		}
		if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want …%s…", name, err, c.want)
		}
	}
}

// trailing is a packed frame with deflated data that nobody asked for.
func trailing(t testing.TB) []byte {
	b := packedFrames(t, func(n uint32) uint32 { return n }, frame{kind: KindPing, stream: 1})
	b = append(b, make([]byte, 100)...)
	binary.BigEndian.PutUint32(b[5:], uint32(len(b)-header))
	return b
}
