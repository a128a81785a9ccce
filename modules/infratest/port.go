package infratest

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
)

type port struct {
	function
	Port   int    `lua:"port,required" pos:"1" doc:"Number of the port"`
	Target string `lua:"target" pos:"2" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
	proto  string // tcp, udp or either
}

// Validate checks the number.
func (p *port) Validate() error { return portNumber(p.Port) }

func portNumber(n int) error {
	if n < 1 || n > 65535 {
		return fmt.Errorf("port %d is not between 1 and 65535", n)
	}
	return nil
}

// Query reads the kernel's tables of sockets.
func (p *port) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, p, p.Target, "port "+strconv.Itoa(p.Port), false, func() error {
		what := "something to listen on port "
		if p.proto != "" {
			what += p.proto + " "
		}
		var all []string
		for _, proto := range []string{"tcp", "udp"} {
			if p.proto != "" && p.proto != proto {
				continue
			}
			ports, known := listening(v, proto)
			if !known && proto == "tcp" && dials(ctx, "127.0.0.1", p.Port, time.Second) == nil {
				return nil // no table to read, as on macOS
			}
			if !known && p.proto == "udp" {
				return fmt.Errorf("this host has no /proc/net/udp, which tells the UDP ports in use")
			}
			if ports[p.Port] {
				return nil
			}
			for _, n := range slices.Sorted(maps.Keys(ports)) {
				all = append(all, proto+" "+strconv.Itoa(n))
			}
		}
		return failure{what + strconv.Itoa(p.Port), some(all)}
	})
}

// some lists a few things.
func some(list []string) string {
	const most = 12
	switch {
	case len(list) == 0:
		return "no port in use"
	case len(list) > most:
		return "only " + strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	return "only " + strings.Join(list, ", ")
}

// listening returns the ports of one protocol that something waits at. known is
// false where the kernel has no such table.
func listening(v facts.Viewer, proto string) (ports map[int]bool, known bool) {
	ports = map[int]bool{}
	for _, file := range []string{proto, proto + "6"} {
		f, err := v.Open("/proc/net/" + file)
		if err != nil {
			continue
		}
		known = true
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if n, ok := listener(lines.Text(), proto); ok {
				ports[n] = true
			}
		}
		f.Close()
	}
	return ports, known
}

// listener reads one line of /proc/net/tcp and its like:
//
//	sl  local_address rem_address   st …
//	0: 0100007F:1F90 00000000:0000 0A …
//
// 0A is LISTEN. UDP knows no such state: there a socket without a peer waits
// for anybody.
func listener(line, proto string) (int, bool) {
	f := strings.Fields(line)
	if len(f) < 4 || !strings.HasSuffix(f[0], ":") {
		return 0, false
	}
	if proto == "tcp" && f[3] != "0A" {
		return 0, false
	}
	if proto == "udp" && !strings.HasSuffix(f[2], ":0000") {
		return 0, false
	}
	_, text, ok := strings.Cut(f[1], ":")
	b, err := hex.DecodeString(text)
	if !ok || err != nil || len(b) != 2 {
		return 0, false
	}
	return int(b[0])<<8 | int(b[1]), true
}

type connect struct {
	function
	Host string `lua:"host,required" alias:"address,name" pos:"1" doc:"Name or address to connect to"`
	Port int    `lua:"port,required" pos:"2" doc:"Number of the TCP port"`
	// Text, since the name of the target may come in its place.
	Timeout string `lua:"timeout_ms" pos:"3" doc:"Milliseconds that it may take; may be left out before target"`
	Target  string `lua:"target" pos:"4" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`

	timeout time.Duration
}

// Validate tells timeout and target apart.
func (c *connect) Validate() error {
	ms, err := strconv.ParseFloat(c.Timeout, 64)
	switch {
	case err != nil && c.Target == "":
		c.Target, c.Timeout, ms = c.Timeout, "5000", 5000
	case err != nil, ms <= 0, ms > 600_000:
		return fmt.Errorf("timeout_ms = %q: it must be milliseconds, up to 600000", c.Timeout)
	}
	c.timeout = time.Duration(ms * float64(time.Millisecond))
	return portNumber(c.Port)
}

// Query connects and hangs up.
func (c *connect) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, c, c.Target, "a connection to "+c.Host, false, func() error {
		if err := dials(ctx, c.Host, c.Port, c.timeout); err != nil {
			return failure{fmt.Sprintf("a connection to %s within %s", net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), c.timeout), err.Error()}
		}
		return nil
	})
}

func dials(ctx context.Context, host string, port int, patience time.Duration) error {
	d := net.Dialer{Timeout: patience}
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return c.Close()
}
