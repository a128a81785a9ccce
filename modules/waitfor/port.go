package waitfor

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

// port is a TCP port that should be open, closed or drained.
type port struct {
	number int
	host   string
	state  string // started, stopped or drained
	search *regexp.Regexp
	match  matched
}

func newPort(number int, host, state, expression string) (*port, error) {
	p := &port{number: number, host: host, state: state}
	switch state {
	case "", "present":
		p.state = "started"
	case "absent":
		p.state = "stopped"
	}
	var err error
	switch p.search, err = compile(expression); {
	case err != nil:
		return nil, err
	case number < 1 || number > 65535:
		return nil, fmt.Errorf("port %d is not between 1 and 65535", number)
	case p.search != nil && p.state != "started":
		return nil, errors.New("search_regex belongs to a port that is started")
	}
	return p, nil
}

func (p *port) address() string {
	host := p.host
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(p.number))
}

func (p *port) String() string {
	switch {
	case p.state == "stopped":
		return "port " + p.address() + " to close"
	case p.state == "drained":
		return "port " + strconv.Itoa(p.number) + " to be drained"
	case p.search != nil:
		return fmt.Sprintf("port %s to say %q", p.address(), strings.TrimPrefix(p.search.String(), "(?m)"))
	}
	return "port " + p.address()
}

func (p *port) look(ctx context.Context, c modules.Call) (bool, string, error) {
	if p.state == "drained" {
		return p.drained(ctx, c)
	}
	ctx, cancel := context.WithTimeout(ctx, oneLook)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.address())
	if err != nil {
		return p.state == "stopped", reason(err), nil
	}
	defer conn.Close()
	if p.state == "stopped" {
		return false, "it is open", nil
	}
	if p.search == nil {
		return true, "it is open", nil
	}
	ready, seen := p.says(ctx, conn)
	return ready, seen, nil
}

const maxGreeting = 64 << 10 // bytes that are read for search_regex

// says reads what the server says by itself until it matches.
func (p *port) says(ctx context.Context, conn net.Conn) (bool, string) {
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetReadDeadline(end)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var got []byte
	buf := make([]byte, 4096)
	for len(got) < maxGreeting {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		if p.match.in(p.search, got) {
			return true, "it said " + shown(got)
		}
		if err != nil {
			break
		}
	}
	if len(got) == 0 {
		return false, "it is open and says nothing"
	}
	return false, "it said " + shown(got)
}

func (p *port) found(result map[string]any) { p.match.found(result) }

// reason is a failed connection in few words.
func reason(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return dns.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// drained counts the connections to the port in the kernel's tables.
func (p *port) drained(ctx context.Context, c modules.Call) (bool, string, error) {
	var only []netip.Addr
	if p.host != "" {
		all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.host)
		if err != nil {
			return false, reason(err), nil
		}
		for _, a := range all {
			only = append(only, a.Unmap())
		}
	}
	if c.Machine == nil {
		return false, "", errors.New("there is no machine to look at")
	}
	n, known := 0, false
	for _, file := range []string{"tcp", "tcp6"} {
		f, err := c.Machine.Open("/proc/net/" + file)
		if err != nil {
			continue
		}
		known = true
		n += connections(f, p.number, only)
		f.Close()
	}
	if !known {
		return false, "", errors.New("this host has no /proc/net/tcp, which tells the connections to a port")
	}
	return n == 0, fmt.Sprintf("%d connections", n), nil
}

// inUse tells the states in /proc/net/tcp of a connection that somebody still
// uses: neither LISTEN nor TIME_WAIT nor closed.
func inUse(state string) bool {
	switch state {
	case "01", "02", "03", "04", "05", "08", "09", "0B":
		return true
	}
	return false
}

// connections counts the lines of /proc/net/tcp (or tcp6) of a local port.
func connections(f io.Reader, number int, only []netip.Addr) int {
	n := 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !inUse(fields[3]) {
			continue
		}
		address, portText, _ := strings.Cut(fields[1], ":")
		if p, err := strconv.ParseUint(portText, 16, 16); err != nil || int(p) != number {
			continue
		}
		if len(only) > 0 && !contains(only, kernelAddress(address)) {
			continue
		}
		n++
	}
	return n
}

func contains(list []netip.Addr, a netip.Addr) bool {
	for _, e := range list {
		if e == a {
			return true
		}
	}
	return false
}

// kernelAddress reads 0100007F: words of four bytes, each in the order of the
// processor, which is little-endian wherever the shim runs.
func kernelAddress(text string) netip.Addr {
	b, err := hex.DecodeString(text)
	if err != nil || len(b)%4 != 0 {
		return netip.Addr{}
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap()
}
