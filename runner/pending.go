package runner

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/runner/step"
)

// Notified is a handler that was notified on a host.
type Notified struct {
	Host, Handler string
}

// Pending keeps notified handlers beyond the end of a run.
type Pending interface {
	// Load gives what earlier runs left, by host.
	Load(ctx context.Context) (map[string][]string, error)
	// Save adds handlers that were notified, and removes those that have run.
	Save(ctx context.Context, notified, ran []Notified) error
}

// savePendingFor bounds one Save.
const savePendingFor = 30 * time.Second

// pendingLog saves what is notified while the run goes on: several at once, and
// nobody waits for it before the end.
type pendingLog struct {
	mu       sync.Mutex
	cond     sync.Cond
	notified []Notified
	ran      []Notified
	saving   bool
	failed   bool
	loaded   sync.Once
}

// pendingKept reports whether handlers outlive this run.
func (r *Runner) pendingKept() bool { return r.opt.Pending != nil && !r.opt.Check }

// notify queues a handler on a host.
func (r *Runner) notify(host, name string) {
	if r.handlers.notify(host, name) && r.pendingKept() {
		r.savePending([]Notified{{host, name}}, nil)
	}
}

// savePending begins to save, unless somebody does it already.
func (r *Runner) savePending(notified, ran []Notified) {
	p := &r.saves
	p.mu.Lock()
	defer p.mu.Unlock()
	// What ran may be notified again, and the other way round: the last one counts.
	p.notified = append(slices.DeleteFunc(p.notified, func(n Notified) bool { return slices.Contains(ran, n) }), notified...)
	p.ran = append(slices.DeleteFunc(p.ran, func(n Notified) bool { return slices.Contains(notified, n) }), ran...)
	if p.saving {
		return
	}
	p.saving = true
	go r.savePendings()
}

// savePendings saves until there is nothing left.
func (r *Runner) savePendings() {
	p := &r.saves
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.notified)+len(p.ran) > 0 && !p.failed {
		notified, ran := p.notified, p.ran
		p.notified, p.ran = nil, nil
		p.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), savePendingFor)
		err := r.opt.Pending.Save(ctx, notified, ran)
		cancel()
		p.mu.Lock()
		if err != nil {
			p.failed = true
			r.notice("warn", "what is pending cannot be kept beyond this run: %v", err)
		}
	}
	p.saving = false
	p.cond.Broadcast()
}

// awaitPending waits until everything is saved.
func (r *Runner) awaitPending() {
	p := &r.saves
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.saving {
		p.cond.Wait()
	}
}

// recallPending queues what earlier runs left, once.
func (r *Runner) recallPending(ctx context.Context) {
	if !r.pendingKept() {
		return
	}
	r.saves.loaded.Do(func() {
		left, err := r.opt.Pending.Load(ctx)
		if err != nil {
			r.notice("warn", "what earlier runs left pending cannot be read: %v", err)
			return
		}
		r.handlers.recall(left)
	})
}

// adopt lets a host's handlers from earlier runs be run by this one.
func (r *Runner) adoptPending(host string) {
	if names := r.handlers.adopt(host); len(names) > 0 {
		r.notice("notice", "%s: an earlier run left pending: %s", host, strings.Join(names, ", "))
	}
}

// handled forgets a handler that has run.
func (r *Runner) handled(host, name string, res step.Result) {
	if r.pendingKept() && !res.NotRun && (!res.Status.Bad() || res.Ignored) {
		r.savePending(nil, []Notified{{host, name}})
	}
}
