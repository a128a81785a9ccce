package modules

import "context"

// Assertion is one call of a function of infra_test, to be made on another host.
type Assertion struct {
	Host     string         `msgpack:"h"` // exact name, "local" for the controller
	Function string         `msgpack:"f"` // "infra_test.file_exists"
	Args     map[string]any `msgpack:"a,omitempty"`
	NoLog    bool           `msgpack:"n,omitempty"` // what comes of it is not shown
}

// Asserter is implemented by Services that can have an assertion made on another
// host. An error is why it does not hold, or could not be made. On a host this is
// a call to the controller, which decides whether the host may ask for it.
type Asserter interface {
	Assert(ctx context.Context, a Assertion) error
}
