package ssh

import (
	"net"

	"golang.org/x/sys/unix"
)

// quickAck returns a function that asks the kernel to acknowledge at once what
// arrives next. sshd leaves Nagle's algorithm on until a session starts, so its
// channel confirmation waits for the acknowledgement of the packet before,
// which the kernel would delay by 40 ms. The kernel forgets the wish, so it is
// repeated before each read.
func quickAck(c net.Conn) func() {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return func() {}
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return func() {}
	}
	set := func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }
	return func() { _ = raw.Control(set) } // a failure costs 40 ms, no more
}
