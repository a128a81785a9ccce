package infratest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/facts"
)

const (
	pingPatience = 2 * time.Second // for one answer
	maxPings     = 100
)

type ping struct {
	function
	Host   string `lua:"host,required" alias:"address,name" pos:"1" doc:"Name or address of the host that should answer"`
	Count  int    `lua:"count" pos:"2" doc:"How often to try, two seconds each; one answer is enough"`
	Target string `lua:"target" pos:"3" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
}

// Validate checks the number.
func (p *ping) Validate() error {
	if p.Count < 1 || p.Count > maxPings {
		return fmt.Errorf("count = %d: it must be between 1 and %d", p.Count, maxPings)
	}
	return nil
}

// Query asks until one answer comes.
func (p *ping) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, p, p.Target, "an answer from "+p.Host, false, func() error {
		expected := fmt.Sprintf("an answer from %s", p.Host)
		addrs, err := net.DefaultResolver.LookupIPAddr(ctx, p.Host)
		if err != nil {
			return failure{expected, err.Error()}
		}
		for range p.Count {
			if err = echo(ctx, addrs[0]); errors.Is(err, errNotAllowed) {
				err = knock(ctx, addrs[0].String())
			}
			if err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		return failure{expected, err.Error()}
	})
}

var errNotAllowed = errors.New("no ICMP socket can be opened")

// echo sends one echo request and waits for its reply.
func echo(ctx context.Context, to net.IPAddr) error {
	v6 := to.IP.To4() == nil
	conn, raw, err := icmpSocket(v6)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotAllowed, err)
	}
	defer conn.Close()
	deadline := time.Now().Add(pingPatience)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	nonce := []byte(rand.Text())
	var dest net.Addr = &net.UDPAddr{IP: to.IP, Zone: to.Zone}
	if raw {
		dest = &to
	}
	if _, err := conn.WriteTo(request(v6, nonce), dest); err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("no answer within %s", pingPatience)
		}
		if err != nil {
			return err
		}
		if isReply(buf[:n], v6, nonce) {
			return nil
		}
	}
}

// icmpSocket opens the kind of socket that this user may have: for echoes
// alone, which the kernel gives to the groups in ping_group_range, or for all
// of ICMP, which root gets.
func icmpSocket(v6 bool) (conn net.PacketConn, raw bool, err error) {
	family, proto, network, any := unix.AF_INET, unix.IPPROTO_ICMP, "ip4:icmp", "0.0.0.0"
	if v6 {
		family, proto, network, any = unix.AF_INET6, unix.IPPROTO_ICMPV6, "ip6:ipv6-icmp", "::"
	}
	if fd, err := unix.Socket(family, unix.SOCK_DGRAM, proto); err == nil {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "icmp")
		defer f.Close() // FilePacketConn duplicates it
		if conn, err := net.FilePacketConn(f); err == nil {
			return conn, false, nil
		}
	}
	conn, err = net.ListenPacket(network, any)
	return conn, true, err
}

const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

func request(v6 bool, nonce []byte) []byte {
	p := make([]byte, 8, 8+len(nonce))
	p[0] = echoRequest4
	if v6 {
		p[0] = echoRequest6
	}
	binary.BigEndian.PutUint16(p[4:], uint16(os.Getpid())) //nolint:gosec // any number does
	p = append(p, nonce...)
	if !v6 { // for version 6 the kernel adds it
		binary.BigEndian.PutUint16(p[2:], checksum(p))
	}
	return p
}

// isReply knows the reply by the nonce: kernels give datagram sockets an id of
// their own.
func isReply(p []byte, v6 bool, nonce []byte) bool {
	want := byte(echoReply4)
	if v6 {
		want = echoReply6
	}
	if len(p) > 20 && !v6 && p[0]>>4 == 4 && p[9] == unix.IPPROTO_ICMP { // some systems leave the IP header on
		if head := int(p[0]&0x0f) * 4; head >= 20 && len(p) > head {
			p = p[head:]
		}
	}
	return len(p) >= 8 && p[0] == want && bytes.Equal(p[8:], nonce)
}

// checksum is that of RFC 1071.
func checksum(p []byte) uint16 {
	var sum uint32
	for i, b := range p {
		if i%2 == 0 {
			sum += uint32(b) << 8
		} else {
			sum += uint32(b)
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum) //nolint:gosec // at most 0xffff
}

// knock tries TCP ports that firewalls often let through: a refusal is an
// answer too.
func knock(ctx context.Context, host string) error {
	var last error
	for _, port := range []int{443, 80, 22} {
		err := dials(ctx, host, port, pingPatience)
		if err == nil || errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		last = err
	}
	return fmt.Errorf("no ICMP allowed here, and by TCP: %w", last)
}
