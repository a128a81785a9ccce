package ssh

import (
	"context"
	"errors"
	"net"
	"strconv"

	"github.com/pkg/sftp"
)

// SFTP runs work with the connection's SFTP session, which all callers share
// and which stays open while one of them uses it. When ctx or the connection
// ends the caller is free at once; work, which may still be in a call then,
// must touch nothing of the caller's afterwards.
func (c *Conn) SFTP(ctx context.Context, op string, work func(client *sftp.Client) error) error {
	return c.transfer(ctx, op, &gated{}, func(ctx context.Context) error {
		client, err := c.openSFTP(ctx)
		if errors.Is(err, errNoSFTP) {
			return errors.New("the host has no SFTP: set Subsystem sftp in its sshd_config, or use commands")
		}
		if err != nil {
			return err
		}
		defer c.closeSFTP()
		return work(client)
	})
}

// Forward opens a connection from the host to an address that it can reach, as
// ssh -L does.
func (c *Conn) Forward(ctx context.Context, host string, port int) (net.Conn, error) {
	e := &endpoint{label: net.JoinHostPort(host, strconv.Itoa(port)), host: host, port: port}
	return (&bastion{d: c.d, name: c.e.label, conn: c}).forward(ctx, e)
}

// CloseWrite ends one direction, for what Forward opened.
func (c *channelConn) CloseWrite() error {
	_, err := c.aside(func() (int, error) { return 0, c.ch.CloseWrite() })
	return err
}
