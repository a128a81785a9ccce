package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

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
