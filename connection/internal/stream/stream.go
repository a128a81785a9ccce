// Package stream hands the output of a running command from the connection
// that receives it to the caller that reads it.
package stream

import (
	"errors"
	"io"
	"sync"
	"time"
)

// Output is one output stream of a command. Copy feeds it; the caller of
// Start reads it. Once Stop has returned, no Read writes to the caller's
// buffer any more, however late data arrives.
type Output struct {
	mu      sync.Mutex
	changed sync.Cond
	chunk   []byte // handed over, not yet read
	err     error  // what Read returns once chunk is empty
	closed  bool   // the reader has lost interest: data is dropped
	waiting time.Time
}

// NewOutput returns a stream that waits for its first data.
func NewOutput() *Output {
	o := &Output{waiting: time.Now()}
	o.changed.L = &o.mu
	return o
}

// Read implements io.Reader.
func (o *Output) Read(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.chunk) == 0 && o.err == nil {
		if len(p) == 0 {
			return 0, nil
		}
		o.changed.Wait()
	}
	if len(o.chunk) == 0 {
		return 0, o.err
	}
	n := copy(p, o.chunk)
	if o.chunk = o.chunk[n:]; len(o.chunk) == 0 {
		o.changed.Broadcast()
	}
	return n, nil
}

// Close says that nobody will read any more: the command runs on and what it
// still writes is dropped.
func (o *Output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.chunk = nil
	if o.err == nil {
		o.err = io.ErrClosedPipe
	}
	o.changed.Broadcast()
	return nil
}

// Stop ends the stream: unread data is dropped, reads return err. Nothing
// reaches a reader after it.
func (o *Output) Stop(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.chunk = nil
	if o.err == nil {
		o.err = err
	}
	o.changed.Broadcast()
}

// Idle says for how long Copy has been waiting for more data from src with
// nothing left to be read; zero while a reader still has something to take.
func (o *Output) Idle() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting.IsZero() {
		return 0
	}
	return time.Since(o.waiting)
}

// put hands b over and returns when it has been read or dropped.
func (o *Output) put(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.chunk = b
	o.waiting = time.Time{}
	o.changed.Broadcast()
	for len(o.chunk) > 0 {
		o.changed.Wait()
	}
	o.waiting = time.Now()
}

const (
	small = 512
	large = 32 << 10
)

var buffers = sync.Pool{New: func() any { return new([large]byte) }}

// Copy feeds the stream from src until src ends, which ends the stream: with
// io.EOF after a clean end. An idle stream holds half a kilobyte; the large
// buffer is borrowed only while data flows.
func (o *Output) Copy(src io.Reader) {
	var first [small]byte
	var err error
	for err == nil {
		var n int
		n, err = src.Read(first[:])
		o.put(first[:n])
		if n < small || err != nil {
			continue
		}
		b := buffers.Get().(*[large]byte)
		for n, err = src.Read(b[:]); n == large && err == nil; n, err = src.Read(b[:]) {
			o.put(b[:n])
		}
		o.put(b[:n])
		buffers.Put(b)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		if errors.Is(err, io.EOF) {
			err = io.EOF
		}
		o.err = err
	}
	o.changed.Broadcast()
}
