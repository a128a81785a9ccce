package unzstd

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// samples are of every kind of block: raw, repeated, literals, sequences.
func samples() map[string][]byte {
	random := make([]byte, 300<<10)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(random)
	var mixed bytes.Buffer
	for i := range 2000 {
		mixed.WriteString(strings.Repeat("line of text ", i%9))
		mixed.Write(random[i : i+i%40])
	}
	return map[string][]byte{
		"empty": nil, "one": {7}, "zeros": make([]byte, 3<<20), "random": random,
		"text": []byte(strings.Repeat("the quick brown fox jumps over the lazy dog\n", 50_000)), "mixed": mixed.Bytes(),
		"far": append(append(bytes.Clone(random), make([]byte, 9<<20)...), random...),
	}
}

func TestReadsWhatAnEncoderWrites(t *testing.T) {
	for name, data := range samples() {
		for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedBetterCompression} {
			var packed bytes.Buffer
			w, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(level), zstd.WithWindowSize(32<<20))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if name == "empty" {
				packed.Reset()
				packed.Write(w.EncodeAll(nil, nil))
			}
			if packed.Len() == 0 {
				continue // this encoder writes no frame for nothing
			}
			got, err := io.ReadAll(NewReader(bytes.NewReader(packed.Bytes())))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s at %s: %d bytes of %d, %v", name, level, len(got), len(data), err)
			}
			if packed.Len() > 20 {
				if _, err := io.ReadAll(NewReader(bytes.NewReader(packed.Bytes()[:packed.Len()-5]))); err == nil {
					t.Errorf("%s at %s: cut short, and nobody noticed", name, level)
				}
			}
		}
	}
}

func TestRefusesHugeWindows(t *testing.T) {
	// Magic, no single segment, window descriptor for 256 MB.
	_, err := io.ReadAll(NewReader(bytes.NewReader([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3, 0x01, 0x00, 0x00})))
	if err == nil || !strings.Contains(err.Error(), "window of more than 128 MB") {
		t.Error(err)
	}
}

func FuzzReader(f *testing.F) {
	for _, data := range samples() {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(w.EncodeAll(data[:min(len(data), 4000)], nil))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = io.Copy(io.Discard, io.LimitReader(NewReader(bytes.NewReader(data)), 1<<20))
	})
}
