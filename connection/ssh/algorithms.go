package ssh

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Host key and user key algorithms in OpenSSH's order of preference. ssh-rsa
// signs with SHA-1 and is left out: who must reach such a host says so for
// that host, with HostKeyAlgorithms +ssh-rsa.
var keyAlgorithms = []string{
	ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
	ssh.CertAlgoSKED25519v01, ssh.CertAlgoSKECDSA256v01, ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

// optional are understood when somebody asks for them by name.
var optionalKeyAlgorithms = []string{ssh.CertAlgoRSAv01, ssh.KeyAlgoRSA}

// fillAlgorithms reads the lists of Ciphers and the like. x/crypto's own
// defaults still hold a key exchange and a MAC with a broken hash; ours don't.
func (e *endpoint) fillAlgorithms(v values) error {
	supported, insecure := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	for _, l := range []struct {
		key            string
		dst            *[]string
		defaults, more []string
		proposed       bool // x/crypto would propose more than the defaults
	}{
		{"kexalgorithms", &e.kex, supported.KeyExchanges, insecure.KeyExchanges, true},
		{"ciphers", &e.ciphers, supported.Ciphers, insecure.Ciphers, true},
		{"macs", &e.macs, supported.MACs, insecure.MACs, true},
		{"hostkeyalgorithms", &e.hostKeyAlgs, keyAlgorithms, optionalKeyAlgorithms, false},
		{"pubkeyacceptedalgorithms", &e.userKeyAlgs, keyAlgorithms, optionalKeyAlgorithms, false},
	} {
		list := v.first(l.key)
		if list == "" {
			if l.proposed {
				*l.dst = l.defaults
			}
			continue
		}
		var err error
		if *l.dst, err = assemble(list, l.defaults, l.more); err != nil {
			return fmt.Errorf("%s: %w", l.key, err)
		}
	}
	return nil
}

// assemble applies a list to the defaults: "+a" appends, "-a" removes, "^a"
// puts first, anything else replaces. Names this program does not know are
// left out, and it is an error when nothing is left.
func assemble(list string, defaults, more []string) ([]string, error) {
	op := list[0]
	if strings.IndexByte("+-^", op) >= 0 {
		list = list[1:]
	} else {
		op = '='
	}
	known := slices.Concat(defaults, more)
	var picked []string
	for p := range strings.SplitSeq(list, ",") {
		for _, k := range known {
			if matchPattern(k, p) && !slices.Contains(picked, k) {
				picked = append(picked, k)
			}
		}
	}
	var out []string
	isPicked := func(a string) bool { return slices.Contains(picked, a) }
	switch op {
	case '+':
		out = slices.Concat(defaults, slices.DeleteFunc(slices.Clone(picked), func(a string) bool { return slices.Contains(defaults, a) }))
	case '-':
		out = slices.DeleteFunc(slices.Clone(defaults), isPicked)
	case '^':
		out = slices.Concat(picked, slices.DeleteFunc(slices.Clone(defaults), isPicked))
	default:
		out = picked
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("of %q this program supports none; it knows %s", list, strings.Join(known, ","))
	}
	return out, nil
}
