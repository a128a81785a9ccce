package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// file is what a handle of the io library stands for: an open file, a command
// of io.popen, a standard stream, or something planned that does not exist.
type file struct {
	name     string
	f        *os.File
	r        *bufio.Reader // nil: not readable
	process  *shellProcess
	writable bool
	command  bool   // made by io.popen
	stream   string // of Options.Output, for stdout and stderr
	standard bool   // stays open until the VM closes
	planned  bool   // takes what is written and keeps nothing
	closed   bool

	mu sync.Mutex // two threads may use a handle while the lock is let go
}

var errTooLarge = errors.New("too large")

func (f *file) String() string {
	if f.closed {
		return "file (closed)"
	}
	return "file (" + f.name + ")"
}

// LuaName says what a handle is, for messages.
func (f *file) LuaName() string { return "open file " + f.name }

// interrupt makes a read that waits return, where the operating system can:
// pipes and terminals, not plain files.
func (f *file) interrupt() {
	if f.f != nil {
		_ = f.f.SetReadDeadline(time.Now())
	}
}

func (f *file) write(ctx context.Context, vm *VM, text string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.planned && !f.standard:
		return nil
	case f.stream != "":
		vm.output(ctx, f.stream, []byte(text))
		return nil
	case !f.writable:
		return fmt.Errorf("%s: not open for writing", f.name)
	case f.process != nil:
		_, err := io.WriteString(f.process.stdin, text)
		return err
	}
	if f.r != nil && f.r.Buffered() > 0 {
		// What was read ahead lies before the place the script means.
		if _, err := f.f.Seek(-int64(f.r.Buffered()), io.SeekCurrent); err != nil {
			return err
		}
		f.r.Reset(f.f)
	}
	_, err := f.f.WriteString(text)
	return err
}

func (f *file) seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		if f.planned {
			return 0, nil
		}
		return 0, fmt.Errorf("%s: cannot seek", f.name)
	}
	if f.r != nil {
		if whence == io.SeekCurrent {
			offset -= int64(f.r.Buffered())
		}
		defer f.r.Reset(f.f)
	}
	return f.f.Seek(offset, whence)
}

// close returns the exit code or signal of a command.
func (f *file) close() (code int, signal bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, false, nil
	}
	if f.standard {
		return 0, false, fmt.Errorf("%s: cannot close standard file", f.name)
	}
	f.closed = true
	if p := f.process; p != nil {
		if p.stdin != nil {
			_ = p.stdin.Close()
		}
		if p.pipe != nil {
			_ = p.pipe.Close()
		}
		return p.wait()
	}
	if f.f != nil {
		return 0, false, f.f.Close()
	}
	return 0, false, nil
}

// readFormat is one format of file:read.
type readFormat struct {
	kind byte // 'l', 'L', 'a', 'n' or 'c' for a count of bytes
	n    int
}

func parseFormat(v lua.LValue) (readFormat, error) {
	if n, ok := v.(lua.LNumber); ok {
		if n < 0 || float64(n) > math.MaxInt32 {
			return readFormat{}, errors.New("invalid count")
		}
		return readFormat{'c', int(n)}, nil
	}
	text, ok := v.(lua.LString)
	kind := strings.TrimPrefix(string(text), "*")
	if !ok || kind == "" || strings.IndexByte("lLan", kind[0]) < 0 {
		return readFormat{}, errors.New("invalid format (*l, *L, *a, *n or a number)")
	}
	return readFormat{kind: kind[0]}, nil
}

// read returns nil at the end of the file, and at most limit bytes.
func (f *file) read(want readFormat, limit int) (lua.LValue, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch want.kind {
	case 'a':
		data, err := io.ReadAll(io.LimitReader(f.r, int64(limit)+1))
		if len(data) > limit {
			return lua.LNil, errTooLarge
		}
		return lua.LString(data), err
	case 'c':
		return f.count(want.n, limit)
	case 'n':
		return f.number()
	default:
		return f.line(limit, want.kind == 'L')
	}
}

func (f *file) count(n, limit int) (lua.LValue, error) {
	if n == 0 {
		if _, err := f.r.Peek(1); err != nil {
			return lua.LNil, notEOF(err)
		}
		return lua.LString(""), nil
	}
	if n > limit {
		return lua.LNil, errTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(f.r, int64(n)))
	if len(data) == 0 {
		return lua.LNil, err
	}
	return lua.LString(data), err
}

func (f *file) line(limit int, keep bool) (lua.LValue, error) {
	var line []byte
	for {
		part, err := f.r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return lua.LNil, errTooLarge
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && len(line) == 0 {
			return lua.LNil, notEOF(err)
		}
		if !keep && len(line) > 0 && line[len(line)-1] == '\n' {
			line = line[:len(line)-1]
		}
		return lua.LString(line), notEOF(err)
	}
}

// number reads one, as fscanf with %lf does: white space, then what can belong
// to a number.
func (f *file) number() (lua.LValue, error) {
	var text []byte
	for len(text) < 200 {
		c, err := f.r.ReadByte()
		if err != nil {
			if len(text) == 0 {
				return lua.LNil, notEOF(err)
			}
			break
		}
		if len(text) == 0 && strings.IndexByte(" \t\r\n\v\f", c) >= 0 {
			continue
		}
		if !isDigit(c) && strings.IndexByte("+-.xXabcdefABCDEF", c) < 0 {
			_ = f.r.UnreadByte()
			break
		}
		text = append(text, c)
	}
	n, ok := parseNumber(string(text), 10)
	if !ok {
		return lua.LNil, nil
	}
	return lua.LNumber(n), nil
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// fileSet is what a VM has open, to be closed with it.
type fileSet struct {
	mu  sync.Mutex
	all map[*file]struct{}
}

func (s *fileSet) add(f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*file]struct{}{}
	}
	s.all[f] = struct{}{}
}

func (s *fileSet) remove(f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, f)
}

func (s *fileSet) closeAll() error {
	s.mu.Lock()
	all := s.all
	s.all = nil
	s.mu.Unlock()
	var errs []error
	for f := range all {
		if _, _, err := f.close(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
