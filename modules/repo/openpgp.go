package repo

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // fingerprints of OpenPGP keys are defined over it
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// publicKey is what is known of a file of OpenPGP keys.
type publicKey struct {
	data    []byte // as it was given
	armored bool
	ids     []string // the last eight hex digits of each primary key, as rpm names them
}

const (
	armorBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	armorEnd   = "-----END PGP PUBLIC KEY BLOCK-----"

	tagSecretKey = 5
	tagPublicKey = 6
)

var errSecret = errors.New("this is a private key, which stays with its owner; give the public one (gpg --export)")

// parseKey checks that data is one or more whole OpenPGP public keys, armored or
// binary. It does not judge them: apt and rpm do.
func parseKey(data []byte) (publicKey, error) {
	k := publicKey{data: data}
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return k, errors.New("it is empty")
	case bytes.Contains(text, []byte("-----BEGIN PGP PRIVATE KEY")):
		return k, errSecret
	case text[0] == '<':
		return k, errors.New("it is a web page, not a key; the address is probably another")
	}
	packets := data
	if bytes.Contains(text, []byte(armorBegin)) {
		k.armored = true
		var err error
		if packets, err = dearmor(string(text)); err != nil {
			return k, err
		}
	}
	return k, k.walk(packets)
}

// dearmor decodes all blocks of a text.
func dearmor(text string) ([]byte, error) {
	var out []byte
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for {
		_, after, ok := strings.Cut(text, armorBegin)
		if !ok {
			return out, nil
		}
		block, rest, ok := strings.Cut(after, armorEnd)
		if !ok {
			return nil, errors.New("the key is cut off: its END line is missing")
		}
		text = rest
		if _, body, headers := strings.Cut(block, "\n\n"); headers {
			block = body
		}
		var body strings.Builder
		sum := ""
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "=") && len(line) == 5 {
				sum = line[1:]
				continue
			}
			body.WriteString(line)
		}
		data, err := base64.StdEncoding.DecodeString(body.String())
		if err != nil {
			return nil, errors.New("the key is damaged: between its BEGIN and END lines is no base64")
		}
		if sum != "" {
			crc := crc24(data)
			if want := base64.StdEncoding.EncodeToString([]byte{byte(crc >> 16), byte(crc >> 8), byte(crc)}); want != sum {
				return nil, errors.New("the key is damaged: its checksum is another")
			}
		}
		out = append(out, data...)
	}
}

// crc24 is that of RFC 9580, section 6.1.
func crc24(data []byte) uint32 {
	crc := uint32(0xB704CE)
	for _, b := range data {
		crc ^= uint32(b) << 16
		for range 8 {
			if crc <<= 1; crc&0x1000000 != 0 {
				crc ^= 0x864CFB
			}
		}
	}
	return crc & 0xFFFFFF
}

var errNoKey = errors.New("it is no OpenPGP public key")

// walk reads the headers of all packets. The first must be a public key.
func (k *publicKey) walk(data []byte) error {
	if len(data) == 0 {
		return errNoKey
	}
	for first := true; len(data) > 0; first = false {
		tag, body, rest, err := packet(data)
		switch {
		case tag == tagSecretKey:
			return errSecret
		case err != nil && first, first && tag != tagPublicKey:
			return errNoKey
		case err != nil:
			return fmt.Errorf("the key is damaged: %w", err)
		}
		if tag == tagPublicKey {
			k.ids = append(k.ids, keyID(body))
		}
		data = rest
	}
	return nil
}

var errShort = errors.New("it ends in the middle of a packet")

// packet takes one packet off, of the old form or the new.
func packet(data []byte) (tag int, body, rest []byte, err error) {
	head := data[0]
	if head&0x80 == 0 {
		return 0, nil, nil, errors.New("there is something in it that is no packet")
	}
	data = data[1:]
	take := func(n int) (uint32, bool) {
		if len(data) < n {
			return 0, false
		}
		var b [4]byte
		copy(b[4-n:], data[:n])
		data = data[n:]
		return binary.BigEndian.Uint32(b[:]), true
	}
	var size uint32
	var ok bool
	if head&0x40 == 0 {
		tag = int(head>>2) & 0xF
		if head&3 == 3 {
			return tag, nil, nil, errors.New("a packet has no length")
		}
		size, ok = take(1 << (head & 3))
	} else {
		tag = int(head & 0x3F)
		var one uint32
		if one, ok = take(1); ok {
			switch {
			case one < 192:
				size = one
			case one < 224:
				var two uint32
				two, ok = take(1)
				size = (one-192)<<8 + two + 192
			case one == 255:
				size, ok = take(4)
			default:
				return tag, nil, nil, errors.New("a packet comes in pieces, which keys do not")
			}
		}
	}
	if !ok || uint64(size) > uint64(len(data)) {
		return tag, nil, nil, errShort
	}
	return tag, data[:size], data[size:], nil
}

// keyID is what rpm calls the version of a gpg-pubkey package.
func keyID(body []byte) string {
	if len(body) == 0 || body[0] != 4 || len(body) > 0xFFFF {
		return ""
	}
	h := sha1.New() //nolint:gosec // see above
	_, _ = h.Write([]byte{0x99, byte(len(body) >> 8), byte(len(body))})
	_, _ = h.Write(body)
	return hex.EncodeToString(h.Sum(nil)[16:])
}
