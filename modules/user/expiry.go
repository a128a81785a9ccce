package user

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

const (
	never = "never"
	day   = 24 * time.Hour
)

// parseExpiry returns the days since 1970, as text, that /etc/shadow has for a
// date; nothing for never.
func parseExpiry(text string) (string, error) {
	if text == never {
		return "", nil
	}
	at, err := time.Parse(time.DateOnly, text)
	if err != nil || at.Unix() < 0 {
		return "", fmt.Errorf(`expires = %q is neither a date such as "2030-12-31" nor "never"`, text)
	}
	return strconv.FormatInt(at.Unix()/int64(day/time.Second), 10), nil
}

// expiryText is parseExpiry the other way round.
func expiryText(days string) string {
	n, err := strconv.ParseInt(days, 10, 32)
	if err != nil || n < 0 {
		return never
	}
	return time.Unix(n*int64(day/time.Second), 0).UTC().Format(time.DateOnly)
}

type setExpiry struct {
	set
	Name    string `lua:"name,required,primary" alias:"username,user" doc:"Name of the user"`
	Expires string `lua:"expires,required" alias:"expiry,date" pos:"2" doc:"Date such as \"2030-12-31\" from which on nobody can log in as the user, or \"never\""`
}

// Validate checks the arguments.
func (s *setExpiry) Validate() error {
	s.w = want{name: s.Name, expires: s.Expires}
	return s.w.validate()
}

type expirePassword struct{ one }

// Check reads the date of the last change: 0 asks for a new password.
func (e *expirePassword) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	if _, planned := modules.Noted(v, "expired:"+e.Name); planned {
		return d, nil
	}
	is, err := find(ctx, v, e.Name)
	if err != nil {
		return d, err
	}
	if is == nil {
		return d, noUser(e.Name)
	}
	f, err := shadow(v, e.Name)
	if err != nil {
		return d, fmt.Errorf("%w; only root can see when a password expires", err)
	}
	if f != nil && f[2] == "0" {
		return d, nil
	}
	before := "unknown until applied"
	if f != nil {
		before = "set on " + expiryText(f[2])
	}
	d.Add(modules.Change{What: "user " + e.Name, Attr: "password", Before: before, After: "to be changed at the next login"})
	return d, nil
}

// Apply sets that date.
func (e *expirePassword) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if busybox(m) {
		return editShadow(ctx, m, e.Name, func(f []string) { f[2] = "0" })
	}
	return command(ctx, m, "chage", "-d", "0", "--", e.Name)
}

// Plan notes it.
func (e *expirePassword) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	o.Note("expired:"+e.Name, "true")
	return nil
}

func noUser(name string) error {
	return fmt.Errorf("there is no user %q on this host; user.create makes one", name)
}
