package sshclient

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"math/big"

	"github.com/sloth-runner/sloth/modules/internal/sshfile"
)

// The format of OpenSSH's private keys is written down in PROTOCOL.key of its
// sources, that of public keys in RFC 4253 and 5656.
const (
	pemType = "OPENSSH PRIVATE KEY"
	magic   = "openssh-key-v1\x00"
)

// packet is a sequence of length-prefixed fields.
type packet struct{ bytes.Buffer }

func (p *packet) count(n int) { p.Write(binary.BigEndian.AppendUint32(nil, uint32(n))) }

func (p *packet) text(s string) {
	p.count(len(s))
	p.WriteString(s)
}

// number is a positive mpint: a first bit of 1 would make it negative.
func (p *packet) number(n *big.Int) {
	b := n.Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	p.text(string(b))
}

// key is a key pair of one kind. There is no interface over them here: with one
// the linker would keep all that keys can do, such as signing.
type key struct {
	ed    ed25519.PrivateKey
	rsa   *rsa.PrivateKey
	curve string // of ec: nistp256
	ec    *ecdh.PrivateKey
}

// newKey makes a key. bits: 0 is the usual size of its kind.
func newKey(kind string, bits int) (k key, err error) {
	if err := checkBits(kind, bits); err != nil {
		return k, err
	}
	switch kind {
	case "ed25519":
		_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		var curve ecdh.Curve
		k.curve, curve = curveOf(bits)
		k.ec, err = curve.GenerateKey(rand.Reader)
	case "rsa":
		if bits == 0 {
			bits = 3072
		}
		k.rsa, err = rsa.GenerateKey(rand.Reader, bits)
	}
	return k, err
}

// checkBits refuses sizes that a kind has not.
func checkBits(kind string, bits int) error {
	switch {
	case kind == "ed25519" && bits != 0 && bits != 256:
		return errors.New("bits: an ed25519 key has 256")
	case kind == "ecdsa" && bits != 0 && bits != 256 && bits != 384 && bits != 521:
		return errors.New("bits: an ecdsa key has 256, 384 or 521")
	case kind == "rsa" && bits != 0 && (bits < 2048 || bits > 8192):
		return errors.New("bits: an rsa key has 2048 to 8192")
	}
	return nil
}

func curveOf(bits int) (string, ecdh.Curve) {
	switch bits {
	case 384:
		return "nistp384", ecdh.P384()
	case 521:
		return "nistp521", ecdh.P521()
	}
	return "nistp256", ecdh.P256()
}

// public is the public key as OpenSSH encodes it.
func (k key) public(comment string) sshfile.Key {
	var p packet
	kind := ""
	switch {
	case k.ed != nil:
		kind = "ssh-ed25519"
		p.text(kind)
		p.text(string(k.ed[ed25519.SeedSize:]))
	case k.rsa != nil:
		kind = "ssh-rsa"
		p.text(kind)
		p.number(big.NewInt(int64(k.rsa.E)))
		p.number(k.rsa.N)
	case k.ec != nil:
		kind = "ecdsa-sha2-" + k.curve
		p.text(kind)
		p.text(k.curve)
		p.text(string(k.ec.PublicKey().Bytes()))
	}
	return sshfile.Key{Type: kind, Base64: base64.StdEncoding.EncodeToString(p.Bytes()), Comment: comment}
}

// marshal is the private key file, without a passphrase.
func (k key) marshal(comment string) ([]byte, error) {
	public := k.public(comment)
	blob, err := base64.StdEncoding.DecodeString(public.Base64)
	if err != nil {
		return nil, err
	}
	var check [4]byte
	if _, err := rand.Read(check[:]); err != nil {
		return nil, err
	}
	var inner packet
	inner.Write(check[:])
	inner.Write(check[:])
	inner.text(public.Type)
	switch {
	case k.ed != nil:
		inner.text(string(k.ed[ed25519.SeedSize:]))
		inner.text(string(k.ed))
	case k.rsa != nil:
		inner.number(k.rsa.N)
		inner.number(big.NewInt(int64(k.rsa.E)))
		inner.number(k.rsa.D)
		inner.number(new(big.Int).ModInverse(k.rsa.Primes[1], k.rsa.Primes[0]))
		inner.number(k.rsa.Primes[0])
		inner.number(k.rsa.Primes[1])
	case k.ec != nil:
		inner.text(k.curve)
		inner.text(string(k.ec.PublicKey().Bytes()))
		inner.number(new(big.Int).SetBytes(k.ec.Bytes()))
	}
	inner.text(comment)
	for i := byte(1); inner.Len()%8 != 0; i++ {
		inner.WriteByte(i)
	}
	var out packet
	out.WriteString(magic)
	out.text("none")
	out.text("none")
	out.text("")
	out.count(1)
	out.text(string(blob))
	out.text(inner.String())
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: out.Bytes()}), nil
}
