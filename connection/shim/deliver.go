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
	"time"

	"github.com/sloth-runner/sloth/connection"
)

// stall is how long an upload may stand still.
const stall = 60 * time.Second

// deliver puts the shim into dir: under a temporary name first, over SFTP, or
// over the standard input of a command where SFTP does not lead there.
func (s *Session) deliver(dir string, data []byte, hash string) error {
	source := func() io.Reader {
		return &progress{r: bytes.NewReader(data), total: int64(len(data)), tell: s.opt.Progress, alive: func() { s.deadline(stall) }}
	}
	err := s.conn.Upload(s.ctx, path.Join(dir, "shim-"+hash), 0o700, int64(len(data)), source())
	if err == nil {
		return nil
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	var lost *connection.Error
	if errors.As(err, &lost) && lost.Class == connection.ClassTCP {
		return err
	}
	var b [8]byte
	_, _ = rand.Read(b[:])
	line := receiveLine(dir, ".new-"+hex.EncodeToString(b[:]), hash, strconv.Itoa(len(data)))
	var stderr headBuffer
	if err2 := connection.Run(s.ctx, s.conn, connection.Command{Line: line}, source(), nil, &stderr); err2 != nil {
		if s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}
		said := stderr.firstLine()
		if strings.Contains(said, "No space left") {
			return unfit{fmt.Errorf("no space left in %s on the host", dir)}
		}
		return unfit{fmt.Errorf("%w; over standard input: %w: %s", err, err2, said)}
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
	alive func()
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.done += int64(n); p.done-p.told >= 256<<10 || p.done == p.total && p.told != p.total {
		p.told = p.done
		p.alive()
		if p.tell != nil {
			p.tell(p.done, p.total)
		}
	}
	return n, err
}
