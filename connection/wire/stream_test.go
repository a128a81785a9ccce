package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// pump receives on c until the link ends, and hands messages on.
func pump(t *testing.T, c *Conn) <-chan Kind {
	t.Helper()
	got := make(chan Kind, 64)
	go func() {
		defer close(got)
		for {
			kind, _, err := c.Receive()
			if err != nil {
				return
			}
			got <- kind
		}
	}()
	return got
}

// pattern is n bytes that differ from place to place.
type pattern struct{ n, at int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.n {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.n-p.at))
	for i := range b[:n] {
		b[i] = byte((p.at + int64(i)) * 2654435761 >> 13)
	}
	p.at += int64(n)
	return n, nil
}

func TestStreamsArriveWholeInBoundedMemory(t *testing.T) {
	a, b := pair(t)
	pump(t, a)
	pump(t, b)
	for _, n := range []int64{0, 1, MaxPayload, MaxPayload + 1, firstWindow, 40 << 20} {
		in, err := b.Incoming(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		out, err := a.Outgoing(in.ID())
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() { sent <- out.Copy(context.Background(), &pattern{n: n}) }()
		got, want := sha256.New(), sha256.New()
		var most int
		buf := make([]byte, 100_000)
		var total int64
		for {
			k, err := in.Read(buf)
			got.Write(buf[:k])
			total += int64(k)
			in.mu.Lock()
			most = max(most, len(in.buf))
			in.mu.Unlock()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		io.Copy(want, &pattern{n: n})
		if err := <-sent; err != nil || total != n || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
			t.Errorf("%d bytes: %d arrived, %v", n, total, err)
		}
		if most > lastWindow {
			t.Errorf("%d bytes were held", most)
		}
		in.Close()
	}
	if len(a.streams.out) != 0 || len(b.streams.in) != 0 {
		t.Error("streams are left over")
	}
}

func TestAStreamWaitsForItsReaderAndControlDoesNot(t *testing.T) {
	a, b := pair(t)
	got := pump(t, b)
	pump(t, a)
	in, err := b.Incoming(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	src := &pattern{n: 1 << 30}
	out, _ := a.Outgoing(in.ID())
	sent := make(chan error, 1)
	go func() { sent <- out.Copy(context.Background(), src) }()
	arrived := func() int64 { in.mu.Lock(); defer in.mu.Unlock(); return in.arrived }
	for end := time.Now().Add(5 * time.Second); arrived() < firstWindow; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the first window did not arrive")
		}
	}
	// Nobody reads the stream; messages pass it.
	for range 100 {
		if err := a.Send(context.Background(), KindJob, Job{ID: "x"}); err != nil {
			t.Fatal(err)
		}
		if kind := <-got; kind != KindJob {
			t.Fatal(kind)
		}
	}
	if n := arrived(); n != firstWindow {
		t.Errorf("%d bytes arrived unasked", n)
	}
	in.Close()
	if err := <-sent; !errors.Is(err, ErrStopped) {
		t.Errorf("the sender got %v", err)
	}
}

func TestStreamErrorsReachTheOtherSide(t *testing.T) {
	a, b := pair(t)
	pump(t, a)
	pump(t, b)
	in, _ := b.Incoming(context.Background())
	out, _ := a.Outgoing(in.ID())
	go out.Copy(context.Background(), io.MultiReader(strings.NewReader("some"), broken{}))
	data, err := io.ReadAll(in)
	if string(data) != "some" || err == nil || err.Error() != "the disk is on fire" {
		t.Errorf("%q, %v", data, err)
	}
	in.Close()

	ctx, cancel := context.WithCancel(context.Background())
	in, _ = b.Incoming(ctx)
	cancel()
	if _, err := io.ReadAll(in); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context ended: %v", err)
	}
	in.Close()

	in, _ = b.Incoming(context.Background())
	b.streams.fail(io.EOF)
	if _, err := io.ReadAll(in); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("after the link ended: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the disk is on fire") }

func TestAHostileStreamSenderIsRefused(t *testing.T) {
	credit := func(n int64) []byte { b, _ := msgpack.Marshal(n); return b }
	flood := func() (b []byte) {
		for range 1 + firstWindow/MaxPayload {
			b = append(b, bytesOf(t, frame{kind: kindData, stream: 1, payload: make([]byte, MaxPayload)})...)
		}
		return b
	}
	for name, in := range map[string][]byte{
		"nobody asked":    bytesOf(t, frame{kind: kindData, stream: 7, payload: []byte("x")}),
		"ends nothing":    bytesOf(t, frame{kind: kindFinish, stream: 7, payload: []byte{0x80}}),
		"over its window": flood(),
		"endless credit":  bytesOf(t, frame{kind: kindCredit, stream: 1, payload: credit(1 << 40)}),
		"negative credit": bytesOf(t, frame{kind: kindCredit, stream: 1, payload: credit(-1)}),
	} {
		c := NewConn(bytes.NewReader(in), io.Discard)
		if _, err := c.Incoming(context.Background()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Receive(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
		<-c.done
	}
}

func bytesOf(t *testing.T, f frame) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestManyStreamsShareTheLink(t *testing.T) {
	a, b := pair(t)
	pump(t, a)
	pump(t, b)
	done := make(chan error, 20)
	for i := range int64(20) {
		in, err := b.Incoming(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		out, _ := a.Outgoing(in.ID())
		go out.Copy(context.Background(), &pattern{n: 1<<20 + i})
		go func() {
			defer in.Close()
			n, err := io.Copy(io.Discard, in)
			if err == nil && n != 1<<20+i {
				err = fmt.Errorf("%d bytes", n)
			}
			done <- err
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestQuietCountsPartsOfAFrame(t *testing.T) {
	x, y := net.Pipe()
	defer x.Close()
	c := NewConn(y, y)
	defer func() { c.Close(); y.Close(); <-c.done }()
	go c.Receive()
	c.heard.last.Store(-int64(time.Hour))
	if c.Quiet() < time.Hour {
		t.Fatal("not quiet")
	}
	if _, err := x.Write([]byte{byte(KindJob)}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); c.Quiet() > time.Minute; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("a byte was not heard")
		}
	}
}

func TestBecomeHidesItsPassword(t *testing.T) {
	h := Hello{Become: Become{Method: "sudo", Password: []byte("hunter2"), HasPassword: true}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, h); strings.Contains(s, "hunter2") || strings.Contains(s, "104 117") || strings.Contains(s, "0x68") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}
