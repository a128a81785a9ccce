package worker_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/shim/shimtest"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/runner/step"
)

// far is a way to a server on which everything takes half a round trip longer.
func far(t *testing.T, to string, half time.Duration) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close(); wg.Wait() })
	late := func(dst, src net.Conn) {
		type piece struct {
			at   time.Time
			data []byte
		}
		pieces := make(chan piece, 10_000)
		wg.Go(func() {
			defer close(pieces)
			for {
				b := make([]byte, 64<<10)
				n, err := src.Read(b)
				if n > 0 {
					pieces <- piece{time.Now().Add(half), b[:n]}
				}
				if err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			for p := range pieces {
				time.Sleep(time.Until(p.at)) // this is the distance
				if _, err := dst.Write(p.data); err != nil {
					break
				}
			}
			dst.Close()
			for range pieces {
			}
		})
	}
	wg.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			context.AfterFunc(ctx, func() { a.Close(); b.Close() })
			late(b, a)
			late(a, b)
		}
	})
	return l.Addr().(*net.TCPAddr)
}

func TestAJobCostsAtMostOneRoundTripMoreThanACommand(t *testing.T) {
	const trip = 200 * time.Millisecond
	s := rigUp(t, sshdtest.Options{}) // brings the shim there over a short way
	s.sh("true")
	addr := far(t, s.Addr(), trip/2)
	target := s.Target()
	target.Address, target.Port = addr.IP.String(), addr.Port
	target.Options["stricthostkeychecking"] = "no"
	target.Options["userknownhostsfile"] = t.TempDir() + "/known"
	d := ssh.NewDialer(ssh.Config{ConfigFile: "none"})
	conn, err := d.Dial(before(t), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); d.Close() })
	opt := shim.Options{Host: s.Name, Binaries: shimtest.Binaries(t)}

	job := func() time.Duration {
		begun := time.Now()
		sess, err := shim.Open(before(t), conn, opt)
		if err != nil {
			t.Fatal(err)
		}
		seg := step.Segment{ID: "j", Steps: []step.Spec{{ID: "s", Task: "t", Shell: "true"}}}
		if _, err := sess.Do(before(t), shim.Job{ID: "j", Kind: "segment", Body: seg, Last: true}, &said{}); err != nil {
			t.Fatal(err)
		}
		sess.Close()
		return time.Since(begun)
	}
	bare, with := time.Hour, time.Hour
	for range 3 { // a busy machine only ever adds
		begun := time.Now()
		if err := connection.Run(before(t), conn, connection.Command{Argv: []string{"true"}}, nil, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
		bare, with = min(bare, time.Since(begun)), min(with, job())
	}
	t.Logf("bare %v, a job %v", bare, with)
	if more := with - bare; more > trip+trip*3/4 {
		t.Errorf("a command takes %v, a job %v more: over one round trip of %v", bare, more, trip)
	}
}
