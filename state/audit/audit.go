// Package audit keeps a record of who ran what, where, with which outcome. It
// is only ever added to: each entry holds the hash of the one before, so that a
// changed or removed one is found, and an anchor kept elsewhere says how far it
// went, so that a shorter one is found too.
package audit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/state/disk/filelock"
	"github.com/sloth-runner/sloth/state/disk/private"
)

// maxLine is the size of one entry in bytes.
const maxLine = 1 << 20

// hashSize is the length of a hash in hex.
const hashSize = 2 * sha256.Size

// Entry is one thing that was done, or begun. Secrets are never in it: who adds
// it has taken them out.
type Entry struct {
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Who    string    `json:"who"` // user@machine
	PID    int       `json:"pid"`
	Action string    `json:"action"` // "run began", "run ended", "exec", "stack delete", …
	Run    string    `json:"run,omitempty"`
	Stack  string    `json:"stack,omitempty"`
	// What is the command line, without the program.
	What   []string `json:"what,omitempty"`
	Dir    string   `json:"dir,omitempty"`
	Script string   `json:"script,omitempty"` // hex SHA-256 of the file's text
	Commit string   `json:"commit,omitempty"`
	// Hosts are the first of the hosts, HostCount says how many there were.
	Hosts     []string `json:"hosts,omitempty"`
	HostCount int      `json:"host_count,omitempty"`
	Outcome   string   `json:"outcome,omitempty"` // "Success", …
	ExitCode  *int     `json:"exit_code,omitempty"`
	Changed   bool     `json:"changed,omitempty"`

	Prev string `json:"prev"` // hash of the entry before; empty in the first
	// Torn is the hash of an unfinished line before this one: a process died
	// while it wrote that.
	Torn string `json:"torn,omitempty"`
}

// Position is how far a log goes.
type Position struct {
	Seq  uint64 `json:"seq"`  // of the last entry; 0: there is none
	Hash string `json:"hash"` // of it
	End  int64  `json:"end"`  // bytes up to its end
}

// DamageError says where a log is not what was written.
type DamageError struct {
	Path string
	Line int // 0: the log as a whole
	What string
}

func (e *DamageError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("the audit log %s is not what was written: %s", e.Path, e.What)
	}
	return fmt.Sprintf("the audit log %s is not what was written: line %d: %s", e.Path, e.Line, e.What)
}

// Log is the audit log of one user on one machine.
type Log struct {
	path string
	now  func() time.Time
}

// New returns the log in a file, which the first Append makes.
func New(path string) *Log { return &Log{path: path, now: time.Now} }

// Path is the log's file.
func (l *Log) Path() string { return l.path }

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// lockPatience is how long another process may be adding an entry.
const lockPatience = 10 * time.Second

// Append adds an entry, on the disk when it returns, and says how far the log
// goes then. Seq, Time, PID, Prev and Torn are filled in.
func (l *Log) Append(ctx context.Context, e Entry) (Position, error) {
	p, err := l.add(ctx, e)
	if err != nil {
		return p, fmt.Errorf("write the audit log: %w", err)
	}
	return p, nil
}

func (l *Log) add(ctx context.Context, e Entry) (Position, error) {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return Position{}, err
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return Position{}, err
	}
	defer f.Close()
	if err := closed(f); err != nil {
		return Position{}, err
	}
	if err := filelock.Wait(ctx, f, filelock.Exclusive, lockPatience); err != nil {
		if errors.Is(err, filelock.ErrHeld) {
			err = fmt.Errorf("another process has held %s for %s", l.path, lockPatience)
		}
		return Position{}, err
	}
	last, torn, err := tail(f)
	if err != nil {
		return Position{}, err
	}
	var before Entry
	if last != nil {
		if e.Prev, before, err = parse(last); err != nil {
			return Position{}, &DamageError{Path: l.path, What: "its last entry cannot be read: " + err.Error() + ". Move the file away to begin another; sloth audit verify tells more"}
		}
	}
	e.Seq, e.Time, e.PID = before.Seq+1, l.now().UTC(), os.Getpid()
	var out []byte
	if torn != nil {
		e.Torn = hashOf(torn)
		out = append(out, '\n')
	}
	body, err := json.Marshal(e)
	if err != nil {
		return Position{}, err
	}
	if len(body) > maxLine-hashSize-2 {
		return Position{}, fmt.Errorf("an entry of %d bytes is over the limit of %d", len(body), maxLine)
	}
	hash := hashOf(body)
	out = append(out, hash+" "...)
	out = append(append(out, body...), '\n')
	if _, err := f.Write(out); err != nil {
		return Position{}, err
	}
	if err := f.Sync(); err != nil {
		return Position{}, err
	}
	end, err := f.Seek(0, io.SeekEnd)
	return Position{Seq: e.Seq, Hash: hash, End: end}, err
}

// closed refuses a log that others may read or write.
func closed(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no file; move it away", f.Name())
	}
	return private.CheckInfo(f.Name(), st)
}

// tail gives the last whole line, without its end, and what is unfinished
// behind it.
func tail(f *os.File) (line, torn []byte, err error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return nil, nil, err
	}
	from := max(0, size-2*maxLine-2)
	b := make([]byte, size-from)
	if _, err := f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	end := bytes.LastIndexByte(b, '\n')
	if end < len(b)-1 {
		torn = b[end+1:]
	}
	if end < 0 {
		return nil, torn, nil
	}
	start := bytes.LastIndexByte(b[:end], '\n') + 1
	return b[start:end], torn, nil
}

// parse reads one line and compares it with its hash.
func parse(line []byte) (string, Entry, error) {
	var e Entry
	if len(line) <= hashSize || line[hashSize] != ' ' {
		return "", e, errors.New("it is no entry")
	}
	hash, body := string(line[:hashSize]), line[hashSize+1:]
	if hashOf(body) != hash {
		return "", e, errors.New("it was changed")
	}
	return hash, e, json.Unmarshal(body, &e)
}

// Read calls fn with every entry, in order, and gives how far the log goes. The
// first one that is not what was written ends it with a DamageError. There may
// be no log yet.
func (l *Log) Read(ctx context.Context, fn func(Entry) error) (Position, error) {
	f, err := os.OpenFile(l.path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Position{}, nil
	}
	if err != nil {
		return Position{}, fmt.Errorf("read the audit log: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, maxLine)
	var at Position
	var torn []byte
	var offset int64
	damage := func(n int, what string) error { return &DamageError{Path: l.path, Line: n, What: what} }
	for n := 1; ; n++ {
		if ctx.Err() != nil {
			return at, context.Cause(ctx)
		}
		line, err := in.ReadSlice('\n')
		offset += int64(len(line))
		switch {
		case errors.Is(err, io.EOF):
			// What has no end is being written now, or was when its writer died: the
			// anchor knows whether it had been acknowledged.
			if torn != nil {
				return at, damage(n-1, "it is no entry, or was changed")
			}
			return at, nil
		case err != nil:
			return at, damage(n, "it is longer than any entry")
		}
		line = line[:len(line)-1]
		hash, e, bad := parse(line)
		if bad != nil {
			if torn != nil {
				return at, damage(n-1, "it is no entry, or was changed")
			}
			torn = append([]byte{}, line...)
			continue
		}
		switch {
		case torn != nil && e.Torn != hashOf(torn):
			return at, damage(n-1, "it is no entry, or was changed")
		case torn == nil && e.Torn != "":
			return at, damage(n, "an unfinished line before it is gone")
		case e.Prev != at.Hash || e.Seq != at.Seq+1:
			return at, damage(n, fmt.Sprintf("entry %d does not follow entry %d: something between them was removed or put in", e.Seq, at.Seq))
		}
		torn, at = nil, Position{Seq: e.Seq, Hash: hash, End: offset}
		if err := fn(e); err != nil {
			return at, err
		}
	}
}

// Has reports whether the log still has the entry at p.
func (l *Log) Has(p Position) (bool, error) {
	if p.Seq == 0 {
		return true, nil
	}
	f, err := os.OpenFile(l.path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	from := max(0, p.End-maxLine-1)
	b := make([]byte, p.End-from)
	if _, err := f.ReadAt(b, from); err != nil {
		if errors.Is(err, io.EOF) {
			return false, nil // it is shorter
		}
		return false, err
	}
	if len(b) == 0 || b[len(b)-1] != '\n' {
		return false, nil
	}
	b = b[:len(b)-1]
	hash, e, err := parse(b[bytes.LastIndexByte(b, '\n')+1:])
	return err == nil && hash == p.Hash && e.Seq == p.Seq, nil
}
