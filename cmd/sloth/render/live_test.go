package render

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/runner/event"
)

// screen is a terminal that knows what we use: lines up, erase below, colours.
type screen struct {
	t     *testing.T
	lines []string
	row   int
	most  int // lines that were erased at once
}

func (s *screen) Write(p []byte) (int, error) {
	rest := string(p)
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, "\x1b["):
			i := strings.IndexAny(rest, "AJm")
			if i < 0 {
				s.t.Fatalf("a sequence we do not use: %q", rest)
			}
			n := 0
			_, _ = fmt.Sscanf(rest[2:i], "%d", &n)
			switch rest[i] {
			case 'A':
				s.row -= n
				s.most = max(s.most, n)
			case 'J':
				s.lines = s.lines[:s.row]
			}
			rest = rest[i+1:]
		case rest[0] == '\r':
			rest = rest[1:]
		default:
			i := strings.IndexAny(rest, "\n\x1b")
			if i < 0 {
				s.t.Fatalf("text without a line end: %q", rest)
			}
			s.put(rest[:i])
			if rest[i] == '\n' {
				s.row++
				i++
			}
			rest = rest[i:]
		}
	}
	return len(p), nil
}

func (s *screen) put(text string) {
	for len(s.lines) <= s.row {
		s.lines = append(s.lines, "")
	}
	s.lines[s.row] += text
}

// TestDrawingLeavesNothingBehind draws after every event: in the end the
// terminal shows what a file would hold.
func TestDrawingLeavesNothingBehind(t *testing.T) {
	for _, name := range []string{"local", "pipeline", "site", "again", "plan", "trouble", "fleet"} {
		t.Run(name, func(t *testing.T) {
			want, _ := replay(t, name, "enhanced", Options{}, nil)
			s := &screen{t: t}
			o := Options{Interactive: true, Color: true, Width: 60, Height: 24}
			drawn := 0
			out, _ := replay(t, name, "enhanced", o, func(r Renderer) {
				d := r.(*text)
				d.write()
				for _, l := range strings.Split(strings.TrimSuffix(d.drawn, "\n"), "\n") {
					if l = plainText(l); columns(l) >= o.Width {
						t.Fatalf("a line of %d columns would wrap: %q", columns(l), l)
					}
				}
				if d.drawn != "" {
					drawn++
				}
			})
			if _, err := s.Write([]byte(out)); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(s.lines, "\n") + "\n"; got != want {
				t.Errorf("on the terminal:\n%s\nwant:\n%s", got, want)
			}
			if drawn == 0 || s.most > o.Height/3 {
				t.Errorf("drawn %d times, up to %d lines", drawn, s.most)
			}
		})
	}
}

func plainText(s string) string {
	for strings.Contains(s, "\x1b[") {
		i := strings.Index(s, "\x1b[")
		s = s[:i] + s[i+strings.IndexByte(s[i:], 'm')+1:]
	}
	return s
}

func TestWhatIsDrawn(t *testing.T) {
	now := time.Unix(1000, 0)
	r, err := New("enhanced", &bytes.Buffer{}, nil, Options{Interactive: true, Width: 70, Height: 12, still: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d := r.(*text)
	hosts := []string{"web-01", "web-02", "web-03", "web-04", "web-05"}
	r.Handle(event.RunStarted{Workflow: "site", Tasks: []string{"nginx", "motd"}, Hosts: hosts})
	r.Handle(event.Progress{Host: "web-05", What: "upload sloth-shim", Done: 2300000, Total: 4600000})
	for _, h := range hosts[:4] {
		r.Handle(event.TaskStarted{Where: event.Where{Task: "nginx", Host: h}})
		now = now.Add(time.Second)
	}
	r.Handle(event.Output{Where: event.Where{Task: "nginx", Host: "web-01"}, Data: []byte("Setting up\tnginx \x1b[2J and a line that is much too long for this\n")})
	want := `  web-05  upload sloth-shim  ██████████░░░░░░░░░░  50% of 4.6 MB
  web-01  nginx  4.0s  Setting up nginx \x1b[2J and a line that is m…
  web-02  nginx  3.0s
⠋ 0 tasks done, 0 changed, 4 running, 2 more not shown  4.0s
`
	if got := d.area(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	d.o.Size = func() (int, int) { return 30, 6 }
	want = `  web-05  upload sloth-shim …
⠋ 0 tasks done, 0 changed, 4…
`
	if got := d.area(); got != want {
		t.Errorf("on a smaller terminal:\n%s\nwant:\n%s", got, want)
	}
	resume := d.Suspend()
	if d.area() != "" {
		t.Error("drawn although suspended")
	}
	resume()
	if d.area() == "" {
		t.Error("not drawn after that")
	}
}

// stuck is a terminal that was stopped.
type stuck struct {
	once  sync.Once
	first chan struct{} // closed at the first write
	free  chan struct{}
	bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.first) })
	<-s.free
	return s.Buffer.Write(p)
}

func TestAStoppedTerminalHoldsUpNothing(t *testing.T) {
	w := &stuck{first: make(chan struct{}), free: make(chan struct{})}
	r, err := New("basic", w, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.Handle(event.RunStarted{Workflow: "w", Tasks: []string{"a", "b"}, Hosts: []string{"h", "i"}})
	<-w.first
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 1000 {
			r.Handle(event.Log{Where: event.Where{Task: "a", Host: "h"}, Level: "info", Message: fmt.Sprintf("line %d", i)})
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the run stands still")
	}
	close(w.free)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.String(), "line 999\n") {
		t.Error("lines are missing")
	}
}

// TestTicking has the real clock: groups are shown although no event follows.
func TestTicking(t *testing.T) {
	for _, interactive := range []bool{false, true} {
		var mu sync.Mutex
		var out bytes.Buffer
		r, err := New("enhanced", writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return out.Write(p)
		}), nil, Options{Interactive: interactive})
		if err != nil {
			t.Fatal(err)
		}
		w := event.Where{Task: "a", Host: "h"}
		r.Handle(event.RunStarted{Workflow: "w", Tasks: []string{"a", "b"}, Hosts: []string{"h", "i"}})
		r.Handle(event.TaskStarted{Where: event.Where{Task: "b", Host: "i"}})
		r.Handle(event.TaskDone{Where: w, Status: event.Failed, Message: "no"})
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			mu.Lock()
			got := out.String()
			mu.Unlock()
			if strings.Contains(got, "failed") && strings.Contains(got, "running") == interactive {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("after 10 s: %q", got)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestAFastHostIsShownBesideASlowOne: its line waits for others that do the same,
// but is drawn meanwhile, and not for longer than such hosts take.
func TestAFastHostIsShownBesideASlowOne(t *testing.T) {
	for _, interactive := range []bool{true, false} {
		now := time.Unix(1000, 0)
		var out bytes.Buffer
		r, err := New("enhanced", &out, nil, Options{Interactive: interactive, Width: 60, Height: 24, still: true, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		d := r.(*text)
		pass := func(by time.Duration) {
			now = now.Add(by)
			d.mu.Lock()
			d.flushGroups(false)
			d.write()
			d.q.drain()
			d.mu.Unlock()
		}
		done := func(host string) {
			w := event.Where{Task: "motd", Host: host}
			r.Handle(event.Called{Where: w, Changed: true, Message: "write /etc/motd"})
			r.Handle(event.TaskDone{Where: w, Status: event.Success, Changed: true, Duration: 50 * time.Millisecond})
		}
		r.Handle(event.RunStarted{Workflow: "site", Tasks: []string{"motd"}, Hosts: []string{"slow", "quick", "brisk"}})
		for _, h := range []string{"slow", "quick", "brisk"} {
			r.Handle(event.TaskStarted{Where: event.Where{Task: "motd", Host: h}})
		}
		done("quick")
		area := ""
		if interactive {
			area = "~ motd  quick  write /etc/motd\n  brisk  motd\n  slow   motd\n⠋ 1 task done, 1 changed, 2 running  0.0s\n"
		}
		if got := d.area(); got != area {
			t.Errorf("drawn:\n%s\nwant:\n%s", got, area)
		}
		pass(300 * time.Millisecond)
		done("brisk")
		pass(300 * time.Millisecond)
		line := "~ motd  quick,brisk  write /etc/motd\n"
		if strings.Contains(out.String(), line) != interactive { // there it is drawn
			t.Errorf("after 0.6 s:\n%s", out.String())
		}
		pass(300 * time.Millisecond)
		if !strings.Contains(out.String(), line) || len(d.groups) > 0 {
			t.Errorf("after 0.9 s:\n%s", out.String())
		}
		now = now.Add(time.Minute)
		done("slow")
		r.Close()
		if !strings.Contains(out.String(), "~ motd  slow   write /etc/motd\n") {
			t.Errorf("in the end:\n%s", out.String())
		}
	}
}
