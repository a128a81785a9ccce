package http

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

type download struct {
	URL    modules.Text `lua:"url,required,primary" pos:"1" doc:"Address"`
	Path   string       `lua:"path,required,path" alias:"dest" pos:"2" doc:"File on the host, or a folder to put it into under its own name"`
	SHA256 string       `lua:"sha256" alias:"checksum" doc:"What the content's SHA-256 must be; the file is left alone when it has it already"`
	Mode   modules.Mode `lua:"mode" doc:"Mode of the file"`
	Options
	breakers *breakers
}

var sumText = regexp.MustCompile(`^(?:sha256:)?([0-9a-f]{64})$`)

// Validate checks the options against each other.
func (d *download) Validate() error {
	if d.SHA256 != "" {
		m := sumText.FindStringSubmatch(strings.ToLower(strings.TrimSpace(d.SHA256)))
		if m == nil {
			return fmt.Errorf("sha256 = %q: it must be 64 hexadecimal digits", d.SHA256)
		}
		d.SHA256 = m[1]
	}
	if d.JSON != nil || d.Form != nil {
		return errors.New("download sends nothing: it takes neither json nor form")
	}
	return d.check()
}

// PlanSafe is false: a file is written.
func (d *download) PlanSafe() bool { return false }

// String is the address and where it goes.
func (d *download) String() string {
	return strings.TrimPrefix(show("", d.URL), " ") + " -> " + d.Path
}

// Skip tells a plan that the file is there already.
func (d *download) Skip(_ context.Context, v facts.Viewer) (string, bool, error) {
	if d.SHA256 == "" {
		return "", false, nil
	}
	dest, err := d.dest(v)
	if err != nil {
		return "", false, err
	}
	sum, _, err := sumOf(v, dest)
	if err != nil {
		return "", false, nil // what Run makes of it is not for a plan to tell
	}
	return dest + " has this content", sum == d.SHA256, nil
}

// dest is the file to write.
func (d *download) dest(v facts.Viewer) (string, error) {
	st, err := v.Stat(strings.TrimSuffix(d.Path, "/"))
	isDir := err == nil && st.Mode.IsDir()
	if !isDir && !strings.HasSuffix(d.Path, "/") {
		return d.Path, nil
	}
	u, err := url.Parse(d.URL.Reveal())
	if err != nil {
		return "", errors.New("the address cannot be read: is a character in it not escaped?")
	}
	name := path.Base(u.Path)
	if name == "." || name == "/" || name == ".." {
		return "", fmt.Errorf("the address names no file; say the whole path instead of the folder %s", d.Path)
	}
	return path.Join(d.Path, name), nil
}

// sumOf hashes a file; a missing one is fs.ErrNotExist.
func sumOf(v facts.Viewer, name string) (sum string, st facts.FileInfo, err error) {
	if st, err = v.Stat(name); err != nil {
		return "", st, err
	}
	f, err := v.Open(name)
	if err != nil {
		return "", st, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", st, err
	}
	return hex.EncodeToString(h.Sum(nil)), st, nil
}

// errSame keeps a file whose content would not change.
var errSame = errors.New("the content is the same")

// stall is how long a download may stand still.
const stall = 60 * time.Second

// Run fetches the file.
func (d *download) Run(ctx context.Context, c modules.Call) ([]any, error) {
	start := time.Now()
	fail := func(status int, err error) []any {
		return result(map[string]any{"status_code": status, "changed": false, "path": d.Path, "error": err.Error()}, start)
	}
	dest, err := d.dest(c.Machine)
	if err != nil {
		return fail(0, err), nil
	}
	have, st, err := sumOf(c.Machine, dest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(0, err), nil
	}
	same := func(status int) ([]any, error) {
		changed, err := d.chmod(c.Machine, dest, st)
		if err != nil {
			return fail(status, err), nil
		}
		return result(map[string]any{
			"status_code": status, "changed": changed, "path": dest, "size": int(st.Size), "sha256": have,
		}, start), nil
	}
	if have != "" && have == d.SHA256 {
		return same(0)
	}
	o := d.Options
	m, err := o.message(http.MethodGet, d.URL, modules.Text{})
	if err != nil {
		return fail(0, err), nil
	}
	m.header.Set("Accept-Encoding", "identity") // the file as it is, even when it is compressed
	if have != "" && d.SHA256 == "" {
		m.header.Set("If-Modified-Since", time.Unix(0, st.MTime).UTC().Format(http.TimeFormat))
	}
	client, done, err := o.client(c, m)
	if err != nil {
		return fail(0, err), nil
	}
	defer done()
	s := saver{d: d, machine: c.Machine, dest: dest, have: have}
	moving, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.watch = newWatch(stall, func() { stop(fmt.Errorf("nothing came for %s", stall)) })
	defer s.watch.stop()
	status, err := o.attempts(moving, d.breakers, client, m, func(resp *http.Response) error { return s.save(moving, resp) })
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case s.same || err == nil && status == http.StatusNotModified:
		return same(status)
	case err != nil:
		return fail(status, err), nil
	case status != http.StatusOK:
		return fail(status, errors.New(statusText(status))), nil
	}
	return result(map[string]any{"status_code": status, "changed": true, "path": dest, "size": s.size, "sha256": s.sum}, start), nil
}

// chmod gives an unchanged file the wanted mode.
func (d *download) chmod(m modules.Machine, dest string, st facts.FileInfo) (bool, error) {
	if d.Mode == "" {
		return false, nil
	}
	want, err := d.Mode.Of(st.Mode, false)
	if err != nil || want == modules.PermBits(st.Mode) {
		return false, err
	}
	return true, m.Chmod(dest, want)
}

// saver writes one answer to its file.
type saver struct {
	d       *download
	machine modules.Machine
	dest    string
	have    string // hash of the old content; empty: there is none
	watch   *watch

	same bool
	size int
	sum  string
}

func (s *saver) save(ctx context.Context, resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	body := &counted{r: resp.Body, h: sha256.New(), progress: s.watch.poke}
	o := modules.WriteOptions{Sync: true, Validate: func(context.Context, string) error {
		s.sum, s.size = hex.EncodeToString(body.h.Sum(nil)), body.n
		switch {
		case s.d.SHA256 != "" && s.sum != s.d.SHA256:
			return fmt.Errorf("%w: it is %s, not %s", errSum, s.sum, s.d.SHA256)
		case s.sum == s.have:
			return errSame
		}
		return nil
	}}
	if s.d.Mode != "" {
		mode, err := s.d.Mode.Of(0o644, false)
		if err != nil {
			return err
		}
		o.Mode = &mode
	}
	err := s.machine.WriteFile(ctx, s.dest, body, o)
	if errors.Is(err, errSame) {
		s.same = true
		return nil
	}
	if err != nil && body.err == nil {
		return errLocal{err} // not the network's fault
	}
	if err != nil {
		return err
	}
	// The server's time makes the next run ask for changes only.
	if t, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		return s.machine.Chtimes(s.dest, t)
	}
	return nil
}

var errSum = errors.New("the content has the wrong sha256 and is thrown away")

// counted hashes and counts what is read through it.
type counted struct {
	r        io.Reader
	h        hash.Hash
	n        int
	err      error // why reading ended too early
	progress func()
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.h.Write(p[:n])
	c.n += n
	if n > 0 {
		c.progress()
	}
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// errLocal is a failure that asking the server again cannot mend.
type errLocal struct{ error }

func (e errLocal) Unwrap() error { return e.error }

// watch calls late when it is not poked for a while.
type watch struct {
	timer *time.Timer
	after time.Duration
}

func newWatch(after time.Duration, late func()) *watch {
	return &watch{timer: time.AfterFunc(after, late), after: after}
}

func (w *watch) poke() { w.timer.Reset(w.after) }
func (w *watch) stop() { w.timer.Stop() }
