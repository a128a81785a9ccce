package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/runner/event"
)

// unknownClass marks a command whose end nobody can know.
const unknownClass = "unknown"

// Why a command did not come to its end here.
var (
	errNotBegun = errors.New("it was not begun here: interrupted")
	errEnded    = errors.New("it was ended: interrupted")
)

// stages is how people end a command on many hosts before its time, as they end
// a run: Ctrl-C begins nothing on further hosts, the second (or TERM) ends the
// command where it runs, the third (or the end of the terminal) leaves at once.
type stages struct {
	app   *app
	leave func() // before the program ends at once

	mu      sync.Mutex
	level   int
	running []string
	cancel  context.CancelCauseFunc
}

// begin takes note that a host's turn has come; false: no more.
func (s *stages) begin(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.level > 0 {
		return false
	}
	s.running = append(s.running, host)
	return true
}

func (s *stages) end(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = slices.DeleteFunc(s.running, func(h string) bool { return h == host })
}

func (s *stages) interrupted() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.level > 0 }

// watch listens for signals until the function it returns is called; the context
// ends with the second stage.
func (s *stages) watch(ctx context.Context) (context.Context, func()) {
	ctx, s.cancel = context.WithCancelCause(ctx)
	sig := make(chan os.Signal, 3)
	signal.Notify(sig, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(sig, syscall.SIGHUP)
	}
	done, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		for {
			select {
			case <-done:
				return
			case got := <-sig:
				s.raise(got)
			}
		}
	}()
	return ctx, func() { signal.Stop(sig); close(done); <-finished; s.cancel(nil) }
}

// raise goes to the next stage, or to the one that a signal stands for.
func (s *stages) raise(got os.Signal) {
	s.mu.Lock()
	s.level++
	switch got {
	case syscall.SIGTERM:
		s.level = max(s.level, 2)
	case syscall.SIGHUP:
		s.level = max(s.level, 3)
	}
	level, where := s.level, strings.Join(s.running, ", ")
	s.mu.Unlock()
	switch level {
	case 1:
		fmt.Fprintf(s.app.stderr, "\nbeginning nothing on further hosts; press Ctrl-C again to end the command on %s\n", where)
	case 2:
		fmt.Fprintf(s.app.stderr, "\nending the command on %s; press Ctrl-C again to leave the hosts alone with it\n", where)
		s.cancel(errEnded)
	default:
		fmt.Fprintf(s.app.stderr, "\nleaving; the command may still run on %s. Look there before you run it again\n", where)
		s.leave()
		os.Exit(exitInterrupted)
	}
}

// begun is a connection that knows whether a command may have begun on it.
type begun struct {
	connection.Conn
	asked bool
}

func (b *begun) Start(ctx context.Context, c connection.Command) (connection.Process, error) {
	p, err := b.Conn.Start(ctx, c)
	var e *connection.Error
	// A link that broke may have carried the request; other refusals are answers.
	b.asked = err == nil || errors.As(err, &e) && e.Class == connection.ClassTCP
	return p, err
}

// broken is the failure of a command whose link broke behind its beginning.
func broken(err error) *event.Failure {
	return &event.Failure{Class: unknownClass, Message: err.Error() + ": the command may have ended, or still run there",
		Hint: "Look at the host before you run it again. A command that must survive a broken link belongs into a task: `sloth apply` fetches its result when the link is back."}
}

// killTime is how long the host has to end a command of another user.
const killTime = 8 * time.Second

// killOthers ends, as the user who has them, the process groups of the command
// that has the mark: the login user may not signal them.
const killOthers = `
m=MARK
if [ -r /proc/$$/stat ]; then
	group() { read -r s 2>/dev/null <$1/stat && s=${s##*) } && set -- $s && echo $3; }
	own=$(group /proc/$$)
	all=$(for f in $(grep -l "sloth-command-$m" /proc/[0-9]*/cmdline 2>/dev/null); do group ${f%/cmdline}; done | sort -u)
else
	own=$(ps -o pgid= -p $$ | tr -d " ")
	all=$(ps -A -o pgid= -o args= | grep "sloth-command-$m" | while read g a; do echo $g; done | sort -u)
fi
groups=
for g in $all; do [ $g = $own ] || groups="$groups $g"; done
for g in $groups; do kill -TERM -$g 2>/dev/null; done
n=0
while [ $n -lt 10 ]; do
	left=
	for g in $groups; do kill -0 -$g 2>/dev/null && left=$g; done
	[ -n "$left" ] || exit 0
	n=$((n+1))
	sleep 0.1 2>/dev/null || sleep 1
done
for g in $groups; do kill -KILL -$g 2>/dev/null; done
exit 0`

// endAs ends what runs as another user, from a second session.
func (x *adhoc) endAs(ctx context.Context, c connection.Conn, how wire.Become, who, mark string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	line, err := becomeLine(how.Method, who, strings.ReplaceAll(killOthers, "MARK", mark), "sh", how.HasPassword)
	if err != nil {
		return err
	}
	var stdin io.Reader
	if how.HasPassword {
		stdin = bytes.NewReader(append(bytes.Clone(how.Password), '\n'))
	}
	if err := connection.Run(ctx, c, connection.Command{Line: line}, stdin, nil, nil); err != nil {
		return fmt.Errorf("end it as %s: %w; it may still run there", who, err)
	}
	return nil
}

// newMark names one command among all that run on a host.
func newMark() string { return rand.Text() }
