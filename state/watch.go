package state

import (
	"context"
	"iter"
	"maps"
	"slices"
	"time"
)

// Differ turns lists of what is under a prefix into events. It is what kinds
// that cannot watch by themselves are watched with.
type Differ struct {
	known  map[string]Entry
	synced bool
}

// Next returns what changed since the last list.
func (d *Differ) Next(list []Entry) []Event {
	var events []Event
	fresh := make(map[string]Entry, len(list))
	for _, e := range list {
		fresh[e.Key] = Entry{Key: e.Key, Revision: e.Revision, Expires: e.Expires}
		if was, ok := d.known[e.Key]; !ok || was.Revision != e.Revision {
			events = append(events, Event{Entry: e})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.known)) {
		if _, ok := fresh[key]; !ok {
			events = append(events, Event{Entry: Entry{Key: key}, Deleted: true})
		}
	}
	d.known = fresh
	if !d.synced {
		d.synced = true
		events = append(events, Event{Synced: true})
	}
	return events
}

// NextExpiry is when the first of what is known expires; zero: never.
func (d *Differ) NextExpiry() time.Time {
	var first time.Time
	for _, e := range d.known {
		if !e.Expires.IsZero() && (first.IsZero() || e.Expires.Before(first)) {
			first = e.Expires
		}
	}
	return first
}

// WatchLists is a Watch made of lists: again tells, when it returns, that
// another list is worth it. It is told when the first known entry expires.
func WatchLists(ctx context.Context, list iter.Seq2[Entry, error], again func(ctx context.Context, expiry time.Time) error) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var d Differ
		for {
			var found []Entry
			for e, err := range list {
				if err != nil {
					yield(Event{}, err)
					return
				}
				found = append(found, e)
			}
			for _, e := range d.Next(found) {
				if !yield(e, nil) {
					return
				}
			}
			if err := again(ctx, d.NextExpiry()); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// AwaitChange waits for changed, or a moment after expiry.
func AwaitChange(ctx context.Context, changed <-chan struct{}, expiry time.Time) error {
	var at <-chan time.Time
	if !expiry.IsZero() {
		t := time.NewTimer(time.Until(expiry) + time.Millisecond)
		defer t.Stop()
		at = t.C
	}
	select {
	case <-changed:
	case <-at:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
