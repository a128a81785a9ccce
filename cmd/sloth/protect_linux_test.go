package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestFault43NoCoreDumps: from its first secret on, the controller leaves none.
func TestFault43NoCoreDumps(t *testing.T) {
	dumpable := func() int {
		n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := dumpable()
	t.Cleanup(func() {
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(before), 0, 0, 0); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	a := &app{}
	if a.redactor(); dumpable() != 1 {
		t.Error("changed before there is a secret")
	}
	(&secrets{app: a}).learn("s", "hunter2")
	if dumpable() != 0 {
		t.Error("a core dump would have the secret")
	}
}
