package ssh_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// names is a DNS server for the one name everybody asks for.
type names struct {
	resolver *net.Resolver

	mu        sync.Mutex
	addresses []netip.Addr
}

func (n *names) set(addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses = nil
	for _, a := range addresses {
		n.addresses = append(n.addresses, netip.MustParseAddr(a))
	}
}

func startNames(t *testing.T) *names {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", c.LocalAddr().String())
	}}}
	var wg sync.WaitGroup
	wg.Go(func() {
		query := make([]byte, 1500)
		for {
			size, from, err := c.ReadFrom(query)
			if err != nil {
				return
			}
			if answer := n.answer(query[:size]); answer != nil {
				_, _ = c.WriteTo(answer, from)
			}
		}
	})
	t.Cleanup(func() { c.Close(); wg.Wait() })
	return n
}

// answer gives the addresses of the kind that was asked for.
func (n *names) answer(query []byte) []byte {
	end := 12 // behind the header: the name, its type and class
	for end < len(query) && query[end] != 0 {
		end += 1 + int(query[end])
	}
	if end += 5; end > len(query) {
		return nil
	}
	const typeA, typeAAAA = 1, 28
	kind := binary.BigEndian.Uint16(query[end-4:])
	out := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end]...)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.addresses {
		if a.Is4() && kind == typeA || a.Is6() && kind == typeAAAA {
			out[7]++
			out = append(out, 0xc0, 12)
			out = binary.BigEndian.AppendUint16(out, kind)
			out = append(out, 0, 1, 0, 0, 0, 0)
			out = binary.BigEndian.AppendUint16(out, uint16(a.BitLen()/8))
			out = append(out, a.AsSlice()...)
		}
	}
	return out
}

// TestFault48Addresses: a name may have many addresses, none, only IPv6 ones, or
// others the next time; whoever answers must be the machine that is known.
func TestFault48Addresses(t *testing.T) {
	t.Parallel()
	const name = "web.sloth.test"
	dns := startNames(t)
	s := sshdtest.Start(t, sshdtest.Options{Name: "web"})
	d := newDialer(t, ssh.Config{})
	d.ResolveWith(dns.resolver)
	target := s.Target()
	target.Address = name
	write(t, s.KnownHosts, fmt.Sprintf("[%s]:%d %s\n", name, s.Port, authorized(s.HostKeys[0])))
	fails := func(class connection.Class, message string) {
		t.Helper()
		_, err := d.Dial(testContext(t), target)
		if ce := asError(t, err); ce.Class != class || !matches(strings.ReplaceAll(message, "{addr}", fmt.Sprintf(`web\.sloth\.test:%d`, s.Port)), ce.Error()) {
			t.Errorf("got %s: %v, want %s: %s", ce.Class, ce, class, message)
		}
	}

	dns.set("127.3.0.1", "127.3.0.2", s.Host) // nobody listens on the first two
	works(t, d, target)
	dns.set("::1", s.Host)
	works(t, d, target)
	dns.set()
	fails(connection.ClassDNS, `dial {addr}: the name web\.sloth\.test does not resolve: no such host`)
	dns.set("127.3.0.1", "127.3.0.2")
	fails(connection.ClassTCP, `dial {addr}: connection refused`)
	dns.set("::1")
	target.Options["addressfamily"] = "inet"
	fails(connection.ClassDNS, `dial {addr}: the name web\.sloth\.test does not resolve: .*`)
	delete(target.Options, "addressfamily")

	// The name now leads to somebody else, on the same port.
	sshdtest.Start(t, sshdtest.Options{Name: "impostor", Config: []string{"ListenAddress 127.3.0.3", fmt.Sprintf("Port %d", s.Port)}})
	dns.set("127.3.0.3")
	fails(connection.ClassHostKey, `verify {addr}: its host key has CHANGED: .*`)
	dns.set(s.Host)
	works(t, d, target)
}

// TestFault48IPv6: a host that has no other address.
func TestFault48IPv6(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6: ", err)
	}
	l.Close()
	s := sshdtest.Start(t, sshdtest.Options{Address: "::1"})
	dns := startNames(t)
	dns.set("::1")
	d := newDialer(t, ssh.Config{})
	d.ResolveWith(dns.resolver)
	works(t, d, s.Target())
	target := s.Target()
	target.Address = "web.sloth.test"
	target.Options["hostkeyalias"] = fmt.Sprintf("[%s]:%d", s.Host, s.Port)
	works(t, d, target)
}

// TestFault48BothFamilies leaves the choice to the system's resolver.
func TestFault48BothFamilies(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Address: "127.0.0.1"})
	target := s.Target()
	target.Address = "localhost" // may be ::1 first, where nobody listens
	target.Options["hostkeyalias"] = fmt.Sprintf("[%s]:%d", s.Host, s.Port)
	works(t, newDialer(t, ssh.Config{}), target)
}
