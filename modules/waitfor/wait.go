package waitfor

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

// thing is something to wait for.
type thing interface {
	// String names it: "port 80", "file /run/app.pid to go away".
	String() string
	// look tells whether it is as wanted and what was seen. An error ends the
	// waiting.
	look(ctx context.Context, c modules.Call) (ready bool, seen string, err error)
	// found adds to the result what the last look brought.
	found(result map[string]any)
}

const (
	// oneLook bounds a look that would wait itself.
	oneLook = 10 * time.Second
	// progress is the time between two lines that say what is waited for.
	progress = 5 * time.Second
	// shortest keeps a mistaken interval from burning a processor.
	shortest = 10 * time.Millisecond
)

func (p *patience) valid() error {
	if p.Timeout <= 0 {
		return errors.New("timeout: it must be above 0")
	}
	if p.Delay >= p.Timeout {
		return fmt.Errorf("delay = %s leaves no time to look: timeout is %s", p.Delay, p.Timeout)
	}
	return nil
}

// PlanSafe is true: waiting changes nothing, and a plan does not wait.
func (*patience) PlanSafe() bool { return true }

func (p *patience) wait(ctx context.Context, c modules.Call, t thing) ([]any, error) {
	if c.Plan {
		c.Log("info", "not waited for: "+t.String(), nil)
		return []any{map[string]any{"success": true, "changed": false, "planned": true, "elapsed": 0.0, "attempts": int64(0), "seen": ""}}, nil
	}
	begin := time.Now()
	limit, cancel := context.WithTimeoutCause(ctx, p.Timeout, errDeadline)
	defer cancel()
	said := begin
	seen, looks := "nothing yet", 0
	for next := p.Delay; ; next = max(p.Interval, shortest) {
		if err := pause(limit, next, &said, func() {
			c.Log("info", fmt.Sprintf("waiting for %s: %s (%s of %s)", t, seen, since(begin), p.Timeout), nil)
		}); err != nil {
			return nil, p.late(ctx, t, seen, looks, err)
		}
		ready, what, err := t.look(limit, c)
		if c.NoLog {
			what = "not shown, because of no_log"
		}
		if limit.Err() != nil && !ready {
			if what != "" && errors.Is(err, errDeadline) {
				seen = what
			}
			return nil, p.late(ctx, t, seen, looks, context.Cause(limit))
		}
		if err != nil {
			return nil, err
		}
		looks++
		if seen = what; ready {
			out := map[string]any{"success": true, "changed": false, "elapsed": time.Since(begin).Seconds(), "attempts": int64(looks), "seen": seen}
			t.found(out)
			return []any{out}, nil
		}
	}
}

var errDeadline = errors.New("the time was over")

// late is how the waiting ends without what was waited for.
func (p *patience) late(ctx context.Context, t thing, seen string, looks int, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) // the task's own end
	}
	if !errors.Is(err, errDeadline) {
		return err
	}
	text := fmt.Sprintf("waited %s for %s; last seen, at look %d: %s", p.Timeout, t, looks, seen)
	if p.Msg != "" {
		text = p.Msg + ": " + text
	}
	return errors.New(text)
}

// pause waits, and reports whenever nothing was said for a while.
func pause(ctx context.Context, d time.Duration, said *time.Time, report func()) error {
	wake := time.NewTimer(d)
	defer wake.Stop()
	for {
		line := time.NewTimer(time.Until(said.Add(progress)))
		select {
		case <-ctx.Done():
			line.Stop()
			return context.Cause(ctx)
		case <-wake.C:
			line.Stop()
			return nil
		case <-line.C:
			report()
			*said = time.Now()
		}
	}
}

func since(begin time.Time) time.Duration { return time.Since(begin).Round(time.Second) }

func compile(expression string) (*regexp.Regexp, error) {
	if expression == "" {
		return nil, nil
	}
	re, err := regexp.Compile("(?m)" + expression)
	if err != nil {
		if _, plain := regexp.Compile(expression); plain != nil {
			err = plain
		}
		return nil, fmt.Errorf("search_regex: %w", err)
	}
	return re, nil
}

// Validate checks the arguments.
func (o *onPort) Validate() error {
	_, err := newPort(o.Port, o.Host, o.State, o.Regex)
	return errors.Join(err, o.valid())
}

// Run waits.
func (o *onPort) Run(ctx context.Context, c modules.Call) ([]any, error) {
	t, err := newPort(o.Port, o.Host, o.State, o.Regex)
	if err != nil {
		return nil, err
	}
	return o.wait(ctx, c, t)
}

// Validate checks the arguments.
func (o *onFile) Validate() error {
	_, err := newFile(o.Path, o.State, o.Regex)
	return errors.Join(err, o.valid())
}

// Run waits.
func (o *onFile) Run(ctx context.Context, c modules.Call) ([]any, error) {
	t, err := newFile(o.Path, o.State, o.Regex)
	if err != nil {
		return nil, err
	}
	return o.wait(ctx, c, t)
}

// Validate checks the arguments.
func (o *onCommand) Validate() error {
	_, err := newCommand(o.Cmd, o.Expect, o.Regex)
	return errors.Join(err, o.valid())
}

// Run waits.
func (o *onCommand) Run(ctx context.Context, c modules.Call) ([]any, error) {
	t, err := newCommand(o.Cmd, o.Expect, o.Regex)
	if err != nil {
		return nil, err
	}
	return o.wait(ctx, c, t)
}

// Validate checks the arguments.
func (o *onCheck) Validate() error { return o.valid() }

// Run waits.
func (o *onCheck) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return o.wait(ctx, c, &check{fn: o.Fn})
}

// Validate asks for exactly one thing to wait for.
func (o *condition) Validate() error {
	_, err := o.thing()
	return errors.Join(err, o.valid())
}

// Run waits.
func (o *condition) Run(ctx context.Context, c modules.Call) ([]any, error) {
	t, err := o.thing()
	if err != nil {
		return nil, err
	}
	return o.wait(ctx, c, t)
}

func (o *condition) thing() (thing, error) {
	fn, isFn := o.Check.(modules.Callback)
	text, isText := o.Check.(string)
	if o.Check != nil && !isFn && !isText {
		return nil, errors.New("check must be a function, or with command the text that it prints")
	}
	n := 0
	for _, given := range []bool{o.Port != 0, o.Path != "", o.Cmd != "", isFn} {
		if given {
			n++
		}
	}
	switch {
	case n == 0 && isText:
		return nil, errors.New("check = a text is what a command prints: say which command")
	case n == 0:
		return nil, errors.New("it says nothing to wait for: give port, path, command or check")
	case n > 1:
		return nil, errors.New("give one of port, path, command and check, and call it once for each")
	case isText && o.Cmd == "":
		return nil, errors.New("check = a text is what a command prints, and there is none")
	case o.Host != "" && o.Port == 0:
		return nil, errors.New("host belongs to port")
	case o.State != "" && o.Port == 0 && o.Path == "":
		return nil, errors.New("state belongs to port and path")
	case o.Search != "" && isFn:
		return nil, errors.New("search_regex belongs to port, path and command")
	case o.Port != 0:
		return newPort(o.Port, o.Host, o.State, o.Search)
	case o.Path != "":
		return newFile(o.Path, o.State, o.Search)
	case isFn:
		return &check{fn: fn}, nil
	}
	return newCommand(o.Cmd, text, o.Search)
}
