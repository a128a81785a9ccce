package engine

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"time"
)

// ErrMemory is wrapped by the error of Lua code that was ended because the
// process uses more memory than Options.MaxMemory.
var ErrMemory = errors.New("out of memory")

// memoryWatch looks at the heap while a VM lives. Running out of memory ends a
// Go process without a word, so whoever runs then is stopped before.
type memoryWatch struct {
	stop, ended chan struct{}
}

const memoryInterval = 50 * time.Millisecond

func (vm *VM) startMemoryWatch() {
	if vm.opts.MaxMemory == 0 {
		return
	}
	w := &memoryWatch{stop: make(chan struct{}), ended: make(chan struct{})}
	vm.memory = w
	go func() {
		defer close(w.ended)
		tick := time.NewTicker(memoryInterval)
		defer tick.Stop()
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for {
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
			if metrics.Read(sample); sample[0].Value.Uint64() <= vm.opts.MaxMemory {
				continue
			}
			runtime.GC() // much of it may be garbage
			metrics.Read(sample)
			used := sample[0].Value.Uint64()
			if s := vm.holder.Load(); s != nil && s.scope != nil && used > vm.opts.MaxMemory {
				s.scope.cancel(fmt.Errorf("%w: the process uses %d MB, the limit is %d", ErrMemory, used>>20, vm.opts.MaxMemory>>20))
			}
		}
	}()
}

func (vm *VM) stopMemoryWatch() {
	if vm.memory != nil {
		close(vm.memory.stop)
		<-vm.memory.ended
	}
}
