package ssh

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxBeforeAuth is what a host may send before we are logged in: a normal
// handshake is under 10 KB, banners included.
const maxBeforeAuth = 1 << 20

// wire is the transport below SSH: it counts, caps and watches what arrives.
type wire struct {
	net.Conn
	rearm func() // asks the kernel for prompt acknowledgements

	head     []byte       // read ahead while the version line is read byte by byte
	said     []byte       // the beginning of what the host sent, for messages
	budget   atomic.Int64 // bytes left before authentication; negative: no cap
	lastRead atomic.Int64 // nanoseconds since start

	ended atomic.Bool // a Read has failed: nothing is written any more

	mu    sync.Mutex
	timer *time.Timer
	cause error  // why the connection was closed from this side
	atEnd func() // called once, before the first failed Read returns
}

var start = time.Now()

func sinceStart() int64 { return int64(time.Since(start)) }

var errLinkEnded = errors.New("the link has ended")

func newWire(c net.Conn) *wire {
	w := &wire{Conn: c, rearm: quickAck(c)}
	w.budget.Store(maxBeforeAuth)
	return w
}

// Read is called by one goroutine at a time. x/crypto reads the version line
// byte by byte; those small reads are served from one larger one.
func (w *wire) Read(p []byte) (int, error) {
	if len(w.head) > 0 {
		n := copy(p, w.head)
		w.head = w.head[n:]
		return n, nil
	}
	w.rearm()
	if len(p) >= 64 {
		n, err := w.Conn.Read(p)
		return n, w.account(p[:n], err)
	}
	buf := make([]byte, 512)
	n, err := w.Conn.Read(buf)
	err = w.account(buf[:n], err)
	w.head = buf[copy(p, buf[:n]):n]
	return min(n, len(p)), err
}

func (w *wire) account(got []byte, err error) error {
	w.lastRead.Store(sinceStart())
	if left := w.budget.Load(); left >= 0 {
		w.mu.Lock()
		w.said = append(w.said, got[:min(len(got), 256-len(w.said))]...)
		w.mu.Unlock()
		if left -= int64(len(got)); left < 0 {
			return errors.New("it sent more than 1 MB before any login")
		}
		w.budget.Store(left)
	}
	if err == nil {
		return nil
	}
	w.ended.Store(true)
	w.mu.Lock()
	cause, atEnd := w.cause, w.atEnd
	w.atEnd = nil
	w.mu.Unlock()
	if atEnd != nil {
		atEnd()
	}
	if cause != nil {
		return cause
	}
	return err
}

// Write fails from the first failed Read on, even where the other side still
// takes what we send.
func (w *wire) Write(p []byte) (int, error) {
	if w.ended.Load() {
		return 0, errLinkEnded
	}
	return w.Conn.Write(p)
}

// onEnd has f called before x/crypto learns that the link has ended; at once
// if it may have learned that already.
func (w *wire) onEnd(f func()) {
	w.mu.Lock()
	late := w.ended.Load()
	if !late {
		w.atEnd = f
	}
	w.mu.Unlock()
	if late {
		f()
	}
}

// loggedIn lifts the cap.
func (w *wire) loggedIn() {
	w.budget.Store(-1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = nil
}

// heard is the beginning of what the host sent before the login.
func (w *wire) heard() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return clean(string(w.said))
}

// idle is how long nothing has arrived.
func (w *wire) idle() time.Duration { return time.Duration(sinceStart() - w.lastRead.Load()) }

// fail closes the connection with a reason that pending calls then return.
func (w *wire) fail(cause error) {
	w.mu.Lock()
	if w.cause == nil {
		w.cause = cause
	}
	w.mu.Unlock()
	w.Close()
}

func (w *wire) reason() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}

// within closes the connection unless the returned function, or another
// within, comes first. It works where SetDeadline does not: over a jump host.
func (w *wire) within(d time.Duration, what string) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
	timer := time.AfterFunc(d, func() { w.fail(&timeoutError{what, d}) })
	w.timer = timer
	return func() { timer.Stop() }
}

// timeoutError is a phase that took too long.
type timeoutError struct {
	what  string
	after time.Duration
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("%s not finished after %v", e.what, e.after)
}
func (e *timeoutError) Timeout() bool { return true }
