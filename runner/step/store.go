package step

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

// storeGrace is how long a step that was cancelled may take to store what it
// has set.
const storeGrace = 2 * time.Second

// storeSets stores what the step has set before the step counts as done.
func (r *run) storeSets(ctx context.Context) error {
	s, ok := r.o.Env.Call.Services.(modules.Setter)
	if !ok {
		return nil
	}
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), storeGrace)
		defer cancel()
	}
	return s.FlushState(ctx)
}

// unstored is how a step ends whose sets could not be stored.
func (r *run) unstored(res Result, err error) Result {
	err = fmt.Errorf("what the task has set is not stored: %w", err)
	if res.Status.Bad() {
		r.out.log(r.here(), "error", text(failureOf(err)), nil)
		return res
	}
	bad := failed(err)
	bad.Outputs = res.Outputs
	return bad
}

// maxMade bounds the secrets of one step that are remembered.
const maxMade = 200

// learn keeps a secret that the step has made, and passes it on.
func (r *run) learn(value string) {
	r.mu.Lock()
	fresh := len(r.made) < maxMade && !slices.Contains(r.made, value)
	if fresh {
		r.made = append(r.made, value)
	}
	r.mu.Unlock()
	if fresh && r.o.Learn != nil {
		r.o.Learn(value)
	}
}
