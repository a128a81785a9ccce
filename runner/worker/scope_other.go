//go:build !linux

package worker

import "context"

// logind is of Linux: there is nothing to leave and nothing to fear.
func (r *run) leaveSession() error                         { return nil }
func diesWithSession(context.Context) bool                 { return false }
func startLingering(context.Context, []string) (int, bool) { return 0, false }
