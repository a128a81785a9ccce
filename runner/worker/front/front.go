// Package front is what sshd starts on a host: it starts the worker in a session
// of its own, hands it the streams, and waits for its end. Killing what sshd
// started is then not the end of what runs.
//
// It does its work while the program is still being initialised. Go initialises
// packages by name as soon as what they import is ready, and this one imports
// next to nothing, so a front costs a fraction of a worker's start; hosts that
// share a machine with hundreds of others notice.
package front

import (
	"os"
	"os/signal"
	"syscall"
)

func init() {
	if len(os.Args) > 1 && os.Args[1] == "front" {
		os.Exit(run(os.Args[2:]))
	}
}

// SocketFD is the descriptor on which a worker is given its streams.
const SocketFD = 3

// run starts "worker" with the same further arguments and returns its exit code.
func run(args []string) int {
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	if len(args) > 1 && args[0] == "attach" {
		return attach(args[1])
	}
	p, err := start(args)
	if err != nil {
		os.Stderr.WriteString("sloth-shim: start the worker: " + err.Error() + "\n")
		return 1
	}
	st, err := p.Wait()
	if err != nil {
		os.Stderr.WriteString("sloth-shim: wait for the worker: " + err.Error() + "\n")
		return 1
	}
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		os.Stderr.WriteString("sloth-shim: the worker was killed by signal " + ws.Signal().String() + "\n")
		return 128 + int(ws.Signal())
	}
	return st.ExitCode()
}

func start(args []string) (*os.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(pair[0])
	syscall.CloseOnExec(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "worker")
	defer theirs.Close()
	p, err := os.StartProcess(self, append([]string{self, "worker"}, args...), &os.ProcAttr{
		Files: []*os.File{SocketFD: theirs, 0: null, 1: null, 2: os.Stderr},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, err
	}
	if err := syscall.Sendmsg(pair[0], []byte{0}, syscall.UnixRights(0, 1), nil, 0); err != nil {
		_ = p.Kill()
		return nil, err
	}
	// The streams are the worker's now; kept here, their end would be hidden.
	return p, firstError(syscall.Close(0), syscall.Close(1))
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
