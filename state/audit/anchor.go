package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// anchors is the prefix of anchors in a store. A team shares one; each log has
// an anchor of its own.
const anchors = "audit/"

// anchor is kept in the store.
type anchor struct {
	Position
	Path string    `json:"path"`
	Host string    `json:"host"`
	At   time.Time `json:"at"`
}

func (l *Log) key() (key, host string, err error) {
	if host, err = os.Hostname(); err != nil {
		return "", "", err
	}
	sum := sha256.Sum256([]byte(host + "\x00" + l.path))
	return anchors + hex.EncodeToString(sum[:16]), host, nil
}

func (l *Log) anchor(ctx context.Context, store state.Store) (a anchor, at state.Revision, err error) {
	key, _, err := l.key()
	if err != nil {
		return a, 0, err
	}
	e, err := store.Get(ctx, key)
	if errors.Is(err, state.ErrNotFound) {
		return a, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value, &a)
	}
	if err != nil {
		return a, 0, fmt.Errorf("read the anchor of the audit log: %w", err)
	}
	return a, e.Revision, nil
}

// Seal moves the anchor in a store to p. It stays where it is, with a
// DamageError, when the log does not have any more what was anchored before.
func (l *Log) Seal(ctx context.Context, store state.Store, p Position) error {
	key, host, err := l.key()
	if err != nil {
		return err
	}
	for {
		was, at, err := l.anchor(ctx, store)
		if err != nil {
			return err
		}
		has, err := l.Has(was.Position)
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		if !has {
			return l.missing(was)
		}
		if was.Seq >= p.Seq {
			return nil // somebody else was here since
		}
		data, err := json.Marshal(anchor{Position: p, Path: l.path, Host: host, At: l.now()})
		if err != nil {
			return err
		}
		if _, err = store.Put(ctx, key, data, 0, at); !errors.Is(err, state.ErrConflict) {
			return err
		}
	}
}

func (l *Log) missing(a anchor) error {
	return &DamageError{Path: l.path, What: fmt.Sprintf("entry %d, which was there at %s, is gone or changed", a.Seq, a.At.Local().Format(time.DateTime))}
}

// Report is what Verify found.
type Report struct {
	Path     string    `json:"path"`
	Entries  uint64    `json:"entries"`
	Anchored uint64    `json:"anchored"` // up to which entry the store vouches for it
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
}

// Verify reads the whole log and compares it with its anchor. What is not what
// was written is a DamageError.
func (l *Log) Verify(ctx context.Context, store state.Store) (Report, error) {
	r := Report{Path: l.path}
	// The anchor first: the log may grow meanwhile.
	a, _, err := l.anchor(ctx, store)
	if err != nil {
		return r, err
	}
	r.Anchored = a.Seq
	_, err = l.Read(ctx, func(e Entry) error {
		if r.Entries == 0 {
			r.First = e.Time
		}
		r.Entries, r.Last = e.Seq, e.Time
		return nil
	})
	if err != nil {
		return r, err
	}
	has, err := l.Has(a.Position)
	if err == nil && !has {
		err = l.missing(a)
	}
	return r, err
}
