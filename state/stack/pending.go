package stack

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/sloth-runner/sloth/state"
)

// maxPending is how many handlers a stack keeps pending.
const maxPending = 100_000

// Handler is a handler on a host.
type Handler struct {
	Host, Name string
}

func pendingKey(stack string, h Handler) string {
	return pending + url.PathEscape(stack) + "/" + url.PathEscape(h.Host) + "/" + url.PathEscape(h.Name)
}

// Pending gives the handlers that runs of a stack left pending, by host.
func (s *Stacks) Pending(ctx context.Context, name string) (map[string][]string, error) {
	prefix := pending + url.PathEscape(name) + "/"
	out := map[string][]string{}
	n := 0
	for e, err := range s.store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if n++; n > maxPending {
			return nil, fmt.Errorf("the stack %q has more than %d pending handlers", name, maxPending)
		}
		h, t, ok := strings.Cut(strings.TrimPrefix(e.Key, prefix), "/")
		host, err1 := url.PathUnescape(h)
		handler, err2 := url.PathUnescape(t)
		if !ok || err1 != nil || err2 != nil {
			return nil, fmt.Errorf("the pending handler %q cannot be read", e.Key)
		}
		out[host] = append(out[host], handler)
	}
	return out, nil
}

// SavePending notes handlers that were notified, and forgets those that ran.
func (s *Stacks) SavePending(ctx context.Context, name string, notified, ran []Handler) error {
	var ops []state.Op
	at := map[string]int{}
	add := func(op state.Op) {
		if i, again := at[op.Key]; again {
			ops[i] = op
			return
		}
		at[op.Key] = len(ops)
		ops = append(ops, op)
	}
	for _, h := range notified {
		add(state.Op{Kind: state.OpPut, Key: pendingKey(name, h), Value: []byte(s.Who), If: state.Any})
	}
	for _, h := range ran {
		add(state.Op{Kind: state.OpDelete, Key: pendingKey(name, h), If: state.Any})
	}
	for _, o := range ops {
		if err := state.CheckSize(o.Key, o.Value); err != nil {
			return err
		}
	}
	return s.commit(ctx, ops)
}
