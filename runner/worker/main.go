// Package worker is the half of a run that lives on a host. The front is what
// sshd starts; it starts the worker, which owns the link, the order of steps
// and the events; an executor is a worker's child that runs the steps of one
// other user. All of them are the same program.
package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/sloth-runner/sloth/connection/wire"
)

// memoryLimit is where Go's collector starts to work hard; a shim is a guest.
const memoryLimit = 512 << 20

// Main runs the shim in the role that args name and returns the exit code.
func Main(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "sloth-shim is started by sloth; there is nothing to be done with it by hand")
		return 1
	}
	debug.SetMemoryLimit(memoryLimit)
	switch args[0] {
	case "front":
		return front()
	case "worker", "executor":
		// A link that breaks must not end what is running.
		signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGINT)
		protect()
		if err := serve(context.Background(), args[0]); err != nil {
			fmt.Fprintln(os.Stderr, "sloth-shim:", err)
			return 1
		}
		return 0
	}
	fmt.Fprintf(os.Stderr, "sloth-shim: there is no role %q\n", args[0])
	return 1
}

// front starts the worker in a session of its own, hands it the streams and
// waits. The worker outlives the front: killing what sshd started is not the
// end of what runs.
func front() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sloth-shim:", err)
		return 1
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	cmd := exec.Command(self, "worker")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "sloth-shim: start the worker:", err)
		return 1
	}
	// The streams are the worker's now; a front that kept them would hide their end.
	os.Stdin.Close()
	os.Stdout.Close()
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "sloth-shim:", err)
		return 1
	}
	return 0
}

// serve speaks the wire on standard input and output until the link ends.
func serve(ctx context.Context, role string) error {
	in, out := os.Stdin, os.Stdout
	// What runs here must not write into the frames.
	os.Stdout = os.Stderr
	if _, err := fmt.Fprintf(out, "\n%sREADY\n", wire.Mark); err != nil {
		return err
	}
	w := newWorker(in, out, role)
	return w.run(ctx)
}
