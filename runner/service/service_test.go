package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/sloth-runner/sloth/modules"
)

// one serves a single file and fails on everything else.
type one struct {
	modules.Services
	mu   sync.Mutex
	data []byte
	grow bool // the file changes after each reading
	t    *testing.T
}

func (o *one) File(_ context.Context, src string) (modules.File, error) {
	if src != "big" {
		return modules.File{}, errors.New("no such file")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	sum := sha256.Sum256(o.data)
	f := modules.File{ReadCloser: io.NopCloser(bytes.NewReader(o.data)), Size: int64(len(o.data)), Hash: hex.EncodeToString(sum[:]), Mode: 0o640}
	if o.grow {
		o.data = append(o.data[:len(o.data):len(o.data)], 'x')
	}
	return f, nil
}

func client(o *one, ahead Ahead) *Client {
	return NewClient(func(ctx context.Context, service string, body []byte) ([]byte, error) {
		return Dispatch(ctx, o, service, body)
	}, ahead)
}

func TestFilesOfAnySizeArriveWhole(t *testing.T) {
	for _, n := range []int{0, 1, maxChunk - 1, maxChunk, maxChunk + 1, 20*maxChunk + 17} {
		data := bytes.Repeat([]byte("sloth"), n/5+1)[:n]
		f, err := client(&one{data: data, t: t}, Ahead{}).File(context.Background(), "big")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, data) || f.Size != int64(n) || f.Mode != 0o640 {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
		f.Close()
	}
}

func TestAFileThatChangesOnItsWayIsAnError(t *testing.T) {
	f, err := client(&one{data: make([]byte, 3*maxChunk), grow: true, t: t}, Ahead{}).File(context.Background(), "big")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.ReadAll(f); err == nil {
		t.Error("a mixture of two versions was accepted")
	}
}

func TestWhatTravelledAheadCostsNoCall(t *testing.T) {
	c := NewClient(func(context.Context, string, []byte) ([]byte, error) {
		t.Error("a call")
		return nil, errors.New("no")
	}, Ahead{
		Files:    map[string]modules.FileEntry{"a": {Hash: "h", Size: 1}},
		Rendered: map[string]string{"t": "h"},
		Blob:     func(string) ([]byte, bool) { return []byte("x"), true },
	})
	f, err := c.File(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if text, err := c.Template(context.Background(), "t", "", nil); err != nil || string(text) != "x" {
		t.Error(text, err)
	}
}

func FuzzDispatch(f *testing.F) {
	for _, s := range []string{"state", "file", "list", "template", "secret", "require", "run", "notify", "inventory", "host.set", "no"} {
		f.Add(s, []byte{0x80})
	}
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		if name == "file" {
			_, _ = Dispatch(context.Background(), &one{data: []byte("abc"), t: t}, name, body)
		}
	})
}
