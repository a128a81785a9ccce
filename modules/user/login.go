package user

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

const (
	lastlogFile = "/var/log/lastlog"
	wtmpFile    = "/var/log/wtmp"

	maxWtmp   = 64 << 20
	userLogin = 7 // USER_PROCESS of utmp(5)
)

// layout is where the fields of lastlog(8) and utmp(5) are. glibc keeps the times
// in 32 bits on all architectures that once had 32, and in 64 on the others.
type layout struct {
	wide                 bool
	lastlog, lastlogLine int
	wtmp, wtmpTime       int
}

func layoutOf(arch string) layout {
	switch arch {
	case "arm64", "riscv64", "loong64":
		return layout{true, 296, 8, 400, 344}
	}
	return layout{false, 292, 4, 384, 340}
}

func (l layout) time(b []byte) int64 {
	if l.wide {
		return int64(binary.LittleEndian.Uint64(b))
	}
	return int64(binary.LittleEndian.Uint32(b))
}

// login is one login of a user.
type login struct {
	at         int64 // Unix seconds
	line, host string
}

func (g login) table() map[string]any {
	return map[string]any{"time": g.at, "date": time.Unix(g.at, 0).UTC().Format(time.RFC3339), "terminal": g.line, "host": g.host}
}

func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(bytes.ToValidUTF8(b, []byte("?")))
}

// parseLastlog reads one record of lastlog.
func (l layout) parseLastlog(b []byte) (login, bool) {
	if len(b) < l.lastlog {
		return login{}, false
	}
	g := login{l.time(b), text(b[l.lastlogLine : l.lastlogLine+32]), text(b[l.lastlogLine+32 : l.lastlog])}
	return g, g.at > 0
}

// parseWtmp reads one record of wtmp; name is who logged in, and empty when the
// record tells of something else.
func (l layout) parseWtmp(b []byte) (name string, g login) {
	if len(b) < l.wtmp || binary.LittleEndian.Uint16(b) != userLogin {
		return "", g
	}
	return text(b[44:76]), login{l.time(b[l.wtmpTime:]), text(b[8:40]), text(b[76:332])}
}

// fromLastlog looks at the record of a user's number. The file has holes where
// nobody is, and is huge by its looks only.
func (l layout) fromLastlog(v facts.Viewer, uid int) (login, error) {
	f, err := v.Open(lastlogFile)
	if err != nil {
		return login{}, err
	}
	defer f.Close()
	at := int64(uid) * int64(l.lastlog)
	if s, ok := f.(io.Seeker); ok {
		_, err = s.Seek(at, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, f, at)
	}
	record := make([]byte, l.lastlog)
	if err == nil {
		_, err = io.ReadFull(f, record)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return login{}, nil
	}
	g, _ := l.parseLastlog(record)
	return g, err
}

func (l layout) fromWtmp(ctx context.Context, v facts.Viewer, name string) (login, error) {
	f, err := v.Open(wtmpFile)
	if err != nil {
		return login{}, err
	}
	defer f.Close()
	all := io.LimitReader(f, maxWtmp)
	// A whole number of records at a time.
	buf := make([]byte, 256*l.wtmp)
	var last login
	for ctx.Err() == nil {
		n, err := io.ReadFull(all, buf)
		for b := buf[:n]; len(b) >= l.wtmp; b = b[l.wtmp:] {
			if who, g := l.parseWtmp(b); who == name && g.at >= last.at {
				last = g
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
	}
	return last, context.Cause(ctx)
}

type lastLogin struct{ one }

// Query reads lastlog and wtmp, and takes what is later: not every way in writes
// to both.
func (q *lastLogin) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	a, err := find(ctx, v, q.Name)
	if err != nil || a == nil || a.uid == unknownID {
		return []any{nil}, err
	}
	l := layoutOf(runtime.GOARCH)
	last, err := l.fromLastlog(v, a.uid)
	if err != nil && !hostfile.Missing(err) {
		return nil, err
	}
	noLastlog := err != nil
	other, err := l.fromWtmp(ctx, v, q.Name)
	switch {
	case hostfile.Missing(err) && noLastlog:
		return nil, errors.New("this host keeps neither " + lastlogFile + " nor " + wtmpFile + ", so nobody knows who logged in")
	case err != nil && !hostfile.Missing(err):
		return nil, err
	}
	if other.at > last.at {
		last = other
	}
	if last.at == 0 {
		return []any{nil}, nil
	}
	return []any{last.table()}, nil
}
