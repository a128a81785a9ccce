package ssh

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"os"

	"golang.org/x/crypto/ssh"
)

// revokedList reads a file of public keys, one a line. The binary form
// (ssh-keygen -k) is refused rather than ignored.
func (k *knownFiles) revokedList(path string) (map[string]bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := readCapped(f, maxKnownHosts)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(text, []byte("SSHKRL")) {
		return nil, errors.New(path + " is a binary list; sloth reads only a text file of public keys")
	}
	out := map[string]bool{}
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		if key, _, _, _, err := ssh.ParseAuthorizedKey(line); err == nil {
			out[string(key.Marshal())] = true
		}
	}
	return out, nil
}

// rsaBits is the size of an RSA key, 0 for others.
func rsaBits(key ssh.PublicKey) int {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	c, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return 0
	}
	if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok {
		return r.N.BitLen()
	}
	return 0
}
