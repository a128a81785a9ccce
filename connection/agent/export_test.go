package agent

import "time"

// Admit is admit.
func (a *Agent) Admit(o *Open, now time.Time) string { return a.admit(o, now) }
