package worker

import (
	"testing"

	"github.com/sloth-runner/sloth/connection/wire"
)

// TestAnswered: each call says below which number nobody waits any more.
func TestAnswered(t *testing.T) {
	r := newRun(t.Context(), roleWorker)
	r.hello.Durable = &wire.Durable{} // without a link, calls wait for one
	close(r.greeted)
	ask := func(want uint64) (id uint64, forget func()) {
		t.Helper()
		_, forget, err := r.ask(t.Context(), nil, wire.Call{})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.waiting[r.calls].call.Answered; got != want {
			t.Errorf("call %d says that those before %d are answered; %d are", r.calls, got, want)
		}
		return r.calls, forget
	}
	first, _ := ask(1)
	_, forgetSecond := ask(1)
	forgetSecond()
	third, _ := ask(1)
	if err := r.replied(wire.Reply{ID: first}); err != nil {
		t.Fatal(err)
	}
	ask(third)
	for id := range r.waiting {
		if err := r.replied(wire.Reply{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	ask(5)
}
