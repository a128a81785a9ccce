// Package pki is the certification of agents and users by a master: its own
// authority, the certificates it issues, and the one-time tokens that buy them.
package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// The kinds of holders of a certificate.
const (
	KindAgent  = "agent"
	KindUser   = "user"
	KindMaster = "master"
)

// maxName is the longest name of a holder, in bytes.
const maxName = 64

// Identity is who a certificate speaks for.
type Identity struct {
	Kind    string
	Name    string
	Machine string // of an agent: Fingerprint of the machine's id; else empty
}

// CheckName refuses names that could be mistaken for something else in a
// pattern, a path or a log.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > maxName:
		return fmt.Errorf("the name has %d bytes, the limit is %d", len(name), maxName)
	case name[0] == '-' || name[0] == '.':
		return fmt.Errorf("the name %q begins with %q", name, name[:1])
	}
	for _, r := range name {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", r) {
			return fmt.Errorf("the name %q has the character %q; letters, digits, '.', '_' and '-' are allowed", name, r)
		}
	}
	return nil
}

func (id Identity) uri() *url.URL {
	return &url.URL{Scheme: "sloth", Host: id.Kind, Path: "/" + id.Name, RawQuery: url.Values{"machine": {id.Machine}}.Encode()}
}

// IdentityOf reads whom a certificate speaks for. It does not verify it.
func IdentityOf(c *x509.Certificate) (Identity, error) {
	if len(c.URIs) != 1 || c.URIs[0].Scheme != "sloth" {
		return Identity{}, errors.New("the certificate is none of sloth's")
	}
	u := c.URIs[0]
	id := Identity{Kind: u.Host, Name: strings.TrimPrefix(u.Path, "/"), Machine: u.Query().Get("machine")}
	return id, CheckName(id.Name)
}

// Fingerprint is the SHA-256 of a thing, in hex.
func Fingerprint(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// KeyOf is the fingerprint of a certificate's public key: it stays the same
// when the certificate is renewed.
func KeyOf(c *x509.Certificate) string { return Fingerprint(c.RawSubjectPublicKeyInfo) }

// Meeting is what both sides of an enrolment show to people: it depends on the
// newcomer's key and on the master's authority, so that somebody between the
// two changes it.
func Meeting(key, authority string) string {
	sum := sha256.Sum256([]byte(key + " " + authority))
	text := hex.EncodeToString(sum[:12])
	var parts []string
	for i := 0; i < len(text); i += 4 {
		parts = append(parts, text[i:i+4])
	}
	return strings.Join(parts, "-")
}
