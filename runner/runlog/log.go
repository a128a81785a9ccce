// Package runlog is what a controller writes down about a run while it goes on:
// what it sent to whom, before it is sent, and how each step ended. With it a
// run can be gone on with by another process.
//
// A record is a folder with three files:
//
//	record   a magic line, then entries: length, CRC-32C, msgpack
//	events   what was shown, one JSON line an event
//	lock     held for as long as the run's controller lives
package runlog

import (
	"bufio"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/state/disk/filelock"
	"github.com/sloth-runner/sloth/state/disk/private"
)

const (
	magic    = "sloth run 1\n"
	maxEntry = 80 << 20
)

// The files of a record.
const (
	entriesFile = "record"
	eventsFile  = "events"
	lockFile    = "lock"
)

// Errors of opening a record.
var (
	ErrRunning = errors.New("the run is still going on")
	ErrDamaged = errors.New("the record of the run is damaged")
	ErrVersion = errors.New("the record of the run was written by another version of sloth")
)

var table = crc32.MakeTable(crc32.Castagnoli)

// Head is what a run is: its first entry.
type Head struct {
	RunID string    `msgpack:"r" json:"run_id"`
	Began time.Time `msgpack:"t" json:"began"`
	What  string    `msgpack:"w" json:"what"` // "apply", "run"
	File  string    `msgpack:"f" json:"file"`
	Hash  string    `msgpack:"fh" json:"file_hash"` // hex SHA-256 of the file's text
	Argv  []string  `msgpack:"a" json:"argv"`       // without the program, as people may see it
	Dir   string    `msgpack:"d" json:"dir"`
	Owner string    `msgpack:"o" json:"owner"` // user@machine, for people
	// Again is the command line that goes on with the run, Sealed what the file
	// has of it.
	Again  []string `msgpack:"-" json:"-"`
	Sealed []byte   `msgpack:"as,omitempty" json:"-"`
	// Key seals the journals on the hosts; nobody else has it.
	Key []byte `msgpack:"k" json:"-"`
}

// Step is one step as it was sent.
type Step struct {
	ID     string `msgpack:"i" json:"id"`
	Task   string `msgpack:"t" json:"task"`
	NoLog  bool   `msgpack:"n,omitempty" json:"no_log,omitempty"`
	Nested bool   `msgpack:"ne,omitempty" json:"nested,omitempty"`
}

// Sent is a job on its way to a host.
type Sent struct {
	Host   string `msgpack:"h" json:"host"`
	Job    string `msgpack:"j" json:"job"`
	Steps  []Step `msgpack:"s" json:"steps"`
	Depth  int    `msgpack:"d,omitempty" json:"depth,omitempty"`
	Become bool   `msgpack:"b,omitempty" json:"become,omitempty"`
	Over   bool   `msgpack:"-" json:"over"` // its results are all there
}

// Met is a host's worker, as it named itself.
type Met struct {
	Host      string `msgpack:"h" json:"host"`
	MachineID string `msgpack:"m" json:"machine_id"`
	BootID    string `msgpack:"b" json:"boot_id"`
	Kept      string `msgpack:"k" json:"kept"` // its folder of the run
}

// Outcome is how a step ended, or that it began.
type Outcome struct {
	Host  string `msgpack:"h" json:"host"`
	Task  string `msgpack:"t" json:"task"`
	Step  string `msgpack:"s" json:"step"`
	Began bool   `msgpack:"b,omitempty" json:"began,omitempty"` // here, on the controller; no more is known
	// Result is the encoded result. In the file it is sealed: what a step gave
	// may hold secrets.
	Result []byte       `msgpack:"r,omitempty" json:"-"`
	Status event.Status `msgpack:"st,omitempty" json:"status"`
}

// End is how a run ended.
type End struct {
	Time   time.Time    `msgpack:"t" json:"time"`
	Status event.Status `msgpack:"s" json:"status"`
	Code   int          `msgpack:"c" json:"exit_code"`
}

// Resumed says that another process goes on with the run.
type Resumed struct {
	Time  time.Time `msgpack:"t" json:"time"`
	Owner string    `msgpack:"o" json:"owner"`
}

// entry is one of its fields.
type entry struct {
	Head    *Head    `msgpack:"h,omitempty"`
	Met     *Met     `msgpack:"m,omitempty"`
	Sent    *Sent    `msgpack:"s,omitempty"`
	Over    string   `msgpack:"v,omitempty"` // a job
	Outcome *Outcome `msgpack:"o,omitempty"`
	Resumed *Resumed `msgpack:"r,omitempty"`
	Secret  []byte   `msgpack:"x,omitempty"` // sealed
	End     *End     `msgpack:"e,omitempty"`
}

// Log is the record of a run that goes on. Its methods may be called from
// several goroutines; after an error of one the run must not begin anything.
type Log struct {
	dir  string
	lock *os.File
	seal cipher.AEAD

	mu      sync.Mutex
	f       *os.File
	written uint64
	err     error

	syncing sync.Mutex
	synced  uint64

	events *os.File
	seq    uint64
}

// Create begins the record of a run in root, which is made if need be.
func Create(root string, h Head) (*Log, error) {
	if err := private.Folder(root); err != nil {
		return nil, fmt.Errorf("the records of runs: %w", err)
	}
	// It gets its name when it has a beginning: one without was never a run.
	dir := filepath.Join(root, unborn+h.RunID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	l := &Log{dir: dir}
	err := l.begin(h)
	if err == nil {
		l.dir = filepath.Join(root, h.RunID)
		err = os.Rename(dir, l.dir)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close(nil), os.RemoveAll(dir))
	}
	return l, nil
}

// unborn begins the name of a folder that is no run yet.
const unborn = ".new-"

func (l *Log) begin(h Head) error {
	var err error
	if l.seal, err = sealer(h.Key); err != nil {
		return err
	}
	if err := h.sealArgs(l.seal); err != nil {
		return err
	}
	if l.lock, err = hold(l.dir); err != nil {
		return err
	}
	if l.f, err = os.OpenFile(filepath.Join(l.dir, entriesFile), os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600); err != nil {
		return err
	}
	if _, err = l.f.WriteString(magic); err != nil {
		return err
	}
	if err = l.add(entry{Head: &h}); err != nil {
		return err
	}
	return l.openEvents()
}

func (l *Log) openEvents() (err error) {
	l.events, err = os.OpenFile(filepath.Join(l.dir, eventsFile), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	return err
}

// hold takes the lock of a run, which ends with the process.
func hold(dir string) (*os.File, error) {
	f, err := filelock.Lock(filepath.Join(dir, lockFile))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, ErrRunning
	}
	if err != nil {
		return nil, err
	}
	if err := filelock.Sign(f, ""); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (l *Log) add(e entry) error {
	text, err := msgpack.Marshal(e)
	if err != nil {
		return err
	}
	if len(text) > maxEntry {
		return fmt.Errorf("an entry of %d bytes is over the limit of %d", len(text), maxEntry)
	}
	b := make([]byte, 8, 8+len(text))
	binary.BigEndian.PutUint32(b, uint32(len(text)))
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(text, table))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if _, err := l.f.Write(append(b, text...)); err != nil {
		// Half an entry would hide those behind it.
		l.err = fmt.Errorf("write the record of the run in %s: %w", l.dir, err)
		return l.err
	}
	l.written++
	return nil
}

// Sync puts everything added on the disk. Callers at the same time share one.
func (l *Log) Sync() error {
	l.mu.Lock()
	upTo := l.written
	err := l.err
	l.mu.Unlock()
	if err != nil {
		return err
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.synced >= upTo {
		return nil
	}
	l.mu.Lock()
	upTo = l.written
	l.mu.Unlock()
	if err := l.f.Sync(); err != nil {
		err = fmt.Errorf("write the record of the run in %s: %w", l.dir, err)
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
		return err
	}
	l.synced = upTo
	return nil
}

// Met notes who answered on a host.
func (l *Log) Met(m Met) error { return l.add(entry{Met: &m}) }

// Send notes a job, on disk when it returns: only then may it be sent.
func (l *Log) Send(s Sent) error {
	if err := l.add(entry{Sent: &s}); err != nil {
		return err
	}
	return l.Sync()
}

// Begin notes, on disk, that a step of the controller is about to have an
// effect.
func (l *Log) Begin(o Outcome) error {
	o.Began = true
	if err := l.add(entry{Outcome: &o}); err != nil {
		return err
	}
	return l.Sync()
}

// Learn notes a secret that the run has, so that it is hidden from whoever goes
// on with it.
func (l *Log) Learn(value string) error {
	sealed, err := seal(l.seal, []byte(value), secretName)
	if err != nil {
		return err
	}
	return l.add(entry{Secret: sealed})
}

// Done notes how a step ended.
func (l *Log) Done(o Outcome) error {
	var err error
	if o.Result, err = seal(l.seal, o.Result, o.Step); err != nil {
		return err
	}
	return l.add(entry{Outcome: &o})
}

// Over notes that all results of a job are there.
func (l *Log) Over(job string) error { return l.add(entry{Over: job}) }

// Event keeps what was shown, for whoever looks later.
func (l *Log) Event(e event.Event) {
	if _, ok := e.(event.Progress); ok {
		return
	}
	l.seq++
	line, err := event.Marshal(l.seq, time.Now(), e)
	if err == nil {
		_, _ = l.events.Write(append(line, '\n')) // a convenience: the run does not depend on it
	}
}

// Close ends the record; end says how the run ended, nil that it did not.
func (l *Log) Close(end *End) error {
	var err error
	if end != nil {
		if err = l.add(entry{End: end}); err == nil {
			err = l.Sync()
		}
	}
	for _, f := range []*os.File{l.f, l.events, l.lock} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// read gives the entries of a record and the length of what is whole.
func read(f *os.File) ([]entry, int64, error) {
	in := bufio.NewReaderSize(f, 64<<10)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, 0, fmt.Errorf("%w: its beginning is missing", ErrDamaged)
	}
	if string(head) != magic {
		return nil, 0, ErrVersion
	}
	size := int64(len(head))
	var out []entry
	for {
		var b [8]byte
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return out, size, nil // the end, or what was not written to its end
		}
		n := binary.BigEndian.Uint32(b[:4])
		if n > maxEntry {
			return nil, 0, fmt.Errorf("%w: entry %d", ErrDamaged, len(out)+1)
		}
		text, err := io.ReadAll(io.LimitReader(in, int64(n)))
		if err != nil {
			return nil, 0, err
		}
		if len(text) < int(n) {
			return out, size, nil
		}
		var e entry
		if crc32.Checksum(text, table) != binary.BigEndian.Uint32(b[4:]) || msgpack.Unmarshal(text, &e) != nil {
			return nil, 0, fmt.Errorf("%w: entry %d", ErrDamaged, len(out)+1)
		}
		out = append(out, e)
		size += int64(n) + 8
	}
}
