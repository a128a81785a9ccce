package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/wire"
)

// process is a command on the host that is, or may become, the worker.
type process struct {
	connection.Process
	wire *wire.Conn         // nil: nothing was said to it yet
	kill context.CancelFunc // ends it, also on the host

	said   headBuffer // of its error output
	drains sync.WaitGroup
	conn   connection.Conn

	lost atomic.Pointer[error] // why its link was given up
}

// maxSaid is how much of an error output is kept to explain an end.
const maxSaid = 8 << 10

// headBuffer keeps the beginning of what is written to it.
type headBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (h *headBuffer) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b = append(h.b, p[:min(len(p), maxSaid-len(h.b))]...)
	return len(p), nil
}

// firstLine is the first line with something in it, made harmless.
func (h *headBuffer) firstLine() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for line := range strings.Lines(string(h.b)) {
		if line = strings.TrimSpace(line); line != "" {
			return strings.ToValidUTF8(line[:min(len(line), 300)], "?")
		}
	}
	return ""
}

// exec starts a line on the host.
func exec(ctx context.Context, conn connection.Conn, line string) (*process, error) {
	ctx, kill := context.WithCancel(ctx)
	p, err := conn.Start(ctx, connection.Command{Line: line})
	if err != nil {
		kill()
		return nil, err
	}
	out := &process{Process: p, kill: kill, conn: conn}
	out.drains.Go(func() { _, _ = io.Copy(&out.said, p.Stderr()) })
	return out, nil
}

// finish lets a command that has said its last word end, and returns how.
func (p *process) finish() error {
	if p.wire != nil {
		// The writer first: an input must not be closed under a write. One that
		// nobody takes ends with the command.
		p.wire.Close()
		late := time.AfterFunc(closeGrace, p.kill)
		<-p.wire.Done()
		late.Stop()
	}
	p.Stdin().Close()
	_, _ = io.Copy(io.Discard, p.Stdout())
	err := p.Wait()
	p.drains.Wait()
	p.kill() // nothing is left of it
	return err
}

// answer is what the line that looks for the shim, or the shim, said.
type answer struct {
	word            string // READY, NORUN, MISSING, NOWHERE, TAMPERED, UNVERIFIED
	rest            string // a folder, a file, or the reasons why there is none
	goos, goarch    string
	platformProblem error
}

func parseMark(line string) answer {
	word, rest, _ := strings.Cut(line, " ")
	a := answer{word: word, rest: rest}
	if word == "MISSING" || word == "NOWHERE" {
		f := strings.SplitN(rest, " ", 4) // sysname machine uid rest
		for len(f) < 4 {
			f = append(f, "")
		}
		a.rest = strings.TrimSpace(f[3])
		a.goos, a.goarch, a.platformProblem = platform(f[0], f[1])
	}
	return a
}

// listen reads what p says first. A login that ends without a word from us is
// explained by its error output and by how it ended.
func (s *Session) listen(p *process) (answer, error) {
	line, err := wire.ReadMark(p.Stdout())
	if err == nil {
		return parseMark(line), nil
	}
	if !errors.Is(err, io.EOF) {
		p.kill() // it may go on printing for ever
	}
	ended := p.finish()
	if s.ctx.Err() != nil {
		return answer{}, context.Cause(s.ctx)
	}
	var c *connection.Error
	if errors.As(ended, &c) {
		return answer{}, ended
	}
	if said := p.said.firstLine(); said != "" {
		err = fmt.Errorf("%w; on its error output: %q", err, said)
	}
	if ended != nil && !errors.Is(ended, context.Canceled) {
		err = fmt.Errorf("%w (%w)", err, ended)
	}
	return answer{}, s.problem("start the worker", err, loginHint)
}

const (
	loginHint = "Try `ssh HOST exec /bin/sh -c true`: it must print nothing and succeed. A nologin or restricted shell, a ForceCommand or an SFTP-only account cannot run tasks."
	execHint  = "If that is a refused permission, SELinux, AppArmor or fapolicyd may forbid running files of that folder: allow it there (SELinux: restorecon or a label such as bin_t), or give the login user another ~/.cache."
)

// problem is an error of class shim, unless err has a class already.
func (s *Session) problem(op string, err error, hint string) error {
	var c *connection.Error
	if errors.As(err, &c) {
		return err
	}
	return &connection.Error{Class: connection.ClassShim, Host: s.opt.Host, Op: op, Err: err, Hint: hint}
}

// errNoRun says that there is no worker to attach to.
var errNoRun = errors.New("no worker of this run lives there")

// start goes on from the first line, which runs as p already, until a worker
// speaks. Where the shim is missing it is put there: into the first folder where
// that succeeds. With attach only a worker that lives will do.
func (s *Session) start(p *process, hash string, attach bool) (*process, error) {
	run := ""
	if attach {
		run = s.opt.RunID
	}
	goos, goarch := s.opt.platform()
	var failed []string // folders
	var why error       // the first one's failure
	for try := 0; ; try++ {
		if p == nil {
			s.deadline(s.opt.StartTimeout)
			var err error
			if p, err = exec(s.ctx, s.conn, bootstrapLine(hash, s.opt.Verify, failed, run)); err != nil {
				return nil, s.problem("start the worker", err, "")
			}
		}
		a, err := s.listen(p)
		if err != nil {
			return nil, err
		}
		if a.word == "READY" {
			return p, nil
		}
		_ = p.finish() // what it had to say is said
		p = nil
		if a.word == "NORUN" || a.word == "MISSING" && attach {
			return nil, fmt.Errorf("%w: %.200q", errNoRun, a.rest)
		}
		if a.word == "NOWHERE" && why != nil {
			return nil, why // closer to the cause than what the other folders lack
		}
		if err := s.hopeless(a); err != nil {
			return nil, err
		}
		if try == 6 {
			return nil, s.problem("start the worker", errors.New("the shim was put there and is not found"), "")
		}
		if a.goos != goos || a.goarch != goarch {
			// Another platform than thought: its shim may well be there already.
			goos, goarch = a.goos, a.goarch
			if hash, err = hashOf(s.opt.Binaries, goos, goarch); err != nil {
				return nil, s.problem("find a shim", err, "")
			}
			continue
		}
		if p, err = s.put(a.rest, goos, goarch); err == nil {
			return p, nil
		}
		if s.ctx.Err() != nil || !errors.Is(err, errUnfit) {
			return nil, err
		}
		p = nil
		failed = append(failed, a.rest)
		if why == nil {
			why = err
		}
	}
}

// hopeless is the error for an answer that nothing can be done about.
func (s *Session) hopeless(a answer) error {
	switch a.word {
	case "MISSING":
		if a.platformProblem != nil {
			return s.problem("find a shim", a.platformProblem, "")
		}
		return nil
	case "TAMPERED":
		return s.problem("start the worker", fmt.Errorf("%.300q is not what sloth put there", a.rest), "Somebody changed it. Look into that host, then remove the file.")
	case "UNVERIFIED":
		return s.problem("start the worker", fmt.Errorf("%.300q cannot be verified: the host has neither sha256sum nor shasum", a.rest), "Install one of them, or leave out --verify-shim.")
	case "NOWHERE":
		return s.problem("put the shim there", fmt.Errorf("there is no folder for it: %s", connection.Printable(a.rest, 1000)), "Give the login user a folder that is writable and not mounted noexec: ~/.cache, /var/tmp or /tmp.")
	}
	return s.problem("start the worker", fmt.Errorf("it answered %.60q", a.word), "")
}

// errUnfit says that a folder did not do, and another might.
var errUnfit = errors.New("this folder does not do")

// unfit marks err, whose text stays.
type unfit struct{ error }

func (u unfit) Unwrap() []error { return []error{u.error, errUnfit} }

// put delivers the shim into dir and starts it.
func (s *Session) put(dir, goos, goarch string) (*process, error) {
	if err := safeFolder(dir); err != nil {
		return nil, s.problem("put the shim there", unfit{err}, "")
	}
	data, hash, err := s.opt.Binaries.For(goos, goarch)
	if err != nil {
		return nil, s.problem("find a shim", err, "")
	}
	if err := s.deliver(dir, data, hash); err != nil {
		return nil, s.problem("upload the shim", err, "")
	}
	s.deadline(s.opt.StartTimeout)
	p, err := exec(s.ctx, s.conn, startLine(dir, hash))
	if err != nil {
		return nil, s.problem("start the worker", err, "")
	}
	a, err := s.listen(p)
	if err == nil && a.word == "READY" {
		return p, nil
	}
	if err == nil {
		_ = p.finish()
		return nil, s.hopeless(a)
	}
	var c *connection.Error
	if errors.As(err, &c) && c.Class == connection.ClassShim {
		c.Err, c.Hint = unfit{fmt.Errorf("the new shim in %s does not run: %w", dir, c.Err)}, execHint
	}
	return nil, err
}

// safeFolder refuses a folder whose name could not stand in a shell line. The
// name comes from the host and only ever goes back to it.
func safeFolder(dir string) error {
	if !path.IsAbs(dir) || len(dir) > 1024 || strings.ContainsAny(dir, "'\"\\$`!") || connection.Printable(dir, len(dir)) != dir {
		return fmt.Errorf("the folder %.100q has a name that cannot be used", dir)
	}
	return nil
}
