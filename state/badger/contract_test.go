package badger

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/statetest"
)

func open(t *testing.T, dir string) state.Store {
	return New(Options{Dir: filepath.Join(dir, "store"), What: "test", WaitLock: time.Minute})
}

func TestContract(t *testing.T) { statetest.Run(t, statetest.Kind{Open: open, Durable: true}) }
