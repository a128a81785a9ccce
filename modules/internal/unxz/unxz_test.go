package unxz

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

func samples() map[string][]byte {
	random := make([]byte, 70<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random)
	var mixed bytes.Buffer
	for i := range 1000 {
		mixed.WriteString(strings.Repeat("line of text ", i%9))
		mixed.Write(random[i : i+i%40])
	}
	return map[string][]byte{
		"empty": nil, "one": {7}, "zeros": make([]byte, 300<<10), "random": random, "mixed": mixed.Bytes(),
		"text": []byte(strings.Repeat("the quick brown fox jumps over the lazy dog\n", 3000)),
		"far":  append(append(bytes.Clone(random), make([]byte, 200<<10)...), random...),
	}
}

func unpack(data []byte) ([]byte, error) {
	r, err := NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func checked(t *testing.T, name string, packed, want []byte) {
	t.Helper()
	got, err := unpack(packed)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
	}
	if got, err := unpack(append(bytes.Clone(packed), packed...)); err != nil || len(got) != 2*len(want) {
		t.Errorf("%s twice: %d bytes, %v", name, len(got), err)
	}
	for _, cut := range []int{1, 13, len(packed) / 2} {
		if _, err := unpack(packed[:len(packed)-cut]); err == nil {
			t.Errorf("%s: cut short by %d, and nobody noticed", name, cut)
		}
	}
	if len(want) > 100 {
		bad := bytes.Clone(packed)
		bad[len(bad)/2] ^= 0x10
		if _, err := unpack(bad); err == nil {
			t.Errorf("%s: damaged, and nobody noticed", name)
		}
	}
}

func TestReadsWhatAnEncoderWrites(t *testing.T) {
	for name, data := range samples() {
		for _, c := range []xz.WriterConfig{{}, {DictCap: 1 << 16, CheckSum: xz.CRC32}, {CheckSum: xz.SHA256, BlockSize: 30_000}, {NoCheckSum: true}} {
			var packed bytes.Buffer
			w, err := c.NewWriter(&packed)
			if err == nil {
				_, err = w.Write(data)
			}
			if err == nil {
				err = w.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.NoCheckSum {
				if got, err := unpack(packed.Bytes()); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			checked(t, name, packed.Bytes(), data)
		}
	}
}

func TestReadsWhatTheProgramWrites(t *testing.T) {
	program, err := exec.LookPath("xz")
	if err != nil {
		if os.Getenv("SLOTH_MUST_RUN") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for name, data := range samples() {
		for _, args := range [][]string{{"-0"}, {"-6"}, {"-9e"}, {"-C", "sha256", "--block-size=50000"}, {"--lzma2=lc=0,lp=3,pb=1,dict=64KiB"}} {
			cmd := exec.Command(program, append([]string{"-c"}, args...)...)
			cmd.Stdin = bytes.NewReader(data)
			packed, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			checked(t, name+" "+strings.Join(args, " "), packed, data)
		}
	}
}

// header gives a stream another byte for its dictionary, and a checksum for that.
func header(t *testing.T, dict byte, filter byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	w, err := xz.NewWriter(&packed)
	if err == nil {
		_, err = w.Write([]byte("x"))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	data := packed.Bytes()
	size := (int(data[12]) + 1) * 4
	at := bytes.Index(data, []byte{0x21, 0x01})
	data[at], data[at+2] = filter, dict
	binary.LittleEndian.PutUint32(data[12+size-4:], crc32.ChecksumIEEE(data[12:12+size-4]))
	return data
}

func TestFault62AStreamMayNotAskForAllMemory(t *testing.T) {
	if got, err := unpack(header(t, 28, 0x21)); err != nil || string(got) != "x" { // 64 MB
		t.Error(err)
	}
	for _, dict := range []byte{29, 39, 40} {
		if _, err := unpack(header(t, dict, 0x21)); err == nil || err.Error() != "its xz needs a dictionary of more than 64 MB" {
			t.Error(dict, err)
		}
	}
	if _, err := unpack(header(t, 10, 0x04)); err == nil || err.Error() != "its xz uses filters that are not read; pack it with xz alone" {
		t.Error(err)
	}
}

func FuzzReader(f *testing.F) {
	for _, data := range samples() {
		var packed bytes.Buffer
		w, err := xz.NewWriter(&packed)
		if err != nil {
			f.Fatal(err)
		}
		_, _ = w.Write(data[:min(len(data), 3000)])
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(packed.Bytes())
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		if r, err := NewReader(bytes.NewReader(data)); err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(r, 1<<20))
		}
	})
}
