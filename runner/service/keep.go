package service

import (
	"context"
	"errors"

	"github.com/sloth-runner/sloth/modules"
)

// keepArgs ask what of Files is lacking, or bring Pieces.
type keepArgs struct {
	To     modules.Kept        `msgpack:"t"`
	Files  []modules.FileEntry `msgpack:"f,omitempty"`
	Pieces []modules.Piece     `msgpack:"p,omitempty"`
}

var _ modules.Keeper = (*Client)(nil)

// Lacks asks which of a host's files the controller has not got.
func (c *Client) Lacks(ctx context.Context, to modules.Kept, files []modules.FileEntry) (modules.Lacking, error) {
	return ask[modules.Lacking](ctx, c, "keep", keepArgs{To: to, Files: files})
}

// Keep sends parts of files.
func (c *Client) Keep(ctx context.Context, to modules.Kept, pieces []modules.Piece) error {
	_, err := ask[modules.Lacking](ctx, c, "keep", keepArgs{To: to, Pieces: pieces})
	return err
}

// keep serves both.
func keep(ctx context.Context, svc modules.Services, body []byte) (modules.Lacking, error) {
	a, err := decode[keepArgs](body)
	if err != nil {
		return modules.Lacking{}, err
	}
	k, ok := svc.(modules.Keeper)
	if !ok {
		return modules.Lacking{}, errors.New("this command keeps no files of hosts")
	}
	if len(a.Pieces) > 0 {
		return modules.Lacking{}, k.Keep(ctx, a.To, a.Pieces)
	}
	return k.Lacks(ctx, a.To, a.Files)
}
