// Package packed is the form in which shims are built into a program: Zstandard
// behind a skippable frame that holds the SHA-256 of the content. A controller
// asks hosts for a shim by its hash and needs the content only where it is
// missing; unpacking every time would cost more than a whole ad-hoc command.
package packed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/klauspost/compress/zstd"
)

// maxRaw bounds what is unpacked.
const maxRaw = 64 << 20

// HeadSize is how many bytes of a packed shim Hash needs.
const HeadSize = 8 + sha256.Size

// magic is a skippable frame's (RFC 8878, 3.1.2) with the length of a SHA-256.
var magic = []byte{0x5c, 0x2a, 0x4d, 0x18, sha256.Size, 0, 0, 0}

// Pack compresses raw.
func Pack(raw []byte) ([]byte, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return nil, err
	}
	defer enc.Close()
	sum := sha256.Sum256(raw)
	return enc.EncodeAll(raw, append(bytes.Clone(magic), sum[:]...)), nil
}

// Hash returns the hex SHA-256 of what p unpacks to, without unpacking it.
func Hash(p []byte) (string, error) {
	if len(p) < len(magic)+sha256.Size || !bytes.HasPrefix(p, magic) {
		return "", errors.New("not a packed shim")
	}
	return hex.EncodeToString(p[len(magic) : len(magic)+sha256.Size]), nil
}

// Unpack returns the content once it fits its hash.
func Unpack(p []byte) ([]byte, error) {
	want, err := Hash(p)
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxRaw), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	raw, err := dec.DecodeAll(p, nil)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != want {
		return nil, errors.New("the packed shim is damaged")
	}
	return raw, nil
}
