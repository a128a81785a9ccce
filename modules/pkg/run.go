package pkg

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

// options are the arguments of everything that changes packages.
type options struct {
	LockTimeout time.Duration `lua:"lock_timeout" doc:"How long to wait while another process holds the package manager's lock"`
}

func newOptions() options { return options{LockTimeout: 5 * time.Minute} }

const (
	// A package manager that is killed in the middle leaves a broken host: it is
	// given time to finish the package it is at.
	grace    = time.Minute
	lockPoll = 2 * time.Second
)

// busy is how the managers say that somebody else is at work.
var busy = regexp.MustCompile(`(?i)could not get lock[^\n]*|unable to (?:acquire|lock)[^\n]*lock[^\n]*|waiting for (?:cache lock|process)[^\n]*|` +
	`another app is currently holding[^\n]*|system management is locked[^\n]*|unable to lock database[^\n]*|could not lock database[^\n]*|` +
	`existing lock[^\n]*another copy[^\n]*|[^\n]*transaction lock on[^\n]*|[^\n]*already locked[^\n]*|[^\n]*process is already running[^\n]*`)

// done reports whether a manager's exit code says that all went well; zypper
// has such that also tell of a reboot (102), of itself being new (103) and of
// repositories that were left out (106).
func done(m manager, code int) bool {
	return code == 0 || m.name() == "zypper" && (code == 102 || code == 103 || code == 106)
}

type patienceKey struct{}

// within lets questions wait for locks as long as o says.
func (o options) within(ctx context.Context) context.Context {
	return context.WithValue(ctx, patienceKey{}, o.LockTimeout)
}

func patience(ctx context.Context) time.Duration {
	if d, ok := ctx.Value(patienceKey{}).(time.Duration); ok {
		return d
	}
	return newOptions().LockTimeout
}

// waiter waits for somebody else's lock, and says so once.
type waiter struct {
	ctx      context.Context
	patience time.Duration
	until    time.Time

	mu   sync.Mutex
	told bool
}

// tell says what is waited for.
func (w *waiter) tell(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told {
		return
	}
	w.told = true
	why := strings.TrimPrefix(strings.TrimSpace(busy.FindString(text)), "E: ")
	modules.CallOf(w.ctx).Log("warn", fmt.Sprintf("waiting up to %s for another package manager to finish: %s", w.patience, why), nil)
}

// wait lets some time pass after a try that ended with text. It is an error when
// there is none left.
func (w *waiter) wait(text string) error {
	if w.until.IsZero() {
		w.until = time.Now().Add(w.patience)
	}
	if !time.Now().Add(lockPoll).Before(w.until) {
		return fmt.Errorf("another package manager did not finish within %s: %s", w.patience, strings.TrimSpace(busy.FindString(text)))
	}
	w.tell(text)
	select {
	case <-time.After(lockPoll):
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

// run lets the manager do something. It waits for locks, visibly.
func run(ctx context.Context, mc modules.Machine, m manager, o options, argv []string) error {
	call := modules.CallOf(ctx)
	w := waiter{ctx: ctx, patience: o.LockTimeout, until: time.Now().Add(o.LockTimeout)}
	repaired := false
	for {
		a, err := mc.Run(ctx, modules.Cmd{
			Argv: argv, Env: append([]string{"LC_ALL=C"}, m.environment()...), Grace: grace,
			Stdin: strings.NewReader(""),
			Output: func(stream string, data []byte) {
				call.Output(stream, data)
				if busy.Match(data) {
					w.tell(string(data))
				}
			},
		})
		if err != nil {
			return err
		}
		if done(m, a.ExitCode) {
			return nil
		}
		said := string(a.Stderr) + string(a.Stdout)
		switch {
		case strings.Contains(said, "dpkg was interrupted") && !repaired:
			repaired = true
			call.Log("warn", "an earlier installation was cut off; finishing it with dpkg --configure -a", nil)
			if err := run(ctx, mc, m, o, []string{"dpkg", "--force-confdef", "--force-confold", "--configure", "-a"}); err != nil {
				return err
			}
		case busy.MatchString(said):
			if err := w.wait(said); err != nil {
				return fmt.Errorf("%s: %w", brief(argv), err)
			}
		default:
			return fmt.Errorf("%s: %s", brief(argv), complaint(a))
		}
	}
}

// brief is a command line without its options.
func brief(argv []string) string {
	out := []string{argv[0]}
	skip := false
	for _, arg := range argv[1:] {
		switch {
		case skip:
			skip = false
		case arg == "-o":
			skip = true
		case !strings.HasPrefix(arg, "-"):
			out = append(out, arg)
		}
	}
	const most = 8
	if len(out) > most {
		out = append(out[:most], "…")
	}
	return strings.Join(out, " ")
}

const maxComplaint = 1500

// complaint collects what the manager calls errors; the last line of its output
// alone is often advice.
func complaint(a facts.Answer) string {
	var lines []string
	for line := range strings.Lines(string(a.Stderr) + "\n" + string(a.Stdout)) {
		line = strings.TrimSpace(line)
		lower := strings.ToLower(line)
		if strings.HasPrefix(line, "E: ") || strings.HasPrefix(lower, "error:") || strings.HasPrefix(lower, "dpkg: error") ||
			strings.HasPrefix(lower, "unable to find") || strings.HasPrefix(lower, "no match for") {
			lines = append(lines, strings.TrimPrefix(line, "E: "))
		}
	}
	text := strings.ToValidUTF8(strings.Join(lines, "; "), "?")
	if text == "" {
		return tool.Failure(a, false)
	}
	if strings.Contains(text, "Held packages were changed") {
		text += "; pkg.unhold them first"
	}
	if len(text) > maxComplaint {
		text = strings.ToValidUTF8(text[:maxComplaint], "") + "…"
	}
	if strings.Contains(text, "are you root?") || strings.Contains(text, "Permission denied") {
		text += "; packages are root's business: give the task :become(\"root\")"
	}
	return fmt.Sprintf("exit code %d: %s", a.ExitCode, text)
}
