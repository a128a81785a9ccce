package shim

import (
	"testing"

	"github.com/sloth-runner/sloth/connection/wire"
)

// TestServed: a call that comes again gets the answer of the first time, for as
// long as the worker may ask again.
func TestServed(t *testing.T) {
	var v served
	begin := func(id, answered uint64) (*wire.Reply, bool) {
		return v.begin(wire.Call{ID: id, Answered: answered}, true)
	}
	end := func(id uint64, body string) { v.end(wire.Call{ID: id}, wire.Reply{ID: id, Body: []byte(body)}) }
	want := func(calls, bytes int) {
		t.Helper()
		if len(v.calls) != calls || len(v.order) != calls || v.bytes != bytes {
			t.Errorf("%d calls in an order of %d, %d bytes; wanted %d, %d", len(v.calls), len(v.order), v.bytes, calls, bytes)
		}
	}
	for _, id := range []uint64{1, 3, 2} { // as goroutines may send them
		if again, known := begin(id, 1); again != nil || known {
			t.Fatalf("call %d is known", id)
		}
	}
	if again, known := begin(3, 1); again != nil || !known {
		t.Errorf("a call under way: %v, %v", again, known)
	}
	end(3, "three")
	if again, _ := begin(3, 1); again == nil || string(again.Body) != "three" {
		t.Errorf("an answered call: %v", again)
	}
	want(3, 5)
	end(1, "one")
	begin(4, 2)
	want(3, 5)
	begin(5, 4) // nobody waits for 2, which goes on
	want(2, 0)
	end(2, "two")
	want(2, 0)
	v.reset()
	want(0, 0)
	if again, known := v.begin(wire.Call{ID: 9, Stream: 1}, true); again != nil || known || len(v.calls) != 0 {
		t.Error("a call with a stream was kept")
	}

	for id := uint64(1); id <= maxReplies+10; id++ { // a worker that says nothing
		begin(id, 0)
		if id != 1 {
			end(id, "x")
		}
	}
	want(maxReplies, maxReplies-1)
	if _, known := begin(1, 0); !known {
		t.Error("a call under way was forgotten")
	}
	if _, known := begin(2, 0); known {
		t.Error("the oldest answer was kept")
	}
}
