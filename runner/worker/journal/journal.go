// Package journal is the record that a worker keeps of the steps of one run on
// one host: what had begun, and how it ended. It answers the one question that
// nobody else can once the worker is gone.
//
// A journal is a file: a magic line, a salt, then records. Each record is
//
//	4 bytes  length of the sealed text, big endian
//	…        the record as msgpack, sealed with AES-256-GCM
//
// The key comes from the controller, which alone can read what is there. The
// number of a record is its nonce, so a record that was changed, moved or taken
// out of the middle is noticed.
package journal

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vmihailenco/msgpack/v5"
	"golang.org/x/sys/unix"
)

// Name is the journal's file in a run's folder.
const Name = "journal"

const (
	magic     = "sloth journal 1\n"
	saltSize  = 16
	maxRecord = 80 << 20 // a result at the limit of the wire, and some more
)

// Errors of reading. Nothing of a journal that gives one may be believed.
var (
	ErrForeign = errors.New("the journal is not of this run, or its beginning was changed")
	ErrDamaged = errors.New("the journal was changed")
	ErrFormat  = errors.New("the journal is of another version of sloth")
)

// Kind says what a record tells.
type Kind string

// The first record is a Run; each step has a Begin and, once it is over, an End.
const (
	Run   Kind = "run"
	Begin Kind = "begin"
	End   Kind = "end"
)

// Record is one entry. Of the fields after Boot only those are set that its
// kind has.
type Record struct {
	Kind Kind   `msgpack:"k"`
	Time int64  `msgpack:"t"`           // Unix seconds by the host's clock
	Boot string `msgpack:"b,omitempty"` // boot id at that time

	RunID string `msgpack:"r,omitempty"`
	Owner string `msgpack:"o,omitempty"` // who runs this, for people

	Job    string `msgpack:"j,omitempty"`
	Step   string `msgpack:"s,omitempty"`
	Result []byte `msgpack:"d,omitempty"` // the step's result, encoded
}

// Journal is a journal that is being written. Its methods are for one goroutine
// at a time.
type Journal struct {
	f     *os.File
	seal  cipher.AEAD
	count uint64
	size  int64 // of what is whole
	dirty bool
	named bool // the folder's entry is on disk too
	err   error
}

// Create makes the journal of a run in dir, which must not have one.
func Create(dir string, key []byte, first Record) (*Journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, Name), os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	j := &Journal{f: f}
	if err := j.start(key, first); err != nil {
		f.Close()
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	return j, nil
}

func (j *Journal) start(key []byte, first Record) error {
	head := append([]byte(magic), make([]byte, saltSize)...)
	salt := head[len(magic):]
	if _, err := rand.Read(salt); err != nil {
		return err
	}
	var err error
	if j.seal, err = sealer(key, salt); err != nil {
		return err
	}
	if _, err := j.f.Write(head); err != nil {
		return err
	}
	j.size = int64(len(head))
	return j.Append(first)
}

// sealer derives this file's own key, so that no two files share a nonce.
func sealer(key, salt []byte) (cipher.AEAD, error) {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("journal"))
	h.Write(salt)
	block, err := aes.NewCipher(h.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func nonce(n uint64) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b[4:], n)
	return b
}

// Append writes a record; it survives the end of the process, and after Sync
// that of the machine. After an error, such as a full disk, what was there is
// whole and the record is not in it.
func (j *Journal) Append(r Record) error {
	if j.err != nil {
		return j.err
	}
	text, err := msgpack.Marshal(r)
	if err != nil {
		return err
	}
	frame := make([]byte, 4, 4+len(text)+j.seal.Overhead())
	frame = j.seal.Seal(frame, nonce(j.count), text, nil)
	if len(frame)-4 > maxRecord {
		return fmt.Errorf("a record of %d bytes is over the limit of %d", len(frame)-4, maxRecord)
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	if _, err := j.f.WriteAt(frame, j.size); err != nil {
		// Half a record would hide those behind it.
		if cut := j.f.Truncate(j.size); cut != nil {
			j.err = cut
		}
		return err
	}
	j.size += int64(len(frame))
	j.count++
	j.dirty = true
	return nil
}

// Sync puts everything appended on the disk, at the first time the journal's
// name too.
func (j *Journal) Sync() error {
	if !j.dirty {
		return nil
	}
	if err := j.f.Sync(); err != nil {
		return err
	}
	if !j.named {
		d, err := os.Open(filepath.Dir(j.f.Name()))
		if err != nil {
			return err
		}
		err = d.Sync()
		d.Close()
		if err != nil {
			return err
		}
		j.named = true
	}
	j.dirty = false
	return nil
}

// Close closes the file and leaves it where it is.
func (j *Journal) Close() error { return j.f.Close() }

// Open reads the journal in dir and makes it ready for more. A record at the end
// that was not written to its end never happened: whoever appends a beginning
// does nothing before it is whole.
func Open(dir string, key []byte) (*Journal, []Record, error) {
	f, err := os.OpenFile(filepath.Join(dir, Name), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, err
	}
	j := &Journal{f: f}
	records, err := j.read(key)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return j, records, nil
}

func (j *Journal) read(key []byte) ([]Record, error) {
	in := bufio.NewReaderSize(j.f, 64<<10)
	head := make([]byte, len(magic)+saltSize)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, fmt.Errorf("%w: its beginning is missing", ErrForeign)
	}
	if string(head[:len(magic)]) != magic {
		return nil, ErrFormat
	}
	var err error
	if j.seal, err = sealer(key, head[len(magic):]); err != nil {
		return nil, err
	}
	j.size = int64(len(head))
	var records []Record
	for {
		text, size, err := j.next(in)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		var r Record
		if err := msgpack.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", ErrDamaged, j.count+1, err)
		}
		records = append(records, r)
		j.count++
		j.size += size
	}
	if len(records) == 0 || records[0].Kind != Run {
		return nil, ErrForeign
	}
	return records, j.f.Truncate(j.size)
}

// next unseals one record and gives the bytes it takes.
func (j *Journal) next(in io.Reader) ([]byte, int64, error) {
	var size [4]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return nil, 0, err
	}
	n := int64(binary.BigEndian.Uint32(size[:]))
	if n < int64(j.seal.Overhead()) || n > maxRecord {
		return nil, 0, fmt.Errorf("%w: record %d has a length of %d", ErrDamaged, j.count+1, n)
	}
	sealed, err := io.ReadAll(io.LimitReader(in, n)) // grows with what is there, not with what is claimed
	if err != nil {
		return nil, 0, err
	}
	if int64(len(sealed)) < n {
		return nil, 0, io.ErrUnexpectedEOF
	}
	text, err := j.seal.Open(nil, nonce(j.count), sealed, nil)
	if err != nil {
		if j.count == 0 {
			return nil, 0, ErrForeign
		}
		return nil, 0, fmt.Errorf("%w: record %d", ErrDamaged, j.count+1)
	}
	return text, n + 4, nil
}

// Outcome is what a journal knows of one step.
type Outcome struct {
	Step   string
	Job    string
	Boot   string // boot id when it began
	Ended  bool
	Result []byte // of a step that ended
}

// Outcomes gives the steps that had begun, in order.
func Outcomes(records []Record) []Outcome {
	var out []Outcome
	at := map[[2]string]int{} // a step that failed may be in another job again
	for _, r := range records {
		key := [2]string{r.Job, r.Step}
		i, known := at[key]
		switch {
		case r.Kind == Begin && !known:
			at[key] = len(out)
			out = append(out, Outcome{Step: r.Step, Job: r.Job, Boot: r.Boot})
		case r.Kind == End && known:
			out[i].Ended, out[i].Result = true, r.Result
		}
	}
	return out
}
