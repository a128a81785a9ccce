package ssh

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/connection"
)

// endpoint is one machine as configuration and target say it is to be reached.
type endpoint struct {
	label    string // the inventory's name, for messages
	original string // what ssh would get as its host argument
	host     string // name or IP to dial
	port     int
	user     string
	alias    string // HostKeyAlias
	password *connection.Secret

	jump    []string // hops of ProxyJump, first to last
	command string   // ProxyCommand, expanded

	identities     []string // private key files, in order
	certificates   []string
	defaults       bool // identities are the built-in ones: missing files are no news
	identitiesOnly bool
	agent          string // socket; empty: none

	methods      []string // authentication methods, in order of preference
	userKnown    []string
	globalKnown  []string
	revoked      string
	strict       string // "yes", "ask", "accept-new"
	hashKnown    bool
	noLocalCheck bool
	minRSA       int

	network        string // "tcp", "tcp4", "tcp6"
	bind           string
	connectTimeout time.Duration // 0: the dialer's
	alive          time.Duration // 0: the dialer's
	aliveCount     int

	kex, ciphers, macs, hostKeyAlgs, userKeyAlgs []string // nil: defaults
}

// address is "host:port".
func (e *endpoint) address() string { return net.JoinHostPort(e.host, strconv.Itoa(e.port)) }

// knownName is how known_hosts calls the machine.
func (e *endpoint) knownName(withPort bool) string {
	if e.alias != "" {
		return strings.ToLower(e.alias)
	}
	host := strings.ToLower(e.host)
	if withPort && e.port != 22 {
		return "[" + host + "]:" + strconv.Itoa(e.port)
	}
	return host
}

var defaultIdentities = []string{
	"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519", "~/.ssh/id_ed25519_sk", "~/.ssh/id_xmss", "~/.ssh/id_dsa",
}

// given turns what the target says into command line options; what it says
// itself comes before its -o options, those before the general ones.
func (d *Dialer) given(t connection.Target, general map[string]string) ([]configLine, error) {
	own := map[string]string{}
	if t.User != "" {
		own["user"] = t.User
	}
	if t.Port != 0 {
		own["port"] = strconv.Itoa(t.Port)
	}
	if t.Jump != "" {
		own["proxyjump"] = t.Jump
	}
	if t.PrivateKeyFile != "" {
		own["identityfile"] = quoteConfig(t.PrivateKeyFile)
	}
	var lines []configLine
	for _, options := range []map[string]string{own, t.Options, general} {
		l, err := commandLine(options, d.home, d.warn)
		if err != nil {
			return nil, err
		}
		lines = append(lines, l...)
	}
	return lines, nil
}

func quoteConfig(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// endpoint resolves a target; general are options that come after its own.
func (d *Dialer) endpoint(t connection.Target, general map[string]string) (*endpoint, error) {
	files, err := d.files()
	if err != nil {
		return nil, err
	}
	lines, err := d.given(t, general)
	if err != nil {
		return nil, err
	}
	argument := t.Address
	if argument == "" {
		argument = t.Name
	}
	if argument == "" || strings.HasPrefix(argument, "-") || strings.ContainsAny(argument, " \t\r\n\x00") {
		return nil, fmt.Errorf("%q is no host name", argument)
	}
	e := &endpoint{label: t.Name, original: argument, password: t.Password}
	if e.label == "" {
		e.label = argument
	}
	return e, d.fill(e, files.resolve(argument, lines))
}

// fill takes over what was resolved, with OpenSSH's defaults.
func (d *Dialer) fill(e *endpoint, v values) error {
	host, err := tokens{host: e.original}.expand(cmp.Or(v.first("hostname"), "%h"), "h")
	if err != nil {
		return fmt.Errorf("HostName: %w", err)
	}
	e.host = host
	e.port, _ = parsePort(cmp.Or(v.first("port"), "22"))
	e.user = cmp.Or(v.first("user"), d.account)
	e.alias = v.first("hostkeyalias")
	t := tokens{home: d.home, local: d.account, host: e.host, original: e.original, remote: e.user, alias: cmp.Or(e.alias, e.host), port: e.port}
	if j := v.first("proxyjump"); j != "" && !strings.EqualFold(j, "none") {
		if e.jump, err = parseJumps(j, t); err != nil {
			return err
		}
		t.jump = e.jump[0]
	}
	if c := v.first("proxycommand"); c != "" && !strings.EqualFold(c, "none") {
		if e.command, err = t.expand(c, proxyTokens); err != nil {
			return fmt.Errorf("ProxyCommand: %w", err)
		}
	}
	if err := d.fillAuth(e, v, t); err != nil {
		return err
	}
	if err := d.fillHostKeys(e, v, t); err != nil {
		return err
	}
	e.network = map[string]string{"inet": "tcp4", "inet6": "tcp6"}[strings.ToLower(v.first("addressfamily"))]
	e.network = cmp.Or(e.network, "tcp")
	e.bind = v.first("bindaddress")
	e.connectTimeout, _ = parseTime(cmp.Or(v.first("connecttimeout"), "0"))
	e.alive, _ = parseTime(cmp.Or(v.first("serveraliveinterval"), "0"))
	e.aliveCount, _ = strconv.Atoi(cmp.Or(v.first("serveralivecountmax"), "3"))
	return e.fillAlgorithms(v)
}

func (d *Dialer) fillAuth(e *endpoint, v values, t tokens) error {
	e.identitiesOnly = v.is("identitiesonly")
	files := v["identityfile"]
	if e.defaults = len(files) == 0; e.defaults {
		files = defaultIdentities
	}
	expand := func(what string, in []string) (out []string, err error) {
		for _, f := range in {
			if strings.EqualFold(f, "none") {
				continue
			}
			p, err := t.path(f)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", what, err)
			}
			out = append(out, p)
		}
		return out, nil
	}
	var err error
	if e.identities, err = expand("IdentityFile", files); err != nil {
		return err
	}
	if e.certificates, err = expand("CertificateFile", v["certificatefile"]); err != nil {
		return err
	}
	switch a := v.first("identityagent"); {
	case strings.EqualFold(a, "none"):
	case a == "" || a == "SSH_AUTH_SOCK":
		e.agent = d.getenv("SSH_AUTH_SOCK")
	case strings.HasPrefix(a, "$") && !strings.HasPrefix(a, "${"):
		e.agent = d.getenv(a[1:])
	default:
		if e.agent, err = t.path(a); err != nil {
			return fmt.Errorf("IdentityAgent: %w", err)
		}
	}
	off := map[string]bool{
		"publickey":            v.isnt("pubkeyauthentication"),
		"password":             v.isnt("passwordauthentication"),
		"keyboard-interactive": v.isnt("kbdinteractiveauthentication"),
	}
	for m := range strings.SplitSeq(cmp.Or(v.first("preferredauthentications"), "publickey,keyboard-interactive,password"), ",") {
		if skip, known := off[m]; known && !skip {
			e.methods = append(e.methods, m)
		}
	}
	return nil
}

func (d *Dialer) fillHostKeys(e *endpoint, v values, t tokens) error {
	paths := func(key, defaults string) (out []string, err error) {
		files := v[key]
		if files == nil {
			files = strings.Fields(defaults)
		}
		for _, f := range files {
			if strings.EqualFold(f, "none") {
				continue
			}
			p, err := t.path(f)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			out = append(out, p)
		}
		return out, nil
	}
	var err error
	if e.userKnown, err = paths("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"); err != nil {
		return err
	}
	if e.globalKnown, err = paths("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"); err != nil {
		return err
	}
	if r := v.first("revokedhostkeys"); r != "" && !strings.EqualFold(r, "none") {
		if e.revoked, err = t.path(r); err != nil {
			return fmt.Errorf("RevokedHostKeys: %w", err)
		}
	}
	switch strings.ToLower(v.first("stricthostkeychecking")) {
	case "yes", "true":
		e.strict = "yes"
	case "no", "off", "false", "accept-new":
		// "no" would also let a changed key pass; here nothing does.
		e.strict = "accept-new"
	default:
		e.strict = "ask"
	}
	e.hashKnown = v.is("hashknownhosts")
	e.noLocalCheck = v.is("nohostauthenticationforlocalhost")
	e.minRSA, _ = strconv.Atoi(cmp.Or(v.first("requiredrsasize"), "1024"))
	return nil
}

// parseJumps splits ProxyJump: [user@]host[:port] or ssh://… , comma-separated,
// the first to be reached first.
func parseJumps(s string, t tokens) ([]string, error) {
	s, err := t.expand(s, proxyTokens)
	if err != nil {
		return nil, fmt.Errorf("ProxyJump: %w", err)
	}
	hops := strings.Split(strings.TrimSpace(s), ",")
	for _, h := range hops {
		if _, err := parseJump(h); err != nil {
			return nil, err
		}
	}
	return hops, nil
}

// parseJump makes one hop a target. It takes over nothing from the target
// behind it, as OpenSSH does: a hop has its own configuration.
func parseJump(s string) (connection.Target, error) {
	t := connection.Target{Kind: "ssh"}
	bad := fmt.Errorf("ProxyJump: %q is not [user@]host[:port]", s)
	rest := strings.TrimSuffix(strings.TrimPrefix(s, "ssh://"), "/")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		t.User, rest = rest[:i], rest[i+1:]
		if t.User == "" {
			return t, bad
		}
	}
	host := rest
	if strings.HasPrefix(rest, "[") || strings.Count(rest, ":") == 1 {
		h, p, err := net.SplitHostPort(rest)
		switch {
		case err == nil:
			n, ok := parsePort(p)
			if !ok {
				return t, bad
			}
			host, t.Port = h, n
		case strings.HasPrefix(rest, "[") && strings.HasSuffix(rest, "]"):
			host = rest[1 : len(rest)-1]
		default:
			return t, bad
		}
	}
	if host == "" || host[0] == '-' || strings.ContainsAny(host, " \t/\\") {
		return t, bad
	}
	t.Name, t.Address = host, host
	return t, nil
}

// isLoopback reports whether the host is this machine's own address.
func (e *endpoint) isLoopback() bool {
	ip := net.ParseIP(e.host)
	return e.host == "localhost" || ip != nil && ip.IsLoopback()
}
