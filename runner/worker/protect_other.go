//go:build !linux

package worker

// protect has nothing to call here.
func protect() {}
