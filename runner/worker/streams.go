package worker

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/runner/worker/front"
)

// takeStreams receives the controller's streams from a front.
func takeStreams() (in, out *os.File, err error) {
	unix.CloseOnExec(front.SocketFD)
	defer unix.Close(front.SocketFD)
	data, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(2*4))
	n, rn, _, _, err := unix.Recvmsg(front.SocketFD, data, rights, 0)
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, errors.New("the front has gone")
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	if err != nil {
		return nil, nil, err
	}
	var fds []int
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, nil, err
		}
		fds = append(fds, got...)
	}
	if len(fds) != 2 {
		return nil, nil, errors.New("the front gave no streams")
	}
	return pollable(fds[0], "in"), pollable(fds[1], "out"), nil
}

// pollable makes a file whose reads and writes end when it is closed.
func pollable(fd int, name string) *os.File {
	unix.CloseOnExec(fd)
	// Where that fails the file blocks, and a closed link is noticed later.
	_ = unix.SetNonblock(fd, true)
	return os.NewFile(uintptr(fd), name)
}
