package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/pkg/sftp"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/sshclient"
)

const (
	maxOutput  = 16 << 20 // bytes of each output of a command
	maxEntries = 100_000  // of one folder
)

// with runs work over SFTP. Its value comes through a channel, as work may go
// on when nobody waits for it any more.
func with[T any](ctx context.Context, c *conn, op string, work func(*sftp.Client) (T, error)) (T, error) {
	got := make(chan T, 1)
	if err := c.SFTP(ctx, op, func(client *sftp.Client) error {
		v, err := work(client)
		if err == nil {
			got <- v
		}
		return err
	}); err != nil {
		var none T
		return none, err
	}
	return <-got, nil
}

// missing tells a path that is not there from other trouble.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func lstat(ctx context.Context, c *conn, name string) (fs.FileInfo, error) {
	return with(ctx, c, "look at "+name, func(s *sftp.Client) (fs.FileInfo, error) { return s.Lstat(name) })
}

func (c *conn) exists(ctx context.Context, name string) (any, error) {
	_, err := with(ctx, c, "look at "+name, func(s *sftp.Client) (fs.FileInfo, error) { return s.Stat(name) })
	if missing(err) {
		return false, nil
	}
	return err == nil, err
}

func (c *conn) stat(ctx context.Context, name string) (any, error) {
	st, err := lstat(ctx, c, name)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return row(name, st), nil
}

// row is a file as Lua sees it.
func row(name string, st fs.FileInfo) map[string]any {
	kind := "file"
	switch m := st.Mode(); {
	case m.IsDir():
		kind = "directory"
	case m&fs.ModeSymlink != 0:
		kind = "link"
	case !m.IsRegular():
		kind = "other"
	}
	out := map[string]any{
		"path": name, "name": path.Base(name), "type": kind, "is_dir": st.IsDir(), "size": st.Size(),
		"mode": modules.ModeText(st.Mode()), "mtime": st.ModTime().Unix(),
	}
	if sys, ok := st.Sys().(*sftp.FileStat); ok {
		out["uid"], out["gid"] = int64(sys.UID), int64(sys.GID)
	}
	return out
}

func (c *conn) listDir(ctx context.Context, name string) (any, error) {
	list, err := with(ctx, c, "list "+name, func(s *sftp.Client) ([]fs.FileInfo, error) { return s.ReadDirContext(ctx, name) })
	if err != nil {
		return nil, err
	}
	if len(list) > maxEntries {
		return nil, fmt.Errorf("list %s: more than %d entries", name, maxEntries)
	}
	rows := make([]any, len(list))
	for i, st := range list {
		rows[i] = row(path.Join(name, st.Name()), st)
	}
	return rows, nil
}

func (c *conn) mkdir(ctx context.Context, name string, mode modules.Mode, parents bool) (any, error) {
	changed, err := with(ctx, c, "make the folder "+name, func(s *sftp.Client) (bool, error) {
		st, err := s.Stat(name)
		made := false
		switch {
		case err == nil && !st.IsDir():
			return false, errors.New("there is something else of that name")
		case err == nil && !parents:
			return false, errors.New("it is there already")
		case missing(err) && parents:
			made, err = true, s.MkdirAll(name)
		case missing(err):
			made, err = true, s.Mkdir(name)
		}
		if err != nil || mode == "" {
			return made, err
		}
		moded, err := setMode(s, name, mode)
		return made || moded, err
	})
	return done(changed), err
}

// setMode changes a mode that differs.
func setMode(s *sftp.Client, name string, mode modules.Mode) (bool, error) {
	st, err := s.Stat(name)
	if err != nil {
		return false, err
	}
	want, err := mode.Of(st.Mode(), st.IsDir())
	if err != nil || want == modules.PermBits(st.Mode()) {
		return false, err
	}
	return true, s.Chmod(name, want)
}

func (c *conn) chmod(ctx context.Context, name string, mode modules.Mode) (any, error) {
	changed, err := with(ctx, c, "chmod "+name, func(s *sftp.Client) (bool, error) { return setMode(s, name, mode) })
	return done(changed), err
}

func (c *conn) remove(ctx context.Context, name string, recursive bool) (any, error) {
	changed, err := with(ctx, c, "remove "+name, func(s *sftp.Client) (bool, error) {
		st, err := s.Lstat(name)
		switch {
		case missing(err):
			return false, nil
		case err != nil:
			return false, err
		case st.IsDir() && recursive:
			return true, s.RemoveAll(name)
		case st.IsDir():
			if list, err := s.ReadDir(name); err == nil && len(list) > 0 {
				return false, errors.New("the folder is not empty; say recursive = true to remove all that is in it")
			}
			return true, s.RemoveDirectory(name)
		}
		return true, s.Remove(name)
	})
	return done(changed), err
}

func (c *conn) rename(ctx context.Context, from, to string) (any, error) {
	_, err := with(ctx, c, "rename "+from+" to "+to, func(s *sftp.Client) (bool, error) {
		if _, ok := s.HasExtension("posix-rename@openssh.com"); ok {
			return true, s.PosixRename(from, to)
		}
		return true, s.Rename(from, to)
	})
	return done(true), err
}

// chown asks the host's own chown: SFTP knows numbers alone.
func (c *conn) chown(ctx context.Context, name, owner, group string) (any, error) {
	ids := func() (ids [2]uint32, err error) {
		st, err := with(ctx, c, "look at "+name, func(s *sftp.Client) (fs.FileInfo, error) { return s.Stat(name) })
		if err != nil {
			return ids, err
		}
		if sys, ok := st.Sys().(*sftp.FileStat); ok {
			ids = [2]uint32{sys.UID, sys.GID}
		}
		return ids, nil
	}
	before, err := ids()
	if err != nil {
		return nil, err
	}
	who := owner
	if group != "" {
		who += ":" + group
	}
	if strings.HasPrefix(who, "-") {
		return nil, fmt.Errorf("chown: %q is no name", who)
	}
	if err := c.run(ctx, "chown "+name, "chown", who, plain(name)); err != nil {
		return nil, err
	}
	after, err := ids()
	return done(before != after), err
}

// plain keeps a name from being taken for an option.
func plain(name string) string {
	if strings.HasPrefix(name, "-") {
		return "./" + name
	}
	return name
}

// run runs a program of the host whose failure is an error.
func (c *conn) run(ctx context.Context, op string, argv ...string) error {
	var complaint limited
	err := connection.Run(ctx, c, connection.Command{Argv: argv}, nil, nil, &complaint)
	if exit := (*connection.ExitError)(nil); errors.As(err, &exit) {
		return fmt.Errorf("%s: %s", op, strings.TrimSpace(strings.ToValidUTF8(complaint.String(), "?")))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// limited keeps the beginning of what is written to it, and hands everything on.
type limited struct {
	bytes.Buffer
	lost   int64
	stream func([]byte)
}

func (l *limited) Write(p []byte) (int, error) {
	if l.stream != nil {
		l.stream(p)
	}
	keep := min(len(p), maxOutput-l.Len())
	l.Buffer.Write(p[:keep])
	l.lost += int64(len(p) - keep)
	return len(p), nil
}

func (c *conn) exec(ctx context.Context, call modules.Call, a *sshclient.Exec) (any, error) {
	start := time.Now()
	inner := ctx
	late := fmt.Errorf("timed out after %s", a.Timeout)
	if a.Timeout > 0 {
		limit, cancel := context.WithTimeoutCause(ctx, a.Timeout, late)
		defer cancel()
		inner = limit
	}
	var stdin io.Reader
	if a.Stdin.Given() {
		stdin = strings.NewReader(a.Stdin.Reveal())
	}
	stream := func(name string) func([]byte) { return func(p []byte) { call.Output(name, p) } }
	out, errOut := limited{stream: stream("stdout")}, limited{stream: stream("stderr")}
	err := connection.Run(inner, c, connection.Command{Line: a.Command, Argv: a.Argv}, stdin, &out, &errOut)
	result := map[string]any{
		"stdout": out.String(), "stderr": errOut.String(), "exit_code": int64(0), "success": err == nil,
		"changed": !a.CheckSafe, "duration": time.Since(start).Seconds(),
	}
	if out.lost+errOut.lost > 0 {
		result["truncated"] = true
	}
	var exit *connection.ExitError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case inner.Err() != nil:
		result["exit_code"], result["error"], result["timed_out"] = int64(-1), late.Error(), true
	case errors.As(err, &exit):
		result["exit_code"], result["error"] = int64(exit.Code), reason(exit, errOut.String(), call.NoLog)
	default:
		return nil, err
	}
	return result, nil
}

// reason is how a command failed, with the last thing it complained of.
func reason(exit *connection.ExitError, complaint string, silent bool) string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(complaint, "?")), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if silent || last == "" {
		return exit.Error()
	}
	return exit.Error() + ": " + last[:min(len(last), 500)]
}

// hashes asks the host for the SHA-256 of files, as many at a time as fit in a
// command line. Those that it does not tell are missing.
func (c *conn) hashes(ctx context.Context, names []string) map[string]string {
	out := map[string]string{}
	for len(names) > 0 {
		n, length := 0, 0
		for n < len(names) && n < 500 && length < 64<<10 {
			length += len(names[n]) + 3
			n++
		}
		argv := []string{"sha256sum"}
		for _, name := range names[:n] {
			argv = append(argv, plain(name))
		}
		var answer limited
		_ = connection.Run(ctx, c, connection.Command{Argv: argv}, nil, &answer, nil) // what fails is copied
		for line := range strings.Lines(answer.String()) {
			sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
			if ok && len(sum) == 64 {
				out[name] = sum
			}
		}
		names = names[n:]
	}
	return out
}
