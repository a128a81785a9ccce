package state

import (
	"errors"
	"fmt"
)

// The sizes that every kind of Store takes, in bytes.
const (
	MaxKey   = 1024
	MaxValue = 1 << 20
	// MaxOps is how many parts a Commit may have, MaxCommit the bytes of all
	// their keys and values.
	MaxOps    = 120
	MaxCommit = MaxValue + 64<<10
)

// ErrInUse is returned when another process keeps a store for itself.
var ErrInUse = errors.New("the store is in use")

// ErrClosed is returned by every method after Close.
var ErrClosed = errors.New("the store is closed")

// SizeError is a key or value that is over its limit. Nothing was written.
type SizeError struct {
	What        string // "key", "value" or "transaction"
	Key         string // which one, shortened
	Size, Limit int
}

func (e *SizeError) Error() string {
	if e.Size == 0 {
		return "a key is empty; it needs at least one byte"
	}
	if e.What == "key" {
		return fmt.Sprintf("the key %q… has %d bytes, which is over the limit of %d", e.Key, e.Size, e.Limit)
	}
	if e.What == "transaction" {
		return fmt.Sprintf("the transaction that writes %q… has %d bytes, which is over the limit of %d", e.Key, e.Size, e.Limit)
	}
	return fmt.Sprintf("the value of %q has %d bytes, which is over the limit of %d", e.Key, e.Size, e.Limit)
}

// CheckOps refuses what no Store commits.
func CheckOps(ops []Op) error {
	if len(ops) == 0 || len(ops) > MaxOps {
		return fmt.Errorf("a transaction has %d writes; it takes from 1 to %d", len(ops), MaxOps)
	}
	size := 0
	seen := make(map[string]bool, len(ops))
	for _, o := range ops {
		if err := CheckSize(o.Key, o.Value); err != nil {
			return err
		}
		if seen[o.Key] {
			return fmt.Errorf("a transaction has the key %q twice", o.Key)
		}
		seen[o.Key] = true
		size += len(o.Key) + len(o.Value)
	}
	if size > MaxCommit {
		return &SizeError{What: "transaction", Key: ops[0].Key[:min(len(ops[0].Key), 40)], Size: size, Limit: MaxCommit}
	}
	return nil
}

// CheckSize refuses keys and values that no Store takes.
func CheckSize(key string, value []byte) error {
	short := key[:min(len(key), 40)]
	switch {
	case key == "" || len(key) > MaxKey:
		return &SizeError{What: "key", Key: short, Size: len(key), Limit: MaxKey}
	case len(value) > MaxValue:
		return &SizeError{What: "value", Key: short, Size: len(value), Limit: MaxValue}
	}
	return nil
}
