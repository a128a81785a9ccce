package etcd

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	client "go.etcd.io/etcd/client/v3"

	"github.com/sloth-runner/sloth/state"
)

// Put writes value if the key is at ifRevision.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration, ifRevision state.Revision) (state.Revision, error) {
	if err := state.CheckSize(key, value); err != nil {
		return 0, err
	}
	return s.write(ctx, state.Op{Key: key, Value: value, TTL: ttl, If: ifRevision})
}

// Delete removes key if it is at ifRevision.
func (s *Store) Delete(ctx context.Context, key string, ifRevision state.Revision) error {
	if err := state.CheckSize(key, nil); err != nil {
		return err
	}
	_, err := s.write(ctx, state.Op{Kind: state.OpDelete, Key: key, If: ifRevision})
	return err
}

// Commit makes all of ops or none.
func (s *Store) Commit(ctx context.Context, ops []state.Op) (state.Revision, error) {
	if err := state.CheckOps(ops); err != nil {
		return 0, err
	}
	return s.write(ctx, ops...)
}

// writing is one transaction with all its attempts. A cluster that loses a node
// may not answer and have written all the same; the next attempt then fails by
// its conditions, and finds by number whether it was an earlier one that did.
type writing struct {
	store *Store
	ops   []state.Op
	// number is in all that is written, and nothing else has it.
	number uint64
	// seen are conditions that replace those of ops: the revision of what has
	// expired and is only not cleaned up.
	seen    []state.Revision
	unclear bool // an attempt was not answered
}

func (s *Store) write(ctx context.Context, ops ...state.Op) (r state.Revision, err error) {
	w := &writing{store: s, ops: ops, seen: make([]state.Revision, len(ops))}
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	w.number = binary.BigEndian.Uint64(b[:])
	err = s.use(ctx, func(ctx context.Context, c *client.Client) (err error) {
		r, err = w.attempt(ctx, c)
		return err
	})
	var none *NoAnswerError
	switch {
	case err == nil:
		return r, nil
	case w.unclear && (errors.As(err, &none) || ctx.Err() != nil):
		return 0, fmt.Errorf("%w: %w", state.ErrUnknown, err)
	}
	return 0, err
}

// attempt asks the cluster, and again where only expired entries are in the way.
func (w *writing) attempt(ctx context.Context, c *client.Client) (state.Revision, error) {
	for {
		r, err := w.ask(ctx, c)
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			w.store.leases.forget()
			if r, err = w.ask(ctx, c); err != nil {
				return 0, err
			}
		case err != nil:
			w.unclear = w.unclear || transient(err)
			return 0, err
		}
		if r.Succeeded {
			return w.revision(r.Header.Revision), nil
		}
		done, again, err := w.refused(r)
		if err != nil || done != 0 {
			return done, err
		}
		if !again {
			if w.unclear {
				return 0, state.ErrUnknown
			}
			return 0, state.ErrConflict
		}
	}
}

// revision is r where anything is put.
func (w *writing) revision(r int64) state.Revision {
	for _, o := range w.ops {
		if o.Kind == state.OpPut {
			return state.Revision(r)
		}
	}
	return 0
}

func (w *writing) ask(ctx context.Context, c *client.Client) (*client.TxnResponse, error) {
	var conditions []client.Cmp
	var then, otherwise []client.Op
	for i, o := range w.ops {
		key := w.store.keys + o.Key
		switch {
		case o.If == state.Any:
		case w.seen[i] != 0:
			conditions = append(conditions, client.Compare(client.ModRevision(key), "=", int64(w.seen[i])))
		case o.If == 0:
			conditions = append(conditions, client.Compare(client.CreateRevision(key), "=", 0))
		default:
			// One that may have expired is looked at first.
			conditions = append(conditions, client.Compare(client.ModRevision(key), "=", int64(o.If)), client.Compare(client.LeaseValue(key), "=", 0))
		}
		otherwise = append(otherwise, client.OpGet(key))
		switch o.Kind {
		case state.OpDelete:
			then = append(then, client.OpDelete(key))
		case state.OpPut:
			id, how, err := w.store.lease(ctx, c, o.TTL)
			if err != nil {
				return nil, err
			}
			then = append(then, client.OpPut(key, pack(o.Value, how, time.Now().Add(o.TTL), w.number), client.WithLease(id)))
		}
	}
	return c.Txn(ctx).If(conditions...).Then(then...).Else(otherwise...).Commit()
}

// refused looks at what is there instead. It returns the revision of an
// earlier attempt that was ours, or whether it is worth to ask again.
func (w *writing) refused(r *client.TxnResponse) (done state.Revision, again bool, err error) {
	again = true
	for i, o := range w.ops {
		var e stored
		if kvs := r.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			if e, err = w.store.unpack(kvs[0]); err != nil {
				return 0, false, err
			}
		}
		if e.Revision != 0 && e.write == w.number && o.Kind == state.OpPut {
			return e.Revision, false, nil
		}
		switch {
		case o.If == state.Any:
		case o.If == 0 && e.Revision != 0 && e.live(), o.If != 0 && (e.Revision != o.If || !e.live()):
			again = false
		default:
			w.seen[i] = e.Revision
		}
	}
	return 0, again, nil
}
