package state

import (
	"errors"
	"fmt"
)

// The sizes that every kind of Store takes, in bytes.
const (
	MaxKey   = 1024
	MaxValue = 1 << 20
)

// ErrInUse is returned when another process keeps a store for itself.
var ErrInUse = errors.New("the store is in use")

// ErrClosed is returned by every method after Close.
var ErrClosed = errors.New("the store is closed")

// SizeError is a key or value that is over its limit. Nothing was written.
type SizeError struct {
	What        string // "key" or "value"
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
	return fmt.Sprintf("the value of %q has %d bytes, which is over the limit of %d", e.Key, e.Size, e.Limit)
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
