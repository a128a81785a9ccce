package worker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/connection/wire"
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
	return streamsIn(rights[:rn])
}

// brought makes a link of the streams that a front hands over on c, which stays
// open for as long as the link lasts.
func brought(c *net.UnixConn) (*link, error) {
	if err := c.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return nil, err
	}
	data, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(2*4))
	n, rn, _, _, err := c.ReadMsgUnix(data, rights)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("the front has gone")
	}
	in, out, err := streamsIn(rights[:rn])
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(out, "\n%sREADY\n", wire.Mark); err != nil {
		in.Close()
		return nil, err
	}
	l := newLink(in, out)
	l.wire.PackFrom(wire.PackWorker)
	l.front = c
	return l, nil
}

func streamsIn(rights []byte) (in, out *os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
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
		for _, fd := range fds {
			unix.Close(fd)
		}
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
