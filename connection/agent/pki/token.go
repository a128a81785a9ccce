package pki

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
)

// tokenMark begins every token, so that it is found where it was left lying
// about.
const tokenMark = "sloth-join-"

// Token buys one certificate. It also carries the fingerprint of the authority
// that will sign it, so that its holder knows the master.
type Token struct {
	Secret    string
	Authority string
}

// NewToken makes a token of the master with that authority.
func NewToken(authority string) Token {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return Token{Secret: base64.RawURLEncoding.EncodeToString(b[:]), Authority: authority}
}

// Text is the token as people pass it on.
func (t Token) Text() string { return tokenMark + t.Secret + "." + t.Authority }

// Hash is what a master keeps of a token.
func (t Token) Hash() string { return Fingerprint([]byte("sloth join " + t.Secret)) }

// ParseToken reads what Text wrote.
func ParseToken(text string) (Token, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), tokenMark)
	secret, authority, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || len(secret) != 32 || len(authority) != 64 {
		return Token{}, errors.New("this is no join token; `sloth agent token` makes one, it begins with " + tokenMark)
	}
	return Token{Secret: secret, Authority: authority}, nil
}
