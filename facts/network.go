package facts

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

func (h host) network(context.Context) (map[string]any, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var names []string
	var all4, all6 []any
	byName := map[string]map[string]any{}
	byAddr := map[netip.Addr]string{}
	out := map[string]any{}
	for _, i := range list {
		facts := h.link(i)
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			byAddr[p.Addr()] = i.Name
			if p.Addr().Is4() {
				addIPv4(facts, p)
				if !p.Addr().IsLoopback() {
					all4 = append(all4, p.Addr().String())
				}
			} else {
				addIPv6(facts, p)
				if !p.Addr().IsLoopback() {
					all6 = append(all6, p.Addr().String())
				}
			}
		}
		names = append(names, i.Name)
		byName[i.Name] = facts
		// Ansible's variables hold neither dashes nor colons.
		out[strings.NewReplacer("-", "_", ":", "_").Replace(i.Name)] = facts
	}
	slices.Sort(names)
	out["interfaces"] = anyList(names)
	out["all_ipv4_addresses"], out["all_ipv6_addresses"] = orEmpty(all4), orEmpty(all6)
	out["default_ipv4"] = h.defaultRoute("udp4", "192.88.99.1:9", byAddr, byName, h.gateways4())
	out["default_ipv6"] = h.defaultRoute("udp6", "[2001:db8::1]:9", byAddr, byName, h.gateways6())
	return out, nil
}

func orEmpty(list []any) []any {
	if list == nil {
		return []any{}
	}
	return list
}

// link describes an interface without its addresses.
func (h host) link(i net.Interface) map[string]any {
	f := map[string]any{
		"device": i.Name, "mtu": i.MTU, "active": i.Flags&net.FlagUp != 0,
		"promisc": false,
	}
	put(f, "macaddress", i.HardwareAddr.String())
	sys := "/sys/class/net/" + i.Name
	kind := "unknown"
	switch h.read(sys + "/type") {
	case "1":
		kind = "ether"
	case "32":
		kind = "infiniband"
	case "512":
		kind = "ppp"
	case "772":
		kind = "loopback"
	case "65534":
		kind = "tunnel"
	}
	switch {
	case i.Flags&net.FlagLoopback != 0:
		kind = "loopback"
	case h.exists(sys + "/bridge"):
		kind = "bridge"
	case h.exists(sys + "/bonding"):
		kind = "bonding"
		f["slaves"] = anyList(strings.Fields(h.read(sys + "/bonding/slaves")))
		mode, _, _ := strings.Cut(h.read(sys+"/bonding/mode"), " ")
		put(f, "mode", mode)
	case kind == "unknown" && len(i.HardwareAddr) == 6:
		kind = "ether"
	}
	f["type"] = kind
	if flags, err := strconv.ParseUint(strings.TrimPrefix(h.read(sys+"/flags"), "0x"), 16, 32); err == nil {
		f["promisc"] = flags&0x100 != 0
	}
	if state := h.read(sys + "/operstate"); state == "down" {
		f["active"] = false
	}
	if n, err := strconv.Atoi(h.read(sys + "/speed")); err == nil {
		f["speed"] = n
	}
	return f
}

func addIPv4(f map[string]any, p netip.Prefix) {
	mask := net.CIDRMask(p.Bits(), 32)
	ip := p.Addr().As4()
	bits, m := binary.BigEndian.Uint32(ip[:]), binary.BigEndian.Uint32(mask)
	broadcast := ""
	if p.Bits() < 31 && !p.Addr().IsLoopback() {
		broadcast = ipv4(bits | ^m)
	}
	one := map[string]any{
		"address": p.Addr().String(), "netmask": net.IP(mask).String(), "network": ipv4(bits & m),
		"broadcast": broadcast, "prefix": strconv.Itoa(p.Bits()),
	}
	if f["ipv4"] == nil {
		f["ipv4"] = one
		return
	}
	more, _ := f["ipv4_secondaries"].([]any)
	f["ipv4_secondaries"] = append(more, one)
}

func ipv4(n uint32) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b).String()
}

func addIPv6(f map[string]any, p netip.Prefix) {
	scope := "global"
	switch a := p.Addr(); {
	case a.IsLoopback():
		scope = "host"
	case a.IsLinkLocalUnicast():
		scope = "link"
	}
	list, _ := f["ipv6"].([]any)
	f["ipv6"] = append(list, map[string]any{
		"address": p.Addr().WithZone("").String(), "prefix": strconv.Itoa(p.Bits()), "scope": scope,
	})
}

// defaultRoute asks the kernel which address it would use to reach the world:
// connecting a UDP socket chooses a route and sends nothing.
func (h host) defaultRoute(network, to string, byAddr map[netip.Addr]string, byName map[string]map[string]any, gateways map[string]string) map[string]any {
	out := map[string]any{}
	c, err := net.Dial(network, to)
	if err != nil {
		return out
	}
	defer c.Close()
	local, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return out
	}
	addr := local.AddrPort().Addr().Unmap().WithZone("")
	name, ok := byAddr[addr]
	if !ok || addr.IsLoopback() {
		return out
	}
	i := byName[name]
	out["interface"], out["address"] = name, addr.String()
	for _, key := range []string{"macaddress", "mtu", "type"} {
		if v, ok := i[key]; ok {
			out[key] = v
		}
	}
	put(out, "gateway", gateways[name])
	copyAddress(out, i, addr)
	if addr.Is4() {
		out["alias"] = name
	}
	return out
}

// copyAddress adds what the interface knows about one of its addresses.
func copyAddress(out, i map[string]any, addr netip.Addr) {
	all := []any{i["ipv4"]}
	for _, key := range []string{"ipv4_secondaries", "ipv6"} {
		more, _ := i[key].([]any)
		all = append(all, more...)
	}
	for _, a := range all {
		m, _ := a.(map[string]any)
		if m["address"] == addr.String() {
			for k, v := range m {
				out[k] = v
			}
		}
	}
}

// gateways4 reads the default routes: interface to gateway, lowest metric first.
func (h host) gateways4() map[string]string {
	out, best := map[string]string{}, map[string]int{}
	for _, line := range h.lines("/proc/net/route") {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" || f[2] == "00000000" {
			continue
		}
		raw, err := hex.DecodeString(f[2])
		metric, err2 := strconv.Atoi(f[6])
		if err != nil || err2 != nil || len(raw) != 4 {
			continue
		}
		if was, ok := best[f[0]]; ok && was <= metric {
			continue
		}
		best[f[0]] = metric
		// The kernel prints the address as a number of the machine's byte order.
		if nativeLittle {
			out[f[0]] = netip.AddrFrom4([4]byte{raw[3], raw[2], raw[1], raw[0]}).String()
		} else {
			out[f[0]] = netip.AddrFrom4([4]byte{raw[0], raw[1], raw[2], raw[3]}).String()
		}
	}
	return out
}

var nativeLittle = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

func (h host) gateways6() map[string]string {
	out := map[string]string{}
	for _, line := range h.lines("/proc/net/ipv6_route") {
		f := strings.Fields(line)
		if len(f) < 10 || strings.Trim(f[0], "0") != "" || f[1] != "00" || strings.Trim(f[4], "0") == "" {
			continue
		}
		raw, err := hex.DecodeString(f[4])
		if addr, ok := netip.AddrFromSlice(raw); err == nil && ok && out[f[9]] == "" {
			out[f[9]] = addr.String()
		}
	}
	return out
}

func (h host) dns(context.Context) (map[string]any, error) {
	d := map[string]any{}
	var servers, options []any
	for _, line := range h.lines("/etc/resolv.conf") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			servers = append(servers, f[1])
		case "search":
			d["search"] = anyList(f[1:])
		case "domain":
			d["domain"] = f[1]
		case "options":
			options = append(options, anyList(f[1:])...)
		}
	}
	if servers != nil {
		d["nameservers"] = servers
	}
	if options != nil {
		d["options"] = options
	}
	return map[string]any{"dns": d}, nil
}
