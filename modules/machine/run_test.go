//go:build linux || darwin

package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

func sh(script string) modules.Cmd { return modules.Cmd{Argv: []string{"/bin/sh", "-c", script}} }

func TestRunAnswers(t *testing.T) {
	ctx := context.Background()
	m := New()
	c := sh("echo out; echo err >&2; cat; echo $K; pwd; exit 3")
	c.Env, c.Dir, c.Stdin = []string{"K=v"}, "/", strings.NewReader("in\n")
	a, err := m.Run(ctx, c)
	if err != nil || string(a.Stdout) != "out\nin\nv\n/\n" || string(a.Stderr) != "err\n" || a.ExitCode != 3 {
		t.Errorf("%q %q %d, %v", a.Stdout, a.Stderr, a.ExitCode, err)
	}
	if _, err := m.Run(ctx, modules.Cmd{Argv: []string{"no-such-program"}}); err == nil || !strings.Contains(err.Error(), "run no-such-program: ") {
		t.Errorf("a missing program: %v", err)
	}
	if _, err := m.Run(ctx, modules.Cmd{}); err == nil {
		t.Error("nothing to run is an error")
	}
	big := bytes.NewReader(make([]byte, 10<<20))
	if a, err := m.Run(ctx, modules.Cmd{Argv: []string{"true"}, Stdin: big}); err != nil || a.ExitCode != 0 {
		t.Errorf("a program that does not read its input: %d, %v", a.ExitCode, err)
	}
}

func TestRunStreamsWhileItRuns(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "go-on")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := sh("echo first; cat " + fifo + "; echo second")
	var seen bytes.Buffer
	c.Output = func(stream string, data []byte) {
		seen.WriteString(stream + ":" + string(data))
		if seen.String() == "stdout:first\n" {
			// Only who saw the first line lets the program go on.
			if err := os.WriteFile(fifo, nil, 0); err != nil {
				t.Error(err)
			}
		}
	}
	a, err := New().Run(ctx, c)
	if err != nil || string(a.Stdout) != "first\nsecond\n" {
		t.Errorf("%q, %v", a.Stdout, err)
	}
}

// TestRunEndsWithItsProgram: a daemon that holds the output open holds nobody up.
func TestRunEndsWithItsProgram(t *testing.T) {
	start := time.Now()
	a, err := New().Run(context.Background(), sh("sleep 60 & echo $!; exit 0"))
	if err != nil || a.ExitCode != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(a.Stdout)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the daemon did not live on: %v", err)
	}
}

// TestASlowReaderLosesNothing: what was written before the end is all read.
func TestASlowReaderLosesNothing(t *testing.T) {
	c := sh("head -c 60000 /dev/zero")
	slow := true
	c.Output = func(string, []byte) {
		if slow {
			slow = false
			<-time.After(2 * tailGrace)
		}
	}
	a, err := New().Run(context.Background(), c)
	if err != nil || len(a.Stdout) != 60000 {
		t.Errorf("read %d bytes, %v", len(a.Stdout), err)
	}
}

func TestCancelEndsTheWholeGroup(t *testing.T) {
	for name, script := range map[string]string{
		"obedient": "sleep 60 & echo $!; wait",
		"deaf":     "trap '' TERM; sleep 60 & echo $!; wait; wait; sleep 60",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stop := errors.New("stopped by test")
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			var child int
			c := sh(script)
			c.Output = func(_ string, data []byte) {
				child, _ = strconv.Atoi(strings.TrimSpace(string(data)))
				cancel(stop)
			}
			start := time.Now()
			_, err := New().Run(ctx, c)
			if !errors.Is(err, stop) {
				t.Errorf("%v", err)
			}
			if took := time.Since(start); took > termGrace+5*time.Second {
				t.Errorf("took %s", took)
			}
			if child == 0 {
				t.Fatal("the child was not seen")
			}
			waitGone(t, child)
		})
	}
}

// waitGone waits until a process is dead or a zombie nobody has reaped.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return
		}
		if _, after, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(after, "Z") {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Errorf("process %d lives on", pid)
}

func TestFault36AFloodOfOutputIsCutInTheMiddle(t *testing.T) {
	var k kept
	var want bytes.Buffer
	for i := range 100_000 {
		line := fmt.Sprintf("%0399d\n", i)
		k.write([]byte(line))
		want.WriteString(line)
	}
	out := k.bytes()
	lost := want.Len() - headBytes - tailBytes
	mark := fmt.Sprintf("\n... [%d bytes left out] ...\n", lost)
	if !bytes.Equal(out[:headBytes], want.Bytes()[:headBytes]) || !bytes.HasSuffix(out, want.Bytes()[want.Len()-tailBytes:]) {
		t.Error("start or end is not what was written")
	}
	if len(out) != headBytes+len(mark)+tailBytes || !bytes.Contains(out, []byte(mark)) {
		t.Errorf("%d bytes were kept", len(out))
	}
	var exact kept
	exact.write(want.Bytes()[:headBytes+tailBytes])
	if !bytes.Equal(exact.bytes(), want.Bytes()[:headBytes+tailBytes]) {
		t.Error("output that just fits is changed")
	}
}
