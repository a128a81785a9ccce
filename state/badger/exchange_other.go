//go:build !linux

package badger

import "errors"

// exchange is for systems that cannot let two folders change places.
func exchange(string, string) error { return errors.ErrUnsupported }
