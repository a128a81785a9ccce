package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/sloth-runner/sloth/connection/agent/master"
)

// serveHealth answers those who look after the master, on loopback unless told
// otherwise: what is said there is no secret, but nobody's business either.
func (m *masterStart) serveHealth(ctx context.Context, srv *master.Master) (stop func(), err error) {
	address := m.health
	if address == "off" {
		return func() {}, nil
	}
	if address == "" {
		if m.port == 65535 {
			return func() {}, nil
		}
		address = net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port+1))
	}
	return startHealth(ctx, address, "--health-address", srv.Health())
}

// startHealth serves h until stop is called.
func startHealth(ctx context.Context, address, flag string, h http.Handler) (stop func(), err error) {
	l, err := master.Listen(ctx, address)
	if err != nil {
		return nil, withHint(fmt.Errorf("health: %w", err), "Take another address with "+flag+".")
	}
	s := &http.Server{Handler: h, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 8 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			l.Close()
		}
	}()
	return func() { s.Close(); <-done }, nil
}
