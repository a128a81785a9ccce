package ssh

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

// HostKeyQuestion is put to a human when a host's key is unknown.
type HostKeyQuestion struct {
	Host        string // inventory name
	Address     string // as known_hosts will call it
	Type        string // "ssh-ed25519"
	Fingerprint string // "SHA256:…"
}

// hostKeys judges the keys of one endpoint as OpenSSH would.
type hostKeys struct {
	e     *endpoint
	files *knownFiles
	ask   func(context.Context, HostKeyQuestion) (bool, error)
	// asking serialises questions: two hosts must not talk over each other.
	asking *sync.Mutex
	now    func() time.Time
	// pause stops the handshake's clock while somebody is asked.
	pause func() (resume func())
}

// lines are the known_hosts lines that count for the endpoint.
func (h *hostKeys) lines(withPort bool) ([]*knownLine, error) {
	return h.files.find(h.e.knownName(withPort), slices.Concat(h.e.userKnown, h.e.globalKnown)...)
}

// algorithms orders the host key algorithms: the types that known_hosts has
// for this host come first, so that a host with several keys shows a known one.
func (h *hostKeys) algorithms() ([]string, error) {
	if h.e.hostKeyAlgs != nil {
		return h.e.hostKeyAlgs, nil
	}
	lines, err := h.lines(true)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 && h.e.port != 22 && h.e.alias == "" {
		if lines, err = h.lines(false); err != nil {
			return nil, err
		}
	}
	known := func(alg string) bool {
		for _, l := range lines {
			switch l.marker {
			case authority:
				if strings.Contains(alg, "-cert-v01") {
					return true
				}
			case plain:
				if l.keyType == alg || l.keyType == ssh.KeyAlgoRSA && (alg == ssh.KeyAlgoRSASHA256 || alg == ssh.KeyAlgoRSASHA512) {
					return true
				}
			}
		}
		return false
	}
	first := slices.DeleteFunc(slices.Clone(keyAlgorithms), func(a string) bool { return !known(a) })
	rest := slices.DeleteFunc(slices.Clone(keyAlgorithms), known)
	return append(first, rest...), nil
}

// verdict is what known_hosts says about a key.
type verdict int

const (
	verdictUnknown verdict = iota
	verdictOK
	verdictChanged
	verdictRevoked
)

// judge compares a plain key or a certificate with lines.
func judge(lines []*knownLine, key ssh.PublicKey) (verdict, *knownLine) {
	result, found := verdictUnknown, (*knownLine)(nil)
	cert, isCert := key.(*ssh.Certificate)
	want, blob := plain, key.Marshal()
	inner := blob
	if isCert {
		want, blob, inner = authority, cert.SignatureKey.Marshal(), cert.Key.Marshal()
	}
	for _, l := range lines {
		k := l.publicKey()
		if k == nil {
			continue
		}
		same := bytes.Equal(k.Marshal(), blob)
		switch {
		case l.marker == revoked:
			if same || bytes.Equal(k.Marshal(), inner) {
				return verdictRevoked, l
			}
		case l.marker != want || result == verdictOK:
		case same:
			result, found = verdictOK, l
		case !isCert && (found == nil || found.keyType != key.Type()):
			// The line to show is the one of the same type, if there is one.
			result = verdictChanged
			if found == nil || l.keyType == key.Type() {
				found = l
			}
		}
	}
	return result, found
}

// check is the callback of the handshake, and of every re-keying.
func (h *hostKeys) check(ctx context.Context, remote net.Addr, key ssh.PublicKey) error {
	if h.e.noLocalCheck && h.e.isLoopback() {
		return nil
	}
	if err := h.e.checkRevoked(key, h.files); err != nil {
		return h.fail(err, "")
	}
	if n := rsaBits(key); n > 0 && n < h.e.minRSA {
		return h.fail(fmt.Errorf("its RSA key has only %d bits", n), fmt.Sprintf("give it a new key, or allow this one with RequiredRSASize %d", n))
	}
	var reason error
	if cert, ok := key.(*ssh.Certificate); ok {
		var done bool
		if done, reason = h.checkCertificate(cert); done {
			return reason
		}
		key = cert.Key // no usable authority: the plain key may be known
	}
	v, line, err := h.judge(key)
	if err != nil {
		return err
	}
	switch v {
	case verdictOK:
		return nil
	case verdictRevoked:
		return h.revokedError(key, line)
	case verdictChanged:
		return h.changedError(key, line)
	}
	return h.unknown(ctx, key, reason)
}

// judge looks under the name with the port, then without, as OpenSSH does.
func (h *hostKeys) judge(key ssh.PublicKey) (verdict, *knownLine, error) {
	lines, err := h.lines(true)
	if err != nil {
		return 0, nil, h.fail(err, "")
	}
	v, line := judge(lines, key)
	if v == verdictUnknown && h.e.port != 22 && h.e.alias == "" {
		if lines, err = h.lines(false); err != nil {
			return 0, nil, h.fail(err, "")
		}
		if v2, l2 := judge(lines, key); v2 == verdictOK || v2 == verdictRevoked {
			return v2, l2, nil
		}
	}
	return v, line, nil
}

// checkCertificate settles the matter (done) when an authority of this host
// signed the certificate and it is valid, or when it is revoked. Otherwise the
// reason says why the certificate is no help.
func (h *hostKeys) checkCertificate(cert *ssh.Certificate) (done bool, reason error) {
	v, line, err := h.judge(cert)
	switch {
	case err != nil:
		return true, err
	case v == verdictRevoked:
		return true, h.revokedError(cert, line)
	case v != verdictOK:
		return false, fmt.Errorf("no @cert-authority line has the key %s that signed its certificate", ssh.FingerprintSHA256(cert.SignatureKey))
	}
	if err := h.certificateValid(cert); err != nil {
		return false, fmt.Errorf("its certificate (key id %q, authority of %s:%d) is not valid: %w", cert.KeyId, line.file, line.line, err)
	}
	return true, nil
}

func (h *hostKeys) certificateValid(cert *ssh.Certificate) error {
	if cert.CertType != ssh.HostCert {
		return errors.New("it is a user certificate")
	}
	now := h.now()
	const layout = "2006-01-02 15:04:05 MST"
	from, to := time.Unix(int64(cert.ValidAfter), 0), time.Unix(int64(cert.ValidBefore), 0)
	clock := "this machine's clock says " + now.Format(layout)
	if now.Before(from) {
		return fmt.Errorf("it becomes valid at %s, %s", from.Format(layout), clock)
	}
	if cert.ValidBefore != ssh.CertTimeInfinity && !now.Before(to) {
		return fmt.Errorf("it expired at %s, %s", to.Format(layout), clock)
	}
	name := strings.ToLower(cmp.Or(h.e.alias, h.e.host))
	if len(cert.ValidPrincipals) > 0 && !slices.Contains(cert.ValidPrincipals, name) {
		return fmt.Errorf("it is for %s, not for %s", strings.Join(cert.ValidPrincipals, ", "), name)
	}
	checker := ssh.CertChecker{Clock: h.now}
	return checker.CheckCert(name, cert)
}

// unknown asks, trusts or refuses, as StrictHostKeyChecking says.
func (h *hostKeys) unknown(ctx context.Context, key ssh.PublicKey, reason error) error {
	trust := h.e.strict == "accept-new"
	if !trust && h.e.strict == "ask" && h.ask != nil {
		h.asking.Lock()
		defer h.asking.Unlock()
		// The answer for another name of the same host may have settled it.
		if v, line, err := h.judge(key); err != nil || v != verdictUnknown {
			switch {
			case err != nil:
				return err
			case v == verdictOK:
				return nil
			case v == verdictRevoked:
				return h.revokedError(key, line)
			}
			return h.changedError(key, line)
		}
		resume := h.pause()
		yes, err := h.ask(ctx, HostKeyQuestion{Host: h.e.label, Address: h.e.knownName(true), Type: key.Type(), Fingerprint: ssh.FingerprintSHA256(key)})
		resume()
		if err != nil {
			return h.fail(fmt.Errorf("ask about its host key: %w", err), "")
		}
		if !yes {
			return h.fail(fmt.Errorf("its %s key %s was not accepted", key.Type(), ssh.FingerprintSHA256(key)), "")
		}
		trust = true
	}
	if !trust {
		msg := fmt.Sprintf("its %s key %s is unknown", key.Type(), ssh.FingerprintSHA256(key))
		if reason != nil {
			msg += "; " + reason.Error()
		}
		scan := "ssh-keyscan "
		if h.e.port != 22 {
			scan += "-p " + strconv.Itoa(h.e.port) + " "
		}
		file := "known_hosts"
		if len(h.e.userKnown) > 0 {
			file = h.e.userKnown[0]
		}
		return h.fail(errors.New(msg), fmt.Sprintf("compare the fingerprint on the host's console, then: %s%s >> %s", scan, h.e.host, file))
	}
	if len(h.e.userKnown) == 0 {
		return nil
	}
	if err := h.files.remember(h.e.userKnown[0], h.e.knownName(true), key, h.e.hashKnown); err != nil {
		return h.fail(fmt.Errorf("remember its host key: %w", err), "make "+h.e.userKnown[0]+" writable, or set UserKnownHostsFile")
	}
	return nil
}

func (h *hostKeys) changedError(key ssh.PublicKey, line *knownLine) error {
	old := line.publicKey()
	what := fmt.Sprintf("its host key has CHANGED: it shows %s %s, but %s:%d says %s %s",
		key.Type(), ssh.FingerprintSHA256(key), line.file, line.line, old.Type(), ssh.FingerprintSHA256(old))
	return h.fail(errors.New(what), fmt.Sprintf("somebody may be listening in; if the host really has a new key: ssh-keygen -R '%s' -f %s", h.e.knownName(true), line.file))
}

func (h *hostKeys) revokedError(key ssh.PublicKey, line *knownLine) error {
	what := fmt.Sprintf("its host key %s is revoked by %s:%d", ssh.FingerprintSHA256(key), line.file, line.line)
	return h.fail(errors.New(what), "give the host a new key; the revoked one may be in foreign hands")
}

func (h *hostKeys) fail(err error, hint string) error {
	return &connection.Error{Class: connection.ClassHostKey, Host: h.e.label, Op: "verify " + h.e.address(), Err: err, Hint: hint}
}

// checkRevoked looks a key up in RevokedHostKeys: a text file of public keys.
func (e *endpoint) checkRevoked(key ssh.PublicKey, files *knownFiles) error {
	if e.revoked == "" {
		return nil
	}
	list, err := files.revokedList(e.revoked)
	if err != nil {
		// A list that can't be read revokes every key: OpenSSH, too.
		return fmt.Errorf("read RevokedHostKeys: %w", err)
	}
	keys := []ssh.PublicKey{key}
	if cert, ok := key.(*ssh.Certificate); ok {
		keys = []ssh.PublicKey{cert.Key, cert.SignatureKey}
	}
	for _, k := range keys {
		if list[string(k.Marshal())] {
			return fmt.Errorf("its host key %s is revoked by %s", ssh.FingerprintSHA256(k), e.revoked)
		}
	}
	return nil
}
