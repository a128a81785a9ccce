package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

// Hello is the controller's first message.
type Hello struct {
	Version int    `msgpack:"v"`
	RunID   string `msgpack:"r"`
	Check   bool   `msgpack:"c,omitempty"`
	Become  Become `msgpack:"b"`
	// Env is added to the environment of everything that runs.
	Env map[string]string `msgpack:"e,omitempty"`
}

// Become says how to become another user. The password travels here and
// nowhere else.
type Become struct {
	Method   string `msgpack:"m,omitempty"` // sudo (default), doas, su
	Password []byte `msgpack:"p,omitempty"`
	// HasPassword tells an empty password from none.
	HasPassword bool `msgpack:"h,omitempty"`
}

// Welcome is the worker's first message.
type Welcome struct {
	Version   int    `msgpack:"v"`
	PID       int    `msgpack:"p"`
	UID       int    `msgpack:"u"`
	User      string `msgpack:"n"`
	Home      string `msgpack:"h"`
	OS        string `msgpack:"o"`
	Arch      string `msgpack:"a"`
	BootID    string `msgpack:"b"`
	MachineID string `msgpack:"m"`
}

// Blob is content that jobs refer to by the hex SHA-256 of it.
type Blob struct {
	Hash string `msgpack:"h"`
	Data []byte `msgpack:"d"`
}

// Job asks for work. Done answers it.
type Job struct {
	ID   string             `msgpack:"i"`
	Kind string             `msgpack:"k"`
	Body msgpack.RawMessage `msgpack:"b"`
}

// Done is the end of a job. Err is a failure to do it at all; how its steps
// ended is in Body.
type Done struct {
	Job  string             `msgpack:"i"`
	Body msgpack.RawMessage `msgpack:"b,omitempty"`
	Err  string             `msgpack:"e,omitempty"`
}

// Event is something that happened in a job. Seq counts all events of a worker
// from 1 without a gap.
type Event struct {
	Seq  uint64 `msgpack:"s"`
	Job  string `msgpack:"j"`
	Kind string `msgpack:"k"`
	Body []byte `msgpack:"b"`
}

// Call asks the other side for a service. Reply answers it.
type Call struct {
	ID      uint64 `msgpack:"i"`
	Job     string `msgpack:"j"`
	Service string `msgpack:"s"`
	Body    []byte `msgpack:"b"`
}

// Reply answers a Call.
type Reply struct {
	ID   uint64 `msgpack:"i"`
	Body []byte `msgpack:"b,omitempty"`
	Err  string `msgpack:"e,omitempty"`
}

// Cancel ends a job. Without Hard the step that runs may finish and no other
// begins; with it the step's processes are ended. An empty Job means all jobs.
type Cancel struct {
	Job  string `msgpack:"j"`
	Step string `msgpack:"s,omitempty"`
	Hard bool   `msgpack:"h,omitempty"`
}

// Ack says up to which event everything has arrived.
type Ack struct {
	Seq uint64 `msgpack:"s"`
}

// Mark begins the line that a worker, or the shell that looked for it, prints
// before anything else of ours. What comes before it is noise of the login.
const Mark = "SLOTH/1 "

// maxNoise bounds what a login may print before the mark.
const maxNoise = 64 << 10

// ErrNoise is wrapped when a login printed too much, or ended, before the mark.
var ErrNoise = errors.New("the login shell did not start the worker")

// ReadMark skips what the login prints and returns the rest of the line that
// begins with Mark. It reads not one byte further.
func ReadMark(r io.Reader) (string, error) {
	br, ok := r.(io.ByteReader)
	if !ok {
		br = bufio.NewReaderSize(oneByte{r}, 16)
	}
	var noise, line []byte
	for n := 0; n < maxNoise; n++ {
		b, err := br.ReadByte()
		if err != nil {
			return "", noiseError(noise, line, err)
		}
		if b != '\n' {
			line = append(line, b)
			continue
		}
		// A prompt without a newline may stand before the mark.
		if i := bytes.LastIndex(line, []byte(Mark)); i >= 0 {
			return strings.TrimRight(string(line[i+len(Mark):]), "\r"), nil
		}
		if len(bytes.TrimSpace(noise)) == 0 {
			noise = append(noise[:0], line...)
		}
		line = line[:0]
	}
	return "", noiseError(noise, line, fmt.Errorf("it printed %d bytes", maxNoise))
}

func noiseError(noise, line []byte, err error) error {
	if len(bytes.TrimSpace(noise)) == 0 {
		noise = line
	}
	if first := strings.TrimSpace(strings.ToValidUTF8(string(noise), "?")); first != "" {
		return fmt.Errorf("%w: %w; it said %q", ErrNoise, err, clip(first, 200))
	}
	return fmt.Errorf("%w: %w", ErrNoise, err)
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// oneByte keeps a bufio.Reader from reading ahead.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }
