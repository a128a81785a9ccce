package local_test

import (
	"testing"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/conntest"
	"github.com/sloth-runner/sloth/connection/local"
)

func TestContract(t *testing.T) {
	conntest.Run(t, func(testing.TB) connection.Conn { return local.New() })
}
