// Package worker is the half of a run that lives on a host. The front is what
// sshd starts; it starts the worker, which owns the order of steps and the
// events and speaks with the controller; an executor is a worker's child that
// runs the steps of one other user. All of them are the same program.
package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/sloth-runner/sloth/connection/wire"
)

// A shim is a guest: it leaves most of a large machine alone.
const (
	memoryLimit = 512 << 20 // where Go's collector starts to work hard
	maxThreads  = 4         // that run Go code at the same time
	gcPercent   = 300       // a short run ends before its first collection
)

// Main runs the shim in the role that args name and returns the exit code. The
// front has its own package.
func Main(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "sloth-shim is started by sloth; there is nothing to be done with it by hand")
		return 1
	}
	debug.SetMemoryLimit(memoryLimit)
	debug.SetGCPercent(gcPercent)
	if runtime.GOMAXPROCS(0) > maxThreads {
		runtime.GOMAXPROCS(maxThreads)
	}
	// A link that breaks must not end what is running.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGINT)
	protect()
	var err error
	switch args[0] {
	case "worker":
		if code, ran := startLingering(context.Background(), args[1:]); ran {
			return code
		}
		err = runWorker(context.Background(), len(args) > 1 && args[1] == "verify")
	case "executor":
		err = runExecutor(context.Background())
	default:
		err = fmt.Errorf("there is no role %q", args[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sloth-shim:", err)
		return 1
	}
	return 0
}

// runWorker speaks with the controller on the streams that the front hands over.
func runWorker(ctx context.Context, verify bool) error {
	in, out, err := takeStreams()
	if err != nil {
		return fmt.Errorf("take over the streams: %w", err)
	}
	if verify {
		if path, ok, err := verified(); err != nil {
			return err
		} else if !ok {
			fmt.Fprintf(out, "\n%sTAMPERED %s\n", wire.Mark, path)
			return nil
		}
	}
	defer useShim(verify)()
	return serve(ctx, in, out, roleWorker)
}

// runExecutor speaks with the worker on standard input and output.
func runExecutor(ctx context.Context) error {
	os.Unsetenv("LC_ALL") // it was set for whoever asked for the password
	leaveTerminal()
	in, out := os.Stdin, os.Stdout
	// What runs here must not write into the frames.
	os.Stdout = os.Stderr
	return serve(ctx, in, out, roleExecutor)
}

// serve runs what the other end asks for until the link ends.
func serve(ctx context.Context, in io.ReadCloser, out io.Writer, as role) error {
	if _, err := fmt.Fprintf(out, "\n%sREADY\n", wire.Mark); err != nil {
		return err
	}
	r := newRun(ctx, as)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	defer signal.Stop(term)
	go r.heed(term) // it ends with the run
	l := newLink(in, out)
	if as == roleWorker {
		l.wire.PackFrom(wire.PackWorker)
	}
	return r.live(l)
}

// verified compares the running program with the hash in its name.
func verified() (path string, ok bool, err error) {
	if path, err = os.Executable(); err != nil {
		return "", false, err
	}
	f, err := os.Open(path)
	if err != nil {
		return path, false, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return path, false, err
	}
	return path, strings.TrimPrefix(filepath.Base(path), "shim-") == hex.EncodeToString(h.Sum(nil)), nil
}
