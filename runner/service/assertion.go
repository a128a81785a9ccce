package service

import (
	"context"
	"errors"

	"github.com/sloth-runner/sloth/modules"
)

var _ modules.Asserter = (*Client)(nil)

// Assert has an assertion made on another host.
func (c *Client) Assert(ctx context.Context, a modules.Assertion) error {
	_, err := ask[any](ctx, c, "assert", a)
	return err
}

// assert serves one.
func assert(ctx context.Context, svc modules.Services, body []byte) error {
	a, err := decode[modules.Assertion](body)
	if err != nil {
		return err
	}
	s, ok := svc.(modules.Asserter)
	if !ok {
		return errors.New("this command makes no assertions on other hosts")
	}
	return s.Assert(ctx, a)
}
