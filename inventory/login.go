package inventory

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/connection"
)

// Login is how the variables of a host say that it is to be reached. A zero
// field means that they don't say.
type Login struct {
	Kind           string // "ssh", "local", or what ansible_connection says
	Address        string // ansible_host, else the host's name
	Port           int
	User           string
	Password       *connection.Secret
	PrivateKeyFile string
	Jump           string            // as ssh -J
	SSHConfig      string            // as ssh -F
	Options        map[string]string // as ssh -o, keys in lower case

	Become         bool
	BecomeUser     string
	BecomeMethod   string
	BecomePassword *connection.Secret
}

// names of the variables, the ones that win first. Those without a prefix are
// sloth's own spelling.
var (
	varHost       = []string{"ansible_host", "ansible_ssh_host", "host"}
	varPort       = []string{"ansible_port", "ansible_ssh_port", "port"}
	varUser       = []string{"ansible_user", "ansible_ssh_user", "user"}
	varPassword   = []string{"ansible_password", "ansible_ssh_pass", "ansible_ssh_password", "password"}
	varKey        = []string{"ansible_ssh_private_key_file", "ansible_private_key_file", "ssh_private_key_file", "private_key_file"}
	varConnection = []string{"ansible_connection", "connection"}
	varSSHArgs    = []string{"ansible_ssh_args", "ssh_args"}
	varArgs       = []string{"ansible_ssh_common_args", "ssh_common_args"}
	varExtraArgs  = []string{"ansible_ssh_extra_args", "ssh_extra_args"}
	varBecome     = []string{"ansible_become", "become"}
	varBecomeUser = []string{"ansible_become_user", "become_user"}
	varBecomeHow  = []string{"ansible_become_method", "become_method"}
	varBecomePass = []string{"ansible_become_password", "ansible_become_pass", "become_password", "become_pass"}
	varHostKeys   = []string{"ansible_ssh_host_key_checking", "ansible_host_key_checking"}
	varTimeout    = []string{"ansible_ssh_timeout", "ansible_timeout"}
)

// Login reads the variables that say how to reach host. The error names the
// file and line of every one that is wrong.
func (inv *Inventory) Login(host string) (Login, error) {
	h := inv.lookup(host)
	if h == nil {
		return Login{}, fmt.Errorf("no host is called %q%s", host, inv.near(host))
	}
	if h.broken != nil {
		return Login{}, h.broken
	}
	r := &loginReader{inv: inv, host: h}
	out := Login{
		Kind:           r.kind(),
		Address:        r.text(varHost),
		Port:           r.port(),
		User:           r.text(varUser),
		Password:       r.secret(varPassword),
		PrivateKeyFile: r.text(varKey),
		Become:         r.boolean(varBecome),
		BecomeUser:     r.text(varBecomeUser),
		BecomeMethod:   r.text(varBecomeHow),
		BecomePassword: r.secret(varBecomePass),
	}
	if out.Address == "" {
		out.Address = h.name
	}
	if v := r.first(varHostKeys); v != nil && !r.boolean(varHostKeys) {
		out.option("stricthostkeychecking", "no")
	}
	if v := r.text(varTimeout); v != "" {
		out.option("connecttimeout", v)
	}
	for _, names := range [][]string{varSSHArgs, varArgs, varExtraArgs} {
		if text := r.text(names); text != "" {
			if err := out.sshArgs(text); err != nil {
				v := r.first(names)
				r.probs.add(v.pos.problem("write it as on ssh's command line", "%s of host %s: %v", v.name, h.name, err))
			}
		}
	}
	return out, r.probs.err()
}

// option sets what ssh -o would; the first one counts, as in ssh.
func (l *Login) option(key, value string) {
	key = strings.ToLower(key)
	switch key {
	case "proxyjump":
		if l.Jump == "" {
			l.Jump = value
		}
		return
	case "port":
		if n, err := strconv.Atoi(value); err == nil && l.Port == 0 {
			l.Port = n
		}
		return
	case "user":
		if l.User == "" {
			l.User = value
		}
		return
	case "identityfile":
		if l.PrivateKeyFile == "" {
			l.PrivateKeyFile = value
			return
		}
		if value == l.PrivateKeyFile {
			return
		}
	}
	if l.Options == nil {
		l.Options = map[string]string{}
	}
	if _, ok := l.Options[key]; !ok {
		l.Options[key] = value
	}
}

// flags of ssh that stand for an option, and those that change nothing here.
var (
	sshFlags = map[byte][2]string{
		'4': {"addressfamily", "inet"}, '6': {"addressfamily", "inet6"}, 'A': {"forwardagent", "yes"}, 'a': {"forwardagent", "no"},
		'C': {"compression", "yes"}, 'X': {"forwardx11", "yes"}, 'x': {"forwardx11", "no"}, 'Y': {"forwardx11trusted", "yes"},
		'K': {"gssapiauthentication", "yes"}, 'k': {"gssapidelegatecredentials", "no"},
	}
	sshValues = map[byte]string{
		'J': "proxyjump", 'i': "identityfile", 'p': "port", 'l': "user", 'c': "ciphers", 'm': "macs", 'b': "bindaddress",
		'B': "bindinterface", 'I': "pkcs11provider", 'S': "controlpath",
	}
)

// sshArgs reads the arguments of an ssh command.
func (l *Login) sshArgs(text string) error {
	words, err := splitWords(text, false)
	if err != nil {
		return err
	}
	for i := 0; i < len(words); i++ {
		w := words[i].text
		if len(w) < 2 || w[0] != '-' {
			return fmt.Errorf("%q is no option", w)
		}
		for at := 1; at < len(w); at++ {
			c := w[at]
			if f, ok := sshFlags[c]; ok {
				l.option(f[0], f[1])
				continue
			}
			if strings.IndexByte("qvTtNnfgMsGVy", c) >= 0 {
				continue // how a session looks is sloth's business
			}
			key, known := sshValues[c]
			if !known && c != 'o' && c != 'F' {
				return fmt.Errorf("ssh's option -%c is not supported", c)
			}
			value := w[at+1:]
			if value == "" {
				if i++; i >= len(words) {
					return fmt.Errorf("-%c needs a value", c)
				}
				value = words[i].text
			}
			switch c {
			case 'F':
				if l.SSHConfig == "" {
					l.SSHConfig = value
				}
			case 'o':
				k, v, ok := strings.Cut(value, "=")
				if !ok {
					k, v, ok = strings.Cut(strings.TrimSpace(value), " ")
				}
				if k = strings.TrimSpace(k); !ok || k == "" {
					return fmt.Errorf("-o takes Name=value, got %q", value)
				}
				if err := l.numeric(k, strings.TrimSpace(v)); err != nil {
					return err
				}
				l.option(k, strings.TrimSpace(v))
			default:
				if err := l.numeric(key, value); err != nil {
					return err
				}
				l.option(key, value)
			}
			break
		}
	}
	return nil
}

func (l *Login) numeric(key, value string) error {
	if !strings.EqualFold(key, "port") {
		return nil
	}
	_, err := portOf(value)
	return err
}

// loginReader reads variables of one host.
type loginReader struct {
	inv   *Inventory
	host  *host
	probs problems
}

// first is the variable that counts: prefixed names win over plain ones
// wherever they are set.
func (r *loginReader) first(names []string) *variable {
	for _, n := range names {
		v := r.inv.variable(r.host, n)
		if n == "host" && v != nil && !r.inv.isOwn(r.host, v) {
			// An address for a whole group makes no sense: this "host" is a
			// setting of some program.
			continue
		}
		if v != nil {
			return v
		}
	}
	return nil
}

func (r *loginReader) fail(v *variable, hint, format string, args ...any) {
	r.probs.add(v.pos.problem(hint, "%s of host %s %s", v.name, r.host.name, fmt.Sprintf(format, args...)))
}

// value is the variable's value, after references to other variables.
func (r *loginReader) value(names []string) (*variable, any) {
	v := r.first(names)
	if v == nil || v.val == nil {
		return v, nil
	}
	val := v.val
	if u, ok := val.(unsafeText); ok {
		return v, string(u)
	}
	if s, ok := val.(string); ok && strings.Contains(s, "{{") {
		out, err := r.expand(s, 0)
		if err != nil {
			r.fail(v, "write the value out", "is a template that cannot be used here: %v", err)
			return v, nil
		}
		val = out
	}
	if e, ok := val.(Encrypted); ok {
		text, err := v.reveal(e)
		if err != nil {
			r.fail(v, "", "is a !%s value that cannot be opened: %v", e.kind, err)
			return v, nil
		}
		return v, text
	}
	return v, val
}

// expand replaces {{ name }} by the variable of that name. Inventories of
// Ansible are full of such references; anything more than a name is refused.
func (r *loginReader) expand(s string, depth int) (any, error) {
	if depth > 10 {
		return nil, errors.New("it refers to itself")
	}
	var b strings.Builder
	for rest := s; ; {
		start := strings.Index(rest, "{{")
		if start < 0 {
			b.WriteString(rest)
			return b.String(), nil
		}
		end := strings.Index(rest[start:], "}}")
		if end < 0 {
			return nil, errors.New("{{ is not closed")
		}
		b.WriteString(rest[:start])
		name := strings.TrimSpace(rest[start+2 : start+end])
		rest = rest[start+end+2:]
		val, err := r.reference(name, depth)
		if err != nil {
			return nil, err
		}
		if b.Len() == 0 && rest == "" {
			return val, nil // the reference alone keeps its type
		}
		b.WriteString(scalarText(val))
	}
}

func (r *loginReader) reference(name string, depth int) (any, error) {
	if name == "inventory_hostname" {
		return r.host.name, nil
	}
	if !plainName(name) {
		return nil, fmt.Errorf("only {{ variable }} is understood, not {{ %s }}", name)
	}
	v := r.inv.variable(r.host, name)
	if v == nil {
		return nil, fmt.Errorf("there is no variable %s", name)
	}
	switch val := v.val.(type) {
	case string:
		return r.expand(val, depth+1)
	case Encrypted:
		return v.reveal(val)
	case []any, *dict, nil:
		return nil, fmt.Errorf("%s is %s", name, describe(val))
	}
	return v.val, nil
}

// scalarText is what a value is as text, true and false as in YAML.
func scalarText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return floatText(v)
	case nil:
		return ""
	}
	return keyText(v)
}

func (r *loginReader) text(names []string) string {
	v, val := r.value(names)
	switch val.(type) {
	case []any, *dict:
		r.fail(v, "", "must be text, got %s", describe(val))
		return ""
	}
	return scalarText(val)
}

func (r *loginReader) secret(names []string) *connection.Secret {
	if text := r.text(names); text != "" {
		return connection.NewSecret(text)
	}
	return nil
}

func (r *loginReader) kind() string {
	kind := strings.TrimPrefix(r.text(varConnection), "ansible.builtin.")
	switch kind {
	case "", "smart", "paramiko", "paramiko_ssh":
		return "ssh"
	}
	return kind
}

func (r *loginReader) port() int {
	v, val := r.value(varPort)
	if val == nil {
		return 0
	}
	n, err := portOf(val)
	if err != nil {
		r.fail(v, "", "%v", err)
	}
	return n
}

func portOf(v any) (int, error) {
	n, ok := asInt(v)
	if _, isBool := v.(bool); !ok || isBool || n < 1 || n > 65535 {
		return 0, fmt.Errorf("must be a port from 1 to 65535, got %s", shown(v))
	}
	return int(n), nil
}

func shown(v any) string {
	if s, ok := v.(string); ok {
		return strconv.Quote(printable(s, 60))
	}
	return describe(v)
}

// boolWords are what Ansible takes for booleans in text.
var boolWords = map[string]bool{
	"y": true, "yes": true, "on": true, "1": true, "true": true, "t": true, "1.0": true,
	"n": false, "no": false, "off": false, "0": false, "false": false, "f": false, "0.0": false,
}

func (r *loginReader) boolean(names []string) bool {
	v, val := r.value(names)
	switch val := val.(type) {
	case nil:
		return false
	case bool:
		return val
	}
	b, ok := boolWords[strings.ToLower(strings.TrimSpace(scalarText(val)))]
	if !ok {
		r.fail(v, "", "must be true or false, got %s", shown(val))
	}
	return b
}
