package worker

import (
	"context"
	"crypto/subtle"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/connection/wire"
)

// Limits of a run whose controller has gone.
const (
	// aloneFor is how long a worker without a link begins further steps, and how
	// long it stays once nothing runs any more.
	aloneFor = 10 * time.Minute
	// helloTimeout bounds the first message of whoever attaches.
	helloTimeout = 10 * time.Second
	// doubtFor is how long after a step's own processes the worker is told to end.
	doubtFor = 300 * time.Millisecond
)

// restAfter is when a worker without a link and without work lets others change
// the host.
var restAfter = 30 * time.Second

// live serves l, and every link that follows, until the run is over.
func (r *run) live(l *link) error {
	for {
		err := l.serve(r)
		r.out.detach(l)
		if l.over.Load() || !r.durable() {
			r.end(l, err)
			l.drop()
			return err
		}
		r.alone.Store(int64(max(1, time.Since(r.began)))) // the host's clock may be set meanwhile
		l.drop()
		next := r.awaitLink()
		if next == nil {
			r.end(nil, nil)
			return nil
		}
		r.alone.Store(0)
		l = next
	}
}

// toldToEnd is the cause when somebody on the host ends the worker: logind, with
// the session of its login, or another.
type toldToEnd struct{ logind func() bool }

func (e toldToEnd) Error() string {
	if e.logind() {
		return "interrupted: logind ended the worker with its login session (KillUserProcesses=yes) while this step ran"
	}
	return "interrupted: the worker was told to end while this step ran"
}

// Hint says how runs survive there.
func (e toldToEnd) Hint() string {
	if e.logind() {
		return "So that runs survive there: loginctl enable-linger USER, or USER in KillExcludeUsers= of logind.conf, or become root."
	}
	return ""
}

// Interrupts makes the outcome of the step unknown.
func (toldToEnd) Interrupts() bool { return true }

// heed ends what runs when the worker is told to end, as at a shutdown, and then
// the worker: so the outcome is known, and nothing stays behind.
func (r *run) heed(term <-chan os.Signal) {
	select {
	case <-term:
	case <-r.ctx.Done():
		return
	}
	l, _ := r.out.current()
	alone := l == nil
	why := &toldToEnd{sync.OnceValue(func() bool { return alone && diesWithSession(r.ctx) })} // what runs cannot wait for that
	r.mu.Lock()
	for _, j := range r.active {
		j.cancel(why)
	}
	r.mu.Unlock()
	quiet := make(chan struct{})
	go func() { defer close(quiet); r.jobs.Wait() }()
	limit := time.NewTimer(endGrace)
	defer limit.Stop()
	select {
	case <-quiet:
	case <-limit.C:
	}
	if l, _ = r.out.current(); l != nil {
		l.finish()
		return
	}
	select {
	case r.links <- nil:
	case <-r.ctx.Done():
	}
}

// doubt gives the end of this worker the time to arrive. Who ends all processes of
// a session or a service ends a step's as well, and a little before: such a step
// has not failed.
func (r *run) doubt(ctx context.Context) {
	if l, _ := r.out.current(); l != nil {
		return // a session that is over has no link
	}
	select {
	case <-ctx.Done():
	case <-time.After(doubtFor):
	}
}

// awaitLink waits for the controller to come back, and gives up when nothing
// runs any more and nobody has come for long.
func (r *run) awaitLink() *link {
	patience := time.NewTimer(aloneFor)
	defer patience.Stop()
	rest := time.NewTimer(restAfter)
	defer rest.Stop()
	for {
		select {
		case l := <-r.links:
			return l
		case <-rest.C:
			if !r.busy() {
				r.closeExecutors() // those that are needed again are started again
				r.lock.release()
			}
			rest.Reset(restAfter)
		case <-patience.C:
			if !r.busy() {
				return nil
			}
			patience.Reset(time.Second)
		}
	}
}

func (r *run) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.active) > 0
}

// abandoned reports whether nobody has been there for too long to begin
// anything.
func (r *run) abandoned() bool {
	since := r.alone.Load()
	return since != 0 && time.Since(r.began)-time.Duration(since) > aloneFor
}

// admit lets a new link take over from the one before, if it comes from whoever
// has the run's key. It returns once that is decided.
func (r *run) admit(l *link) {
	late := time.AfterFunc(helloTimeout, l.drop)
	defer late.Stop()
	h, err := l.hello()
	if err != nil {
		l.drop()
		return
	}
	w := welcome()
	w.Attached, w.Kept, w.Unkept, w.Records = true, r.keeper.dir, r.keeper.why, r.keeper.records.Load()
	if w.Refused = r.stranger(h); w.Refused != "" {
		_ = l.wire.Send(r.ctx, wire.KindWelcome, w) // it is being sent away
		drain, stop := context.WithTimeout(r.ctx, time.Second)
		defer stop()
		_ = l.wire.Drain(drain)
		l.drop()
		return
	}
	// The old link may not have noticed yet that nobody is there, and who says
	// something may wait on it.
	old := r.out.open.Load()
	if old != nil {
		old.wire.Close()
		old.in.Close()
	}
	r.mu.Lock()
	w.Blobs = slices.Collect(maps.Keys(r.blobs))
	w.Jobs = append(slices.Collect(maps.Keys(r.active)), slices.Collect(maps.Keys(r.done))...)
	r.mu.Unlock()
	w.Acked = r.out.confirmed()
	m, err := wire.Encode(wire.KindWelcome, w)
	if err != nil {
		l.drop()
		return
	}
	if old != nil {
		r.out.detach(old)
	}
	if err = r.out.attach(r.ctx, l, m, h.Durable.From); err == nil {
		err = r.askAgain(r.ctx, l)
	}
	if err != nil {
		r.out.detach(l)
		l.drop()
		return
	}
	select {
	case r.links <- l:
	case <-r.ctx.Done():
		l.drop()
	}
}

// hello reads the first message of a link.
func (l *link) hello() (wire.Hello, error) {
	var h wire.Hello
	for {
		kind, body, err := l.wire.Receive()
		switch {
		case err != nil:
			return h, err
		case kind == wire.KindHello:
			return h, wire.Decode(kind, body, &h)
		case kind != wire.KindPing && kind != wire.KindAck: // those overtake it
			return h, fmt.Errorf("%w: a %s before hello", wire.ErrProtocol, kind)
		}
	}
}

// stranger says why whoever said h may not go on with this run; empty: it may.
func (r *run) stranger(h wire.Hello) string {
	switch {
	case h.Version != wire.Version:
		return fmt.Sprintf("the controller speaks version %d, this is version %d", h.Version, wire.Version)
	case h.Durable == nil || h.RunID != r.hello.RunID || subtle.ConstantTimeCompare(h.Durable.Key, r.hello.Durable.Key) != 1:
		return "this run belongs to somebody else"
	}
	return ""
}
