//go:build !linux

package main

// protect has nothing to call on this system.
func protect() {}
