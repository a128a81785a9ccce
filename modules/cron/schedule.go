package cron

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// times are the arguments that say when a job runs.
type times struct {
	Minute  string `lua:"minute" doc:"Minutes, 0 to 59: a number, * for all, lists (0,30), ranges (10-20) and steps (*/5)"`
	Hour    string `lua:"hour" doc:"Hours, 0 to 23, in the same form"`
	Day     string `lua:"day" alias:"dom" doc:"Days of the month, 1 to 31, in the same form"`
	Month   string `lua:"month" doc:"Months, 1 to 12 or jan to dec, in the same form"`
	Weekday string `lua:"weekday" alias:"dow" doc:"Days of the week, 0 (Sunday) to 7 (Sunday again) or sun to sat, in the same form"`
	Special string `lua:"special_time" enum:"reboot,yearly,annually,monthly,weekly,daily,hourly" doc:"A named time instead of the five fields"`
}

// field is one of the five.
type field struct {
	name      string
	low, high int
	names     []string // names[0] stands for low
}

var fields = []field{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"weekday", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

func (t times) five() []string { return []string{t.Minute, t.Hour, t.Day, t.Month, t.Weekday} }

// checkTimes refuses what cron would, or would take for something else.
func (t times) checkTimes() error {
	if t.Special != "" {
		for i, text := range t.five() {
			if text != "*" {
				return fmt.Errorf("special_time and %s exclude each other; give one", fields[i].name)
			}
		}
		return nil
	}
	for i, text := range t.five() {
		if err := fields[i].check(text); err != nil {
			return fmt.Errorf("%s = %q: %w", fields[i].name, text, err)
		}
	}
	return nil
}

// when is the beginning of the job's line.
func (t times) when() string {
	if t.Special != "" {
		return "@" + t.Special
	}
	return strings.Join(t.five(), " ")
}

func (f field) check(text string) error {
	if text == "" {
		return errors.New(`it is empty; "*" is every time`)
	}
	for part := range strings.SplitSeq(text, ",") {
		if err := f.part(part); err != nil {
			return err
		}
	}
	return nil
}

// part is *, N, N-M, or one with a step.
func (f field) part(text string) error {
	span, step, stepped := strings.Cut(text, "/")
	if stepped {
		n, err := strconv.Atoi(step)
		if err != nil || n < 1 || strings.HasPrefix(step, "+") {
			return fmt.Errorf("the step %q is no number above 0", step)
		}
	}
	if span == "*" {
		return nil
	}
	from, to, ranged := strings.Cut(span, "-")
	low, err := f.number(from)
	if err != nil {
		return err
	}
	if !ranged {
		if stepped {
			return fmt.Errorf("a step needs a range: write \"%s-%d/%s\"", from, f.high, step)
		}
		return nil
	}
	high, err := f.number(to)
	if err != nil {
		return err
	}
	if high < low {
		return fmt.Errorf("the range %q runs backwards", span)
	}
	return nil
}

func (f field) number(text string) (int, error) {
	if i := slices.Index(f.names, strings.ToLower(text)); i >= 0 {
		return f.low + i, nil
	}
	n, err := strconv.Atoi(text)
	if err == nil && n >= f.low && n <= f.high && text[0] != '+' {
		return n, nil
	}
	known := ""
	if f.names != nil {
		known = fmt.Sprintf(" or %s to %s", f.names[0], f.names[len(f.names)-1])
	}
	return 0, fmt.Errorf("%q is not from %d to %d%s", text, f.low, f.high, known)
}
