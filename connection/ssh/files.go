package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

// sftpClient is the SFTP session of a connection, open while somebody uses it.
type sftpClient struct {
	mu     sync.Mutex
	users  int
	client *sftp.Client
	absent bool // the host has no SFTP
}

var errNoSFTP = errors.New("the host has no SFTP")

// openSFTP joins the SFTP session or opens it; closeSFTP leaves it.
func (c *Conn) openSFTP(ctx context.Context) (*sftp.Client, error) {
	s := &c.sftp
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.absent {
		return nil, errNoSFTP
	}
	if s.client != nil {
		s.users++
		return s.client, nil
	}
	ch, reqs, err := c.session(ctx, true)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	err = c.hold("open SFTP")
	c.mu.Unlock()
	if err != nil {
		ch.Close()
		return nil, err
	}
	go func() {
		defer c.wg.Done()
		ssh.DiscardRequests(reqs)
		c.sessions.give()
	}()
	stop := context.AfterFunc(ctx, func() { ch.Close() })
	defer stop()
	ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(&struct{ Name string }{"sftp"}))
	if err != nil || !ok {
		ch.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if c.isOver() {
			return nil, c.lost("open SFTP")
		}
		s.absent = true
		return nil, errNoSFTP
	}
	// MaxPacket stays at 32 KB: sshd ends the connection at 256.
	client, err := sftp.NewClientPipe(ch, ch, sftp.UseConcurrentWrites(true))
	if err != nil {
		ch.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if c.isOver() {
			return nil, c.lost("open SFTP")
		}
		s.absent = true // a subsystem that is something else, or a dead path
		return nil, errNoSFTP
	}
	s.client, s.users = client, 1
	return client, nil
}

func (c *Conn) closeSFTP() {
	s := &c.sftp
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 {
		_ = s.client.Close() // closes the channel, nothing is lost
		s.client = nil
	}
}

// transfer runs work beside the caller, who is free again at once when ctx or
// the connection ends. until then, and no longer, work may use what it wraps
// in a gatedReader or gatedWriter.
func (c *Conn) transfer(ctx context.Context, op string, g *gated, work func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if err := c.enter(op); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer c.wg.Done()
		done <- work(ctx)
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		g.shut(ctx.Err())
		err = ctx.Err()
	case <-c.done:
		g.shut(errClosed)
		err = errClosed
	}
	var ce *connection.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", op, ctx.Err())
	case g.failed() != nil: // the caller's own error before what it caused
		return fmt.Errorf("%s: %w", op, g.failed())
	case errors.As(err, &ce):
		return err
	}
	if c.isOver() {
		return c.lost(op)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// Upload implements connection.Conn: over SFTP, else through cat. The file
// appears under a temporary name, is synced, and renamed when it is complete.
func (c *Conn) Upload(ctx context.Context, name string, mode fs.FileMode, size int64, src io.Reader) error {
	g := &gated{}
	in := src
	if size >= 0 {
		in = io.LimitReader(src, size+1) // one more tells a source that is too long
	}
	return c.transfer(ctx, "upload "+name, g, func(ctx context.Context) error {
		tmp := path.Join(path.Dir(name), "."+path.Base(name)+".sloth-"+newMarker())
		client, err := c.openSFTP(ctx)
		if errors.Is(err, errNoSFTP) {
			return c.uploadCat(ctx, g, tmp, name, mode, size, &gatedReader{g, in})
		}
		if err != nil {
			return err
		}
		defer c.closeSFTP()
		return uploadSFTP(client, tmp, name, mode, size, &gatedReader{g, in})
	})
}

func uploadSFTP(client *sftp.Client, tmp, name string, mode fs.FileMode, size int64, src io.Reader) (err error) {
	f, err := client.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = client.Remove(tmp)
		}
	}()
	parallel := 64
	if size >= 0 {
		parallel = int(min(64, size/(32<<10)+1))
	}
	n, err := f.ReadFromWithConcurrency(src, parallel)
	if err != nil {
		return explainWrite(client, name, err)
	}
	if size >= 0 && n != size {
		return &connection.SizeError{Want: size, Got: n}
	}
	if err := f.Chmod(mode.Perm()); err != nil {
		return err
	}
	if _, ok := client.HasExtension("fsync@openssh.com"); ok {
		if err := f.Sync(); err != nil {
			return explainWrite(client, name, err)
		}
	}
	if err := f.Close(); err != nil {
		return explainWrite(client, name, err)
	}
	if _, ok := client.HasExtension("posix-rename@openssh.com"); ok {
		return client.PosixRename(tmp, name)
	}
	return client.Rename(tmp, name)
}

// explainWrite adds what SFTP's plain "failure" hides: a full disk.
func explainWrite(client *sftp.Client, name string, err error) error {
	if !strings.Contains(err.Error(), "SSH_FX_FAILURE") {
		return err
	}
	if st, serr := client.StatVFS(path.Dir(name)); serr == nil && (st.Bavail == 0 || st.Files > 0 && st.Favail == 0) {
		return fmt.Errorf("no space left in %s on the host (%d bytes, %d inodes free): %w", path.Dir(name), st.Bavail*st.Frsize, st.Favail, err)
	}
	return err
}

// Download implements connection.Conn.
func (c *Conn) Download(ctx context.Context, name string, dst io.Writer) error {
	g := &gated{}
	return c.transfer(ctx, "download "+name, g, func(ctx context.Context) error {
		client, err := c.openSFTP(ctx)
		if errors.Is(err, errNoSFTP) {
			return c.run(ctx, nil, &gatedWriter{g, dst}, catScript(`cat < "$1"`, name)...)
		}
		if err != nil {
			return err
		}
		defer c.closeSFTP()
		f, err := client.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if st, err := f.Stat(); err == nil && st.IsDir() {
			return errors.New("is a directory")
		}
		_, err = f.WriteTo(&gatedWriter{g, dst})
		return err
	})
}

// uploadCat is Upload without SFTP. To cat, a source that failed is a clean
// end of file, so a second command judges the size before the rename.
func (c *Conn) uploadCat(ctx context.Context, g *gated, tmp, name string, mode fs.FileMode, size int64, src io.Reader) error {
	counted := &counter{r: src}
	err := c.run(ctx, counted, nil, catScript(`umask 077; set -C; cat > "$1"`, tmp)...)
	if err == nil {
		err = g.failed()
	}
	if err == nil && size >= 0 && counted.n != size {
		err = &connection.SizeError{Want: size, Got: counted.n}
	}
	if err == nil {
		err = c.run(ctx, nil, nil, catScript(`[ "$(wc -c < "$1")" -eq "$3" ] || { echo "the file arrived incomplete" >&2; exit 1; }
chmod "$4" "$1" && { sync "$1" 2>/dev/null || sync; } && mv -f "$1" "$2"`, tmp, name, strconv.FormatInt(counted.n, 10), strconv.FormatUint(uint64(mode.Perm()), 8))...)
	}
	if err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
		defer cancel()
		_ = c.run(clean, nil, nil, catScript(`rm -f "$1"`, tmp)...)
	}
	return err
}

// catScript makes argv of a script whose arguments are file names; one that
// begins with "-" must not be taken for an option.
func catScript(script string, names ...string) []string {
	argv := []string{"/bin/sh", "-c", script, "sh"}
	for _, n := range names {
		if strings.HasPrefix(n, "-") {
			n = "./" + n
		}
		argv = append(argv, n)
	}
	return argv
}

// run runs a helper command; what it complains about becomes the error.
func (c *Conn) run(ctx context.Context, stdin io.Reader, stdout io.Writer, argv ...string) error {
	var complaint bytes.Buffer
	err := connection.Run(ctx, c, connection.Command{Argv: argv}, stdin, stdout, &capped{w: &complaint, left: 4 << 10})
	var exit *connection.ExitError
	if errors.As(err, &exit) {
		said := clean(complaint.String())
		low := strings.ToLower(said)
		if strings.Contains(low, "no such file") || strings.Contains(low, "nonexistent") {
			return fmt.Errorf("%s: %w", said, fs.ErrNotExist)
		}
		if strings.Contains(low, "permission denied") {
			return fmt.Errorf("%s: %w", said, fs.ErrPermission)
		}
		return fmt.Errorf("%s (%w)", said, err)
	}
	return err
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// capped drops what goes beyond its limit.
type capped struct {
	w    io.Writer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	if _, err := c.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// gated is the door between a transfer and the caller's reader or writer: once
// shut has returned, nobody touches them. A caller's Read that blocks keeps
// shut waiting.
type gated struct {
	mu     sync.Mutex
	closed error
	own    error // what the caller's side failed with
}

func (g *gated) shut(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = err
}

func (g *gated) failed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.own
}

type gatedReader struct {
	g *gated
	r io.Reader
}

func (r *gatedReader) Read(p []byte) (int, error) {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	if r.g.closed != nil {
		return 0, r.g.closed
	}
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.g.own = err
	}
	return n, err
}

type gatedWriter struct {
	g *gated
	w io.Writer
}

func (w *gatedWriter) Write(p []byte) (int, error) {
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	if w.g.closed != nil {
		return 0, w.g.closed
	}
	n, err := w.w.Write(p)
	if err != nil {
		w.g.own = err
	}
	return n, err
}
