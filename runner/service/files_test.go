package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
)

// shelf serves files by name.
type shelf struct {
	modules.Services
	files map[string][]byte
	wrong string // has another content than its hash says
}

func (s *shelf) File(_ context.Context, src string) (modules.File, error) {
	data, ok := s.files[src]
	if !ok {
		return modules.File{}, errors.New("read " + src + ": no such file")
	}
	sum := sha256.Sum256(data)
	if src == s.wrong {
		data = bytes.ToUpper(data)
	}
	return modules.File{ReadCloser: io.NopCloser(bytes.NewReader(data)), Size: int64(len(data)), Hash: hex.EncodeToString(sum[:]), Mode: 0o600}, nil
}

// streams counts what is asked for.
type streams struct {
	*link
	n int
}

func (s *streams) Stream(ctx context.Context, service string, body []byte) (io.ReadCloser, error) {
	s.n++
	return s.link.Stream(ctx, service, body)
}

func TestManyFilesComeInOneStream(t *testing.T) {
	s := &shelf{files: map[string][]byte{}}
	var names []string
	for i := range 1000 {
		name := fmt.Sprintf("d/%d", i)
		names = append(names, name)
		s.files[name] = bytes.Repeat([]byte(name), i*i%700)
	}
	s.files["d/500"] = bytes.Repeat([]byte("large"), 1<<20)
	l := &streams{link: newLink(t, s)}
	files, err := NewClient(t.Context(), l, Ahead{}).Files(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	for i, name := range names {
		f, err := files.Next()
		if err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			continue // what is not read is passed over
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, s.files[name]) || f.Mode != 0o600 {
			t.Fatalf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := files.Next(); err == nil {
		t.Error("a file too many")
	}
	if l.n != 1 {
		t.Errorf("%d streams", l.n)
	}
}

func TestAFileOfManyThatFails(t *testing.T) {
	text := func(s string) []byte { return []byte(strings.Repeat(s, 100)) }
	for name, c := range map[string]struct {
		s    *shelf
		want string
	}{
		"missing": {&shelf{files: map[string][]byte{"a": text("a"), "c": text("c")}}, "read b: no such file"},
		"changed": {&shelf{files: map[string][]byte{"a": text("a"), "b": text("b"), "c": text("c")}, wrong: "b"}, "read b: it changed while it was being sent (100 bytes of 100)"},
	} {
		files, err := NewClient(t.Context(), newLink(t, c.s), Ahead{}).Files(t.Context(), []string{"a", "b", "c"})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			var f modules.File
			if f, err = files.Next(); err == nil {
				_, err = io.ReadAll(f)
			}
			if err != nil {
				break
			}
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v", name, err)
		}
		files.Close()
	}
}
