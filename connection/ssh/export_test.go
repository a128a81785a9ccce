package ssh

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

// Resolved gives a host's settings in the words of `ssh -G`.
func (d *Dialer) Resolved(t connection.Target) (map[string][]string, error) {
	files, err := d.files()
	if err != nil {
		return nil, err
	}
	lines, err := d.given(t, d.config.Options)
	if err != nil {
		return nil, err
	}
	argument := cmp.Or(t.Address, t.Name)
	v := files.resolve(argument, lines)
	e, err := d.endpoint(t, d.config.Options)
	if err != nil {
		return nil, err
	}
	list := func(key, def string) []string {
		if v[key] == nil {
			return []string{def}
		}
		return []string{strings.Join(v[key], " ")}
	}
	flag := func(key, def string) []string {
		switch {
		case v.is(key):
			return []string{"yes"}
		case v.isnt(key):
			return []string{"no"}
		}
		return []string{cmp.Or(v.first(key), def)}
	}
	seconds := func(key, def string) []string {
		d, _ := parseTime(cmp.Or(v.first(key), def))
		return []string{fmt.Sprint(int(d / time.Second))}
	}
	strict := flag("stricthostkeychecking", "ask")
	strict[0] = strings.NewReplacer("yes", "true", "no", "false", "off", "false").Replace(strict[0])
	out := map[string][]string{
		"user": {e.user}, "hostname": {strings.ToLower(e.host)}, "port": {fmt.Sprint(e.port)},
		"addressfamily": {cmp.Or(strings.ToLower(v.first("addressfamily")), "any")},
		"compression":   flag("compression", "no"), "identitiesonly": flag("identitiesonly", "no"),
		"stricthostkeychecking": strict, "serveraliveinterval": seconds("serveraliveinterval", "0"),
		"userknownhostsfile": list("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"),
		"forwardagent":       flag("forwardagent", "no"), "connecttimeout": seconds("connecttimeout", "0"),
		"identityfile": slices.Clone(v["identityfile"]), "certificatefile": slices.Clone(v["certificatefile"]),
		"serveralivecountmax": {cmp.Or(v.first("serveralivecountmax"), "3")},
	}
	if out["connecttimeout"][0] == "0" {
		out["connecttimeout"] = []string{"none"}
	}
	if e.defaults {
		out["identityfile"] = slices.Clone(defaultIdentities)
	}
	for _, k := range []string{"proxycommand", "proxyjump", "hostkeyalias", "identityagent"} {
		if s := v.first(k); s != "" && !strings.EqualFold(s, "none") {
			out[k] = []string{s}
		}
	}
	return out, nil
}

// KnownLines is `ssh-keygen -F name -f file`: line numbers with their marker.
func KnownLines(file string, text []byte, name string) []string {
	var out []string
	for _, l := range parseKnownHosts(file, text).find(strings.ToLower(name)) {
		out = append(out, fmt.Sprintf("# Host %s found: line %d %s", name, l.line, []string{"", "CA", "REVOKED"}[l.marker]))
	}
	return out
}

// Verdict is what known_hosts text says about a key shown by host:port.
func Verdict(file string, host string, port int, key ssh.PublicKey) error {
	e := &endpoint{label: host, host: host, original: host, port: port, strict: "yes", userKnown: []string{file}}
	h := &hostKeys{e: e, files: &knownFiles{}, now: time.Now, pause: func() func() { return func() {} }}
	return h.check(context.Background(), nil, key)
}

var (
	QuoteArgv    = quoteArgv
	MatchPattern = matchPattern
	ParseTime    = parseTime
)

// Sanitized is clean, which every word of a host passes on its way to a message.
var Sanitized = clean

// Hurry shortens the pauses between refusals.
func (d *Dialer) Hurry() { d.refusalPause = time.Millisecond }

// ResolveWith asks r for addresses.
func (d *Dialer) ResolveWith(r *net.Resolver) { d.resolver = r }

// Bastions is how many jump hosts are connected.
func (d *Dialer) Bastions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.bastion)
}

// LookUp finds a name and others that are not there, as a run does.
func LookUp(text []byte, name string, others int) int {
	k := parseKnownHosts("f", text)
	for i := range others {
		for range 2 { // for the algorithms, then for the verdict
			k.find(fmt.Sprint(name, "-", i))
		}
	}
	return len(k.find(name))
}

// Patience is when a silent host is asked for a sign of life, and given up.
func (c *Conn) Patience() (span, limit time.Duration) { return c.patience() }
