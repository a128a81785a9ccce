// Package local is the connection to this machine: commands are child
// processes, files are files.
package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/sloth-runner/sloth/connection"
)

var errClosed = errors.New("the connection is closed")

// Conn is a connection.Conn to this machine.
type Conn struct {
	mu     sync.Mutex
	closed bool
	done   chan struct{}
	procs  map[*process]struct{}
	wg     sync.WaitGroup // processes and transfers under way
}

// New returns a connection to this machine. Nothing runs before it is used.
func New() *Conn {
	return &Conn{done: make(chan struct{}), procs: map[*process]struct{}{}}
}

// enter counts one use, or refuses it after Close. leave ends it.
func (c *Conn) enter(op string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return &connection.Error{Class: connection.ClassChannel, Host: "localhost", Op: op, Err: errClosed}
	}
	c.wg.Add(1)
	return nil
}

func (c *Conn) leave() { c.wg.Done() }

// Upload implements connection.Conn.
func (c *Conn) Upload(ctx context.Context, path string, mode fs.FileMode, size int64, src io.Reader) (err error) {
	op := "upload " + path
	if err := c.enter(op); err != nil {
		return err
	}
	defer c.leave()
	ctx, cancel := c.until(ctx)
	defer cancel()
	tmp, err := temporary(path)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(tmp)
		}
	}()
	n, err := io.Copy(f, reader{ctx, src})
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && size >= 0 && n != size {
		err = &connection.SizeError{Want: size, Got: n}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	// Sync before the rename: after a power cut the name must not point to a
	// file whose content never reached the disk.
	err = errors.Join(f.Chmod(mode.Perm()), f.Sync())
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return syncDir(filepath.Dir(path))
}

// Download implements connection.Conn.
func (c *Conn) Download(ctx context.Context, path string, dst io.Writer) error {
	op := "download " + path
	if err := c.enter(op); err != nil {
		return err
	}
	defer c.leave()
	ctx, cancel := c.until(ctx)
	defer cancel()
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return fmt.Errorf("%s: is a directory", op)
	}
	if _, err := io.Copy(dst, reader{ctx, f}); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// Close kills what was started over the connection and waits for it.
func (c *Conn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.done)
		for p := range c.procs {
			p.end(errClosed)
		}
	}
	c.mu.Unlock()
	c.wg.Wait()
	return nil
}

// Done is closed once the connection can't be used any more.
func (c *Conn) Done() <-chan struct{} { return c.done }

// until is ctx, cancelled by Close as well.
func (c *Conn) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-c.done:
			cancel(errClosed)
		case <-stop:
		}
	})
	return ctx, func() { close(stop); wg.Wait(); cancel(nil) }
}

// reader stops between two reads once ctx is done. A source that blocks for
// ever is its owner's business.
type reader struct {
	ctx context.Context
	src io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.src.Read(p)
}

// temporary names a file beside path that nobody else uses.
func temporary(path string) (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".sloth-"+hex.EncodeToString(b[:])), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil // a folder one may write to but not read
	}
	defer d.Close()
	_ = d.Sync() // some file systems refuse it
	return nil
}

var _ connection.Conn = (*Conn)(nil)
