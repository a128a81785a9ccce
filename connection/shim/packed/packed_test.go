package packed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

func TestPackedKnowsItsHash(t *testing.T) {
	raw := bytes.Repeat([]byte("a program\x00"), 10_000)
	p, err := Pack(raw)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	if h, err := Hash(p); err != nil || h != hex.EncodeToString(sum[:]) {
		t.Error(h, err)
	}
	if got, err := Unpack(p); err != nil || !bytes.Equal(got, raw) {
		t.Error(len(got), err)
	}
	p[len(magic)] ^= 1
	if _, err := Unpack(p); err == nil {
		t.Error("another hash was accepted")
	}
	for _, bad := range [][]byte{nil, magic, raw} {
		if _, err := Unpack(bad); err == nil {
			t.Errorf("%d bytes of something else were accepted", len(bad))
		}
	}
}
