package worker_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/shim/shimtest"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// BenchmarkDurable makes twenty changes over one server, by turns in a session
// that survives its link and in one that does not, from the exec to its end, and
// reports the ratio of the two. The aim is 1.2.
func BenchmarkDurable(b *testing.B) {
	s := sshdtest.Start(b, sshdtest.Options{})
	d := ssh.NewDialer(ssh.Config{ConfigFile: "none"})
	pool := connection.NewPool(d.Dial, connection.PoolOptions{})
	b.Cleanup(func() { pool.Close(); d.Close() })
	n := 0
	twenty := func(durable *wire.Durable) time.Duration {
		n++
		begin := time.Now()
		c, err := pool.Get(b.Context(), s.Target())
		if err != nil {
			b.Fatal(err)
		}
		w, err := shim.Open(b.Context(), c, shim.Options{Host: s.Name, RunID: fmt.Sprint("cost-", n), Binaries: shimtest.Binaries(b), Durable: durable})
		if err != nil {
			b.Fatal(err)
		}
		seg := step.Segment{ID: "j"}
		for i := range 20 {
			seg.Steps = append(seg.Steps, step.Spec{ID: fmt.Sprint("s", i), Task: fmt.Sprint("t", i), Call: "file_ops.copy",
				Args: map[string]any{"dest": filepath.Join(s.Home, fmt.Sprint("file", i)), "content": fmt.Sprintln(n, i)}})
		}
		got, err := results(w.Do(b.Context(), shim.Job{ID: "j", Kind: "segment", Body: seg}, &said{}))
		w.Close()
		took := time.Since(begin)
		if err != nil || len(got) != 20 {
			b.Fatal(got, err)
		}
		for _, r := range got {
			if r.Status != event.Success || !r.Changed {
				b.Fatalf("%+v", r)
			}
		}
		return took
	}
	twenty(nil) // the shim is there
	var durable, plain time.Duration
	for b.Loop() {
		plain += twenty(nil)
		durable += twenty(&wire.Durable{Key: runKey, Owner: "tester"})
	}
	b.ReportMetric(float64(durable)/float64(plain), "durable/plain")
	b.ReportMetric(float64(durable.Milliseconds())/float64(b.N), "ms-durable")
	b.ReportMetric(float64(plain.Milliseconds())/float64(b.N), "ms-plain")
}
