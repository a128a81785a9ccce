package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
)

// Scheme is what the address of a store in etcd begins with.
const Scheme = "etcd://"

const (
	defaultPort   = "2379"
	defaultPrefix = "sloth"
	maxPassword   = 4096
)

// Place says where a store is and who comes to it.
type Place struct {
	Hosts  []string // host:port
	Prefix string   // of all keys; no slash at its ends
	TLS    bool
	// CA, Cert and Key are PEM files. Without CA the system's authorities are
	// trusted.
	CA, Cert, Key string
	User          string
	// PasswordFile holds the password in its first line. Without it somebody is
	// asked.
	PasswordFile string
}

// ParsePlace reads an address: etcd://host1,host2:2379/prefix?ca=ca.pem&user=me.
// The parameters are tls (true), ca, cert, key, user and
// password-file. A password in the address is refused: everybody sees it.
func ParsePlace(address string) (*Place, error) {
	rest, ok := strings.CutPrefix(address, Scheme)
	if !ok {
		return nil, fmt.Errorf("the state address %q does not begin with %s", address, Scheme)
	}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, prefix, _ := strings.Cut(rest, "/")
	p := &Place{Prefix: strings.Trim(prefix, "/")}
	if p.Prefix == "" {
		p.Prefix = defaultPrefix
	}
	if strings.ContainsAny(p.Prefix, "#\x00") {
		return nil, errors.New("the prefix of a state address has no # and no zero byte")
	}
	if i := strings.LastIndex(hosts, "@"); i >= 0 {
		user, _, password := strings.Cut(hosts[:i], ":")
		if password {
			return nil, errors.New("a password in the state address is seen by everybody: write user=NAME&password-file=FILE behind a ? instead")
		}
		p.User, hosts = user, hosts[i+1:]
	}
	for h := range strings.SplitSeq(hosts, ",") {
		host, err := hostPort(strings.TrimSpace(h))
		if err != nil {
			return nil, fmt.Errorf("the state address %s: %w", Scheme+rest, err)
		}
		p.Hosts = append(p.Hosts, host)
	}
	return p, p.parameters(query)
}

func hostPort(s string) (string, error) {
	if s == "" {
		return "", errors.New("a host is empty; write etcd://host1,host2/prefix")
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), defaultPort
		if strings.Contains(host, ":") && !strings.HasPrefix(s, "[") {
			return "", fmt.Errorf("%q is no host:port; an IPv6 address stands in [ ]", s)
		}
	}
	if host == "" || port == "" {
		return "", fmt.Errorf("%q is no host:port", s)
	}
	return net.JoinHostPort(host, port), nil
}

func (p *Place) parameters(query string) error {
	q, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("the parameters of the state address: %w", err)
	}
	texts := map[string]*string{
		"ca": &p.CA, "cert": &p.Cert, "key": &p.Key, "user": &p.User, "password-file": &p.PasswordFile,
	}
	for name, values := range q {
		switch to := texts[name]; {
		case name == "password":
			return errors.New("a password in the state address is seen by everybody: use password-file=FILE")
		case len(values) != 1 || values[0] == "":
			return fmt.Errorf("the parameter %s of the state address needs one value", name)
		case to != nil:
			*to = values[0]
		case name == "tls" && slices.Contains([]string{"true", "1", "yes"}, values[0]):
			p.TLS = true
		case name == "tls":
			return fmt.Errorf("the parameter tls of the state address is true or left out, not %q", values[0])
		default:
			return fmt.Errorf("the state address has no parameter %q; there are tls, ca, cert, key, user and password-file", name)
		}
	}
	p.TLS = p.TLS || p.CA != "" || p.Cert != ""
	switch {
	case (p.Cert == "") != (p.Key == ""):
		return errors.New("the state address needs both cert and key, or neither")
	case p.PasswordFile != "" && p.User == "":
		return errors.New("the state address has a password-file but no user")
	case p.User != "" && !p.TLS && !p.loopback():
		return errors.New("the password would travel in plain text: add tls=true, or ca=FILE, to the state address")
	}
	return nil
}

func (p *Place) loopback() bool {
	for _, h := range p.Hosts {
		host, _, _ := net.SplitHostPort(h)
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// String is the address without its parameters.
func (p *Place) String() string { return Scheme + strings.Join(p.Hosts, ",") + "/" + p.Prefix }

// private reads a file that others must not be able to read.
func private(what, path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the %s: %w", what, err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("the %s %s can be read by everybody; close it: chmod 600 %s", what, path, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the %s: %w", what, err)
	}
	return text, nil
}

// password reads PasswordFile.
func (p *Place) password() (string, error) {
	text, err := private("password file", p.PasswordFile)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" || len(line) > maxPassword {
		return "", fmt.Errorf("the password file %s has no password in its first line", p.PasswordFile)
	}
	return line, nil
}

func (p *Place) tls() (*tls.Config, error) {
	if !p.TLS {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.CA != "" {
		text, err := os.ReadFile(p.CA)
		if err != nil {
			return nil, fmt.Errorf("read the authority's certificate: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", p.CA)
		}
	}
	if p.Cert != "" {
		key, err := private("key", p.Key)
		if err != nil {
			return nil, err
		}
		cert, err := os.ReadFile(p.Cert)
		if err != nil {
			return nil, fmt.Errorf("read the certificate: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("the certificate %s and the key %s: %w", p.Cert, p.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
