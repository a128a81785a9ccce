package master

import (
	"errors"
	"io"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
)

// Limits of those who have no certificate, or none that holds.
const (
	strangerLife = time.Minute // of a connection without a certificate: an enrolment takes a second
	alertWait    = time.Second // for a rejected peer to read why
	alertBytes   = 64 << 10
)

// handshakes is TLS, and keeps strangers short.
type handshakes struct {
	credentials.TransportCredentials
}

func (h handshakes) Clone() credentials.TransportCredentials {
	return handshakes{h.TransportCredentials.Clone()}
}

func (h handshakes) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := raw.(*counted)
	if !ok {
		return nil, nil, errors.New("the connection did not come through the gate")
	}
	c.held.Store(true)
	conn, info, err := h.TransportCredentials.ServerHandshake(raw)
	c.held.Store(false)
	if err != nil {
		// Closing with something unread would reset the connection, and the peer
		// would never see the alert that says why.
		if c.CloseWrite() == nil {
			_ = c.SetReadDeadline(time.Now().Add(alertWait))
			_, _ = io.CopyN(io.Discard, c, alertBytes)
		}
		return nil, nil, errors.Join(err, c.Close())
	}
	if t, ok := info.(credentials.TLSInfo); ok && len(t.State.PeerCertificates) == 0 {
		c.life = time.AfterFunc(strangerLife, func() { c.Close() })
	}
	return conn, info, nil
}
