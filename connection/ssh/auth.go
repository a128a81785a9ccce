package ssh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

// authenticator lets one endpoint in, in OpenSSH's order, and remembers what
// it tried for the message when nothing helped.
type authenticator struct {
	d     *Dialer
	e     *endpoint
	ctx   context.Context
	pause func() func()

	offered  []string // names of keys offered
	troubles []string // why a key could not be used
	allowed  []string // methods the host takes
	partial  []string // methods that succeeded, but not alone
	signFail error
	asked    bool // the password has been sent
}

// methods are given to x/crypto, which asks for `none` first by itself: there
// is no way to save that round trip.
func (a *authenticator) methods() []ssh.AuthMethod {
	var out []ssh.AuthMethod
	for _, m := range a.e.methods {
		switch m {
		case "publickey":
			out = append(out, ssh.PublicKeysCallback(a.signers))
		case "keyboard-interactive":
			if a.e.password != nil {
				out = append(out, ssh.KeyboardInteractive(a.answer))
			}
		case "password":
			if a.e.password != nil {
				out = append(out, ssh.PasswordCallback(a.password))
			}
		}
	}
	return out
}

// note records what the host says it takes. x/crypto calls it between
// attempts.
func (a *authenticator) note(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	a.allowed, a.partial = c.AllowedMethods, c.PartialSuccessMethods
	return nil, nil
}

// signers collects the keys to offer: certificates that were named, keys both
// in the agent and in the configuration, the agent's others, files.
func (a *authenticator) signers() ([]ssh.Signer, error) {
	var out []ssh.Signer
	for _, id := range a.identities() {
		algorithms := a.e.signatureAlgorithms(id.public)
		if len(algorithms) == 0 {
			a.troubles = append(a.troubles, fmt.Sprintf("%s: PubkeyAcceptedAlgorithms leaves %s out", id.name, id.public.Type()))
			continue
		}
		a.offered = append(a.offered, id.name+" ("+ssh.FingerprintSHA256(id.public)+")")
		out = append(out, &boundSigner{identity: id, ctx: a.ctx, algorithms: algorithms, pause: a.pause, failed: &a.signFail})
	}
	return out, nil
}

func (a *authenticator) identities() []identity {
	files := a.files()
	var agentKeys []identity
	if a.e.agent != "" {
		agent := a.d.agent(a.e.agent)
		keys, err := agent.list()
		if err != nil {
			a.troubles = append(a.troubles, err.Error())
		}
		for _, k := range keys {
			pub, err := ssh.ParsePublicKey(k.Marshal())
			if err != nil {
				continue
			}
			agentKeys = append(agentKeys, identity{name: "agent key " + k.Comment, public: pub, sign: agent.signer(pub)})
		}
	}
	// Whoever holds the private half of a certificate's key can sign for it.
	signerFor := func(key ssh.PublicKey) func(context.Context, []byte, string) (*ssh.Signature, error) {
		for _, id := range slices.Concat(files, agentKeys) {
			if samePublic(id.public, key) && id.sign != nil {
				return id.sign
			}
		}
		return nil
	}
	var out []identity
	for _, path := range a.e.certificates {
		text, err := readFileCapped(path, maxKeyFile)
		if err != nil {
			a.troubles = append(a.troubles, err.Error())
			continue
		}
		pub, _, _, _, err := ssh.ParseAuthorizedKey(text)
		cert, ok := pub.(*ssh.Certificate)
		if err != nil || !ok || cert.CertType != ssh.UserCert {
			a.troubles = append(a.troubles, path+" is no user certificate")
			continue
		}
		if sign := signerFor(cert.Key); sign != nil {
			out = append(out, identity{name: path, public: cert, sign: sign})
		} else {
			a.troubles = append(a.troubles, path+": no key at hand belongs to it")
		}
	}
	used := map[string]bool{}
	var rest []identity
	for _, k := range agentKeys {
		i := slices.IndexFunc(files, func(f identity) bool { return samePublic(f.public, k.public) })
		switch {
		case i >= 0:
			k.name = files[i].name
			if files[i].sign != nil && !a.locked(files[i].name) {
				k.sign = files[i].sign // the same key, without asking another process
			}
			out = append(out, k)
			used[string(k.public.Marshal())] = true
		case !a.e.identitiesOnly:
			rest = append(rest, k)
		}
	}
	out = append(out, rest...)
	for _, f := range files {
		if f.sign != nil && !used[string(f.public.Marshal())] {
			out = append(out, f)
		}
	}
	return out
}

// locked reports whether a key file would ask for a passphrase.
func (a *authenticator) locked(path string) bool {
	k := a.d.key(path)
	k.unlock.Lock()
	defer k.unlock.Unlock()
	return k.signer == nil
}

// files are the identities on disk; sign is nil where only the public half is.
func (a *authenticator) files() []identity {
	var out []identity
	for _, path := range a.e.identities {
		k := a.d.key(path)
		k.load()
		if k.public == nil {
			if !a.e.defaults || !errors.Is(k.problem, os.ErrNotExist) {
				a.troubles = append(a.troubles, strings.TrimPrefix(fmt.Sprint(k.problem), "stat "))
			}
			continue
		}
		id := identity{name: path, public: k.public}
		k.unlock.Lock()
		usable := k.signer != nil || k.locked != nil
		k.unlock.Unlock()
		if usable && !isToken(k.public) {
			id.sign = fileSigner(k)
		}
		out = append(out, id)
		if cert, ok := k.cert.(*ssh.Certificate); ok && len(a.e.certificates) == 0 && cert.CertType == ssh.UserCert {
			out = append(out, identity{name: path + "-cert.pub", public: cert, sign: id.sign})
		}
	}
	return out
}

// password is sent at most once in a handshake, whatever the method: a second
// try with the same one can only lock the account.
func (a *authenticator) password() (string, error) {
	if a.asked {
		return "", errors.New("the password was refused")
	}
	a.asked = true
	return a.e.password.Reveal(), nil
}

// answer gives the password to the one question that is not to be shown.
func (a *authenticator) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	answers := make([]string, len(questions))
	for i, q := range questions {
		if echos[i] {
			return nil, fmt.Errorf("the host asks %q, which sloth cannot answer", clean(q))
		}
		pw, err := a.password()
		if err != nil {
			return nil, fmt.Errorf("the host asks again (%q)", clean(q))
		}
		answers[i] = pw
	}
	return answers, nil
}

// failure turns x/crypto's error into one that says what was tried.
func (a *authenticator) failure(err error) error {
	what := fmt.Sprintf("%s is not let in", a.e.user)
	if len(a.allowed) > 0 {
		what += "; the host takes " + strings.Join(a.allowed, ", ")
	}
	if len(a.partial) > 0 {
		what += "; passed but not enough: " + strings.Join(a.partial, ", ")
	}
	var tried []string
	if len(a.offered) > 0 {
		tried = append(tried, "keys "+strings.Join(a.offered, ", "))
	}
	if a.asked {
		tried = append(tried, "the password")
	}
	if len(tried) > 0 {
		what += "; tried " + strings.Join(tried, " and ")
	} else {
		what += "; there was nothing to try"
	}
	if a.signFail != nil {
		what += "; " + a.signFail.Error()
	}
	for _, t := range a.troubles {
		what += "; " + t
	}
	if weakSignature(err) {
		what += "; the host knows ssh-rsa (SHA-1) as the only signature of an RSA key"
	}
	if strings.Contains(err.Error(), "Too many authentication failures") {
		what += "; the host counted too many failures"
	}
	return &connection.Error{Class: connection.ClassAuth, Host: a.e.label, Op: "log in to " + a.e.address(), Err: errors.New(what), Hint: a.hint(err)}
}

// weakSignature reports that x/crypto found no signature algorithm in common.
func weakSignature(err error) bool {
	return strings.Contains(err.Error(), "no common public key signature algorithm")
}

func (a *authenticator) hint(err error) string {
	takes := func(m string) bool { return slices.Contains(a.allowed, m) }
	switch {
	case strings.Contains(err.Error(), "Too many authentication failures"):
		return "name the right key with --private-key (or IdentityFile and IdentitiesOnly yes)"
	case weakSignature(err):
		return "use an ed25519 key, or accept the weak algorithm for this host alone: PubkeyAcceptedAlgorithms +ssh-rsa"
	case a.signFail != nil && strings.Contains(a.signFail.Error(), "is encrypted"):
		return "load the key into an agent: ssh-add"
	case a.asked:
		return "check user and password; sloth sends a password only once, so that no account gets locked"
	case a.e.password == nil && (!takes("publickey") || len(a.offered) == 0) && (takes("password") || takes("keyboard-interactive")):
		return "this host wants a password: use -k"
	case len(a.offered) == 0:
		return "name a key with --private-key, start an ssh-agent, or use -k for a password"
	}
	return fmt.Sprintf("check the user name (%s), or put one of the keys there: ssh-copy-id", a.e.user)
}

// clean makes text from a host fit for a message.
func clean(s string) string { return connection.Printable(strings.TrimSpace(s), 200) }
