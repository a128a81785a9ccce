package mem

import (
	"testing"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/statetest"
)

func TestContract(t *testing.T) {
	statetest.Run(t, statetest.Kind{Open: func(*testing.T, string) state.Store { return New() }})
}
