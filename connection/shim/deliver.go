package shim

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/wire"
)

// lookup is what the bootstrap line said.
type lookup struct {
	word            string // READY, MISSING, NOWHERE, TAMPERED
	sysname, uname  string
	rest            string // a folder, or the reasons why there is none
	goos, goarch    string
	platformProblem error
}

func parseMark(line string) lookup {
	word, rest, _ := strings.Cut(line, " ")
	l := lookup{word: word, rest: rest}
	if word == "MISSING" || word == "NOWHERE" {
		f := strings.SplitN(rest, " ", 4) // sysname machine uid rest
		for len(f) < 4 {
			f = append(f, "")
		}
		l.sysname, l.uname, l.rest = f[0], f[1], strings.TrimSpace(f[3])
		l.goos, l.goarch, l.platformProblem = platform(l.sysname, l.uname)
	}
	return l
}

// start runs line and reads the mark.
func start(ctx context.Context, conn connection.Conn, line string) (connection.Process, lookup, error) {
	p, err := conn.Start(ctx, connection.Command{Line: line})
	if err != nil {
		return nil, lookup{}, err
	}
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := wire.ReadMark(p.Stdout())
		got <- answer{line, err}
	}()
	select {
	case a := <-got:
		if a.err != nil {
			return nil, lookup{}, silent(p, a.err)
		}
		return p, parseMark(a.line), nil
	case <-ctx.Done():
		p.Stdin().Close()
		go io.Copy(io.Discard, p.Stderr())
		<-got // Start's context ends the command, and with it the stream
		_ = p.Wait()
		return nil, lookup{}, fmt.Errorf("the worker did not start: %w", ctx.Err())
	}
}

// silent explains a login that ended without a word from us: by its error
// output and by how it ended.
func silent(p connection.Process, cause error) error {
	p.Stdin().Close()
	said := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(p.Stderr(), 4096))
		said <- b
		_, _ = io.Copy(io.Discard, p.Stderr())
	}()
	go func() { _, _ = io.Copy(io.Discard, p.Stdout()) }()
	err := p.Wait()
	var c *connection.Error
	if errors.As(err, &c) {
		return err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(<-said)), "\n")
	if first != "" {
		cause = fmt.Errorf("%w; on its error output: %.200s", cause, strings.ToValidUTF8(first, "?"))
	}
	if err != nil {
		cause = fmt.Errorf("%w (%w)", cause, err)
	}
	return cause
}

// open starts the worker; where the shim is missing it is put there first.
func open(ctx context.Context, conn connection.Conn, o Options) (connection.Process, error) {
	fail := func(op string, err error, hint string) error {
		var c *connection.Error
		if errors.As(err, &c) {
			return err
		}
		return &connection.Error{Class: connection.ClassShim, Host: o.Host, Op: op, Err: err, Hint: hint}
	}
	// Which platform the host has is not known before it answers; nearly always
	// it is the one of last time, so that one's hash is asked for.
	goos, goarch := o.platform()
	data, hash, err := o.Binaries.For(goos, goarch)
	if err != nil {
		return nil, fail("find a shim", err, "")
	}
	skip := ""
	for range 3 {
		p, l, err := start(ctx, conn, bootstrapLine(hash, o.Verify, skip))
		if err != nil {
			return nil, fail("start the worker", err, loginHint(err))
		}
		switch l.word {
		case "READY":
			return p, nil
		case "TAMPERED":
			finish(p)
			return nil, fail("start the worker", fmt.Errorf("%.300s is not what sloth put there", l.rest), "Somebody changed it. Look into that host, then remove the file.")
		case "NOWHERE":
			finish(p)
			return nil, fail("put the shim there", fmt.Errorf("there is no folder for it:%.1000s", " "+l.rest), "Give the login user a folder that is writable and not mounted noexec: ~/.cache, /var/tmp or /tmp.")
		case "MISSING":
			finish(p)
		default:
			finish(p)
			return nil, fail("start the worker", fmt.Errorf("it answered %.60q", l.word), "")
		}
		if l.platformProblem != nil {
			return nil, fail("find a shim", l.platformProblem, "")
		}
		if l.goos != goos || l.goarch != goarch {
			// Another platform than thought: its shim may well be there already.
			goos, goarch = l.goos, l.goarch
			if data, hash, err = o.Binaries.For(goos, goarch); err != nil {
				return nil, fail("find a shim", err, "")
			}
			continue
		}
		if err := safeFolder(l.rest); err != nil {
			return nil, fail("put the shim there", err, "")
		}
		if err := deliver(ctx, conn, o, l.rest, data, hash); err != nil {
			return nil, fail("upload the shim", err, "")
		}
		p, l2, err := start(ctx, conn, startLine(l.rest, hash))
		if err == nil && l2.word == "READY" {
			return p, nil
		}
		if err == nil {
			finish(p)
			err = fmt.Errorf("it answered %.60q", l2.word)
		}
		if ctx.Err() != nil || skip != "" {
			return nil, fail("start the worker", err, execHint)
		}
		skip = l.rest // it could be written but not run: try the next folder
	}
	return nil, fail("start the worker", errors.New("the shim was put there and is not found"), "")
}

const execHint = "If the error is a permission, SELinux, AppArmor or fapolicyd may forbid running files of that folder: allow it, or give the user another ~/.cache."

func loginHint(err error) string {
	if errors.Is(err, wire.ErrNoise) {
		return "Try `ssh HOST exec /bin/sh -c true`: it must print nothing and succeed. A nologin shell, a ForceCommand or an SFTP-only account cannot run tasks."
	}
	return ""
}

// finish lets a command that has said its last word end.
func finish(p connection.Process) {
	p.Stdin().Close()
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(io.Discard, p.Stderr()) }()
	_, _ = io.Copy(io.Discard, p.Stdout())
	<-done
	_ = p.Wait()
}

// safeFolder refuses a folder whose name could not stand in a shell line. The
// name comes from the host and only ever goes back to it.
func safeFolder(dir string) error {
	if !path.IsAbs(dir) || len(dir) > 1024 || strings.ContainsAny(dir, "'\"\\$`!\n\r") {
		return fmt.Errorf("the folder %.100q has a name that cannot be used", dir)
	}
	return nil
}

// deliver puts the shim into dir: under a temporary name first, over SFTP, or
// over the standard input of a command where SFTP is off.
func deliver(ctx context.Context, conn connection.Conn, o Options, dir string, data []byte, hash string) error {
	var b [8]byte
	_, _ = rand.Read(b[:])
	src := &progress{r: bytes.NewReader(data), total: int64(len(data)), tell: o.Progress}
	err := conn.Upload(ctx, path.Join(dir, "shim-"+hash), 0o700, int64(len(data)), src)
	if err == nil || ctx.Err() != nil {
		return err
	}
	var lost *connection.Error
	if errors.As(err, &lost) && lost.Class == connection.ClassTCP {
		return err
	}
	src = &progress{r: bytes.NewReader(data), total: int64(len(data)), tell: o.Progress}
	line := receiveLine(dir, ".new-"+hex.EncodeToString(b[:]), hash, strconv.Itoa(len(data)))
	var stderr bytes.Buffer
	if err2 := connection.Run(ctx, conn, connection.Command{Line: line}, src, nil, &stderr); err2 != nil {
		return fmt.Errorf("over SFTP: %w; over standard input: %w: %.300s", err, err2, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// progress reports what was read, now and then.
type progress struct {
	r     io.Reader
	done  int64
	total int64
	told  int64
	tell  func(done, total int64)
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.done += int64(n)
	if p.tell != nil && (p.done-p.told > 256<<10 || p.done == p.total && p.told != p.total) {
		p.told = p.done
		p.tell(p.done, p.total)
	}
	return n, err
}
