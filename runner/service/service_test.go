package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/modules"
)

// one serves a single file and fails on everything else.
type one struct {
	modules.Services
	data  []byte
	say   string // the hash it claims; empty: the right one
	short int    // bytes missing at the end
}

func (o *one) File(_ context.Context, src string) (modules.File, error) {
	if src != "big" {
		return modules.File{}, errors.New("no such file")
	}
	sum := sha256.Sum256(o.data)
	f := modules.File{ReadCloser: io.NopCloser(bytes.NewReader(o.data[:len(o.data)-o.short])), Size: int64(len(o.data)), Hash: hex.EncodeToString(sum[:]), Mode: 0o640}
	if o.say != "" {
		f.Hash = o.say
	}
	return f, nil
}

// link joins a client to Dispatch over two ends of a real wire.
type link struct {
	t       *testing.T
	svc     modules.Services
	asks    *wire.Conn // the host's end
	answers *wire.Conn
	wg      sync.WaitGroup
}

func newLink(t *testing.T, svc modules.Services) *link {
	t.Helper()
	x, y := net.Pipe()
	l := &link{t: t, svc: svc, asks: wire.NewConn(x, x), answers: wire.NewConn(y, y)}
	for _, c := range []*wire.Conn{l.asks, l.answers} {
		l.wg.Go(func() {
			for {
				if _, _, err := c.Receive(); err != nil {
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		l.asks.Close()
		l.answers.Close()
		x.Close()
		y.Close()
		l.wg.Wait()
	})
	return l
}

func (l *link) Call(ctx context.Context, service string, body []byte) ([]byte, error) {
	return Dispatch(ctx, l.svc, service, body)
}

func (l *link) Stream(ctx context.Context, service string, body []byte) (io.ReadCloser, error) {
	in, err := l.asks.Incoming(ctx)
	if err != nil {
		return nil, err
	}
	out, err := l.answers.Outgoing(in.ID())
	if err != nil {
		return nil, err
	}
	l.wg.Go(func() {
		defer out.Close()
		if _, err := Dispatch(wire.WithStream(ctx, out), l.svc, service, body); err != nil {
			in.Fail(err)
		}
	})
	return in, nil
}

func TestFilesOfAnySizeArriveWhole(t *testing.T) {
	for _, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 1 << 20, 20<<20 + 17} {
		data := bytes.Repeat([]byte("sloth"), n/5+1)[:n]
		f, err := NewClient(t.Context(), newLink(t, &one{data: data}), Ahead{}).File(t.Context(), "big")
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
	for name, o := range map[string]*one{
		"cut short":   {data: make([]byte, 3<<20), short: 1},
		"other bytes": {data: make([]byte, 3<<20), say: strings.Repeat("0", 64)},
	} {
		f, err := NewClient(t.Context(), newLink(t, o), Ahead{}).File(t.Context(), "big")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(f); err == nil || !strings.Contains(err.Error(), "changed while it was being sent") {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
}

func TestAMissingFileSaysSo(t *testing.T) {
	_, err := NewClient(t.Context(), newLink(t, &one{}), Ahead{}).File(t.Context(), "other")
	if err == nil || err.Error() != "no such file" {
		t.Error(err)
	}
}

// silent is a way that must not be used.
type silent struct{ t *testing.T }

func (s silent) Call(context.Context, string, []byte) ([]byte, error) {
	s.t.Error("a call")
	return nil, errors.New("no")
}

func (s silent) Stream(context.Context, string, []byte) (io.ReadCloser, error) {
	s.t.Error("a stream")
	return nil, errors.New("no")
}

func TestWhatTravelledAheadCostsNoCall(t *testing.T) {
	c := NewClient(t.Context(), silent{t}, Ahead{
		Files:    map[string]modules.FileEntry{"a": {Hash: "h", Size: 1}},
		Rendered: map[string]string{"t": "h"},
		Blob:     func(string) ([]byte, bool) { return []byte("x"), true },
	})
	f, err := c.File(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if text, err := c.Template(t.Context(), "t", "", nil); err != nil || string(text) != "x" {
		t.Error(text, err)
	}
}

// echo answers every service with what it was asked.
type echo struct{ modules.Services }

func (echo) State(_ context.Context, op string, args []any) ([]any, error) {
	return append([]any{op}, args...), nil
}
func (echo) List(_ context.Context, dir string) ([]modules.FileEntry, error) {
	return []modules.FileEntry{{Path: dir, Size: 7}}, nil
}
func (echo) Template(_ context.Context, src, engine string, vars map[string]any) ([]byte, error) {
	return []byte(src + engine + vars["k"].(string)), nil
}
func (echo) Secret(_ context.Context, name string) (string, error) { return "s:" + name, nil }
func (echo) Require(_ context.Context, name string) ([]byte, string, error) {
	return []byte("return 1"), name + ".lua", nil
}
func (echo) RunTask(_ context.Context, task []byte) ([]byte, error) { return task, nil }
func (echo) Notify(_ context.Context, handler string) error {
	return errors.New("no handler " + handler)
}
func (echo) Inventory(_ context.Context, what, arg string) (any, error) {
	return map[string]any{what: arg}, nil
}
func (echo) SetHostVar(_ context.Context, key string, value any) error {
	if key != "k" || value != int64(5) {
		return errors.New("not what was set")
	}
	return nil
}

func TestEveryServiceGoesThereAndBack(t *testing.T) {
	ctx := t.Context()
	c := NewClient(t.Context(), newLink(t, echo{}), Ahead{})
	if v, err := c.State(ctx, "get", []any{"key", int64(1), nil, true}); err != nil || len(v) != 5 || v[0] != "get" || v[2] != int64(1) {
		t.Error(v, err)
	}
	if v, err := c.List(ctx, "d"); err != nil || len(v) != 1 || v[0].Path != "d" || v[0].Size != 7 {
		t.Error(v, err)
	}
	if v, err := c.Template(ctx, "a", "go", map[string]any{"k": "v"}); err != nil || string(v) != "agov" {
		t.Error(v, err)
	}
	if v, err := c.Secret(ctx, "db"); err != nil || v != "s:db" {
		t.Error(v, err)
	}
	if src, path, err := c.Require(ctx, "lib"); err != nil || string(src) != "return 1" || path != "lib.lua" {
		t.Error(src, path, err)
	}
	if v, err := c.RunTask(ctx, []byte("task")); err != nil || string(v) != "task" {
		t.Error(v, err)
	}
	if err := c.Notify(ctx, "restart"); err == nil || err.Error() != "no handler restart" {
		t.Error(err)
	}
	if v, err := c.Inventory(ctx, "hosts", "web"); err != nil || v.(map[string]any)["hosts"] != "web" {
		t.Error(v, err)
	}
	if err := c.SetHostVar(ctx, "k", int64(5)); err != nil {
		t.Error(err)
	}
}

func TestAForeignCallIsRefused(t *testing.T) {
	deep := bytes.Repeat([]byte{0x91}, 1<<20)
	for name, c := range map[string]struct {
		service string
		body    []byte
	}{
		"unknown service": {"os.execute", []byte{0xc0}},
		"too deep":        {"state", deep},
		"too large":       {"state", make([]byte, maxBody+1)},
		"lies about size": {"run", []byte{0xc6, 0x7f, 0xff, 0xff, 0xff}},
		"no stream":       {"file", []byte{0x81, 0xa1, 'n', 0x91, 0xa3, 'b', 'i', 'g'}},
		"no files":        {"file", []byte{0x80}},
	} {
		if _, err := Dispatch(t.Context(), echo{}, c.service, c.body); err == nil {
			t.Errorf("%s was served", name)
		}
	}
}

func FuzzDispatch(f *testing.F) {
	for _, s := range []string{"state", "file", "list", "secret", "require", "run", "notify", "inventory", "host.set", "no"} {
		f.Add(s, []byte{0x80})
	}
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		if name == "template" {
			return // echo's needs a variable
		}
		_, _ = Dispatch(context.Background(), echo{}, name, body)
	})
}
