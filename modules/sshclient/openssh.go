package sshclient

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"

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

func (p *packet) text(s string) {
	_ = binary.Write(p, binary.BigEndian, uint32(len(s)))
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

// newKey makes a key. bits: 0 is the usual size of its kind.
func newKey(kind string, bits int) (crypto.Signer, error) {
	switch kind {
	case "ed25519":
		if bits != 0 && bits != 256 {
			return nil, errors.New("bits: an ed25519 key has 256")
		}
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "ecdsa":
		curve := map[int]elliptic.Curve{0: elliptic.P256(), 256: elliptic.P256(), 384: elliptic.P384(), 521: elliptic.P521()}[bits]
		if curve == nil {
			return nil, errors.New("bits: an ecdsa key has 256, 384 or 521")
		}
		return ecdsa.GenerateKey(curve, rand.Reader)
	case "rsa":
		if bits == 0 {
			bits = 3072
		}
		if bits < 2048 || bits > 8192 {
			return nil, errors.New("bits: an rsa key has 2048 to 8192")
		}
		return rsa.GenerateKey(rand.Reader, bits)
	}
	return nil, fmt.Errorf("there is no kind of key %q", kind)
}

// publicBlob is a public key as OpenSSH encodes it.
func publicBlob(key crypto.PublicKey) (kind string, blob []byte, err error) {
	var p packet
	switch k := key.(type) {
	case ed25519.PublicKey:
		kind = "ssh-ed25519"
		p.text(kind)
		p.text(string(k))
	case *rsa.PublicKey:
		kind = "ssh-rsa"
		p.text(kind)
		p.number(big.NewInt(int64(k.E)))
		p.number(k.N)
	case *ecdsa.PublicKey:
		curve, point, err := curveOf(k)
		if err != nil {
			return "", nil, err
		}
		kind = "ecdsa-sha2-" + curve
		p.text(kind)
		p.text(curve)
		p.text(string(point))
	default:
		return "", nil, fmt.Errorf("OpenSSH has no keys of type %T", key)
	}
	return kind, p.Bytes(), nil
}

func curveOf(k *ecdsa.PublicKey) (name string, point []byte, err error) {
	e, err := k.ECDH()
	if err != nil {
		return "", nil, err
	}
	switch e.Curve() {
	case ecdh.P256():
		name = "nistp256"
	case ecdh.P384():
		name = "nistp384"
	case ecdh.P521():
		name = "nistp521"
	default:
		return "", nil, errors.New("OpenSSH does not know the curve of this key")
	}
	return name, e.Bytes(), nil
}

// publicKey is the line of a .pub file.
func publicKey(key crypto.PublicKey, comment string) (sshfile.Key, error) {
	kind, blob, err := publicBlob(key)
	if err != nil {
		return sshfile.Key{}, err
	}
	return sshfile.Key{Type: kind, Base64: base64.StdEncoding.EncodeToString(blob), Comment: comment}, nil
}

// marshal is the private key file, without a passphrase.
func marshal(key crypto.Signer, comment string) ([]byte, error) {
	kind, blob, err := publicBlob(key.Public())
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
	inner.text(kind)
	switch k := key.(type) {
	case ed25519.PrivateKey:
		inner.text(string(k[ed25519.SeedSize:]))
		inner.text(string(k))
	case *rsa.PrivateKey:
		inner.number(k.N)
		inner.number(big.NewInt(int64(k.E)))
		inner.number(k.D)
		inner.number(new(big.Int).ModInverse(k.Primes[1], k.Primes[0]))
		inner.number(k.Primes[0])
		inner.number(k.Primes[1])
	case *ecdsa.PrivateKey:
		curve, point, err := curveOf(&k.PublicKey)
		if err != nil {
			return nil, err
		}
		secret, err := k.ECDH()
		if err != nil {
			return nil, err
		}
		inner.text(curve)
		inner.text(string(point))
		inner.number(new(big.Int).SetBytes(secret.Bytes()))
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
	_ = binary.Write(&out, binary.BigEndian, uint32(1))
	out.text(string(blob))
	out.text(inner.String())
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: out.Bytes()}), nil
}

// private is what can be told of a private key file.
type private struct {
	public    sshfile.Key
	encrypted bool
}

var errNoKey = errors.New("it holds no private key")

// readPrivate reads OpenSSH's own format and the PEM formats before it.
func readPrivate(data []byte) (private, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return private{}, errNoKey
	}
	if block.Type == pemType {
		return readOpenSSH(block.Bytes)
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return private{encrypted: true}, nil
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return private{}, fmt.Errorf("it holds a %s, not a private key", strings.ToLower(block.Type))
	}
	if err != nil {
		return private{}, errors.New("the key in it is damaged")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return private{}, fmt.Errorf("OpenSSH has no keys of type %T", key)
	}
	public, err := publicKey(signer.Public(), "")
	return private{public: public}, err
}

// readOpenSSH takes the public key, which is there in the clear, and the
// comment, which is not when there is a passphrase.
func readOpenSSH(data []byte) (private, error) {
	damaged := errors.New("the key in it is damaged")
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		return private{}, damaged
	}
	var fields [3][]byte
	for i := range fields {
		if fields[i], rest, ok = next(rest); !ok {
			return private{}, damaged
		}
	}
	if len(rest) < 4 || binary.BigEndian.Uint32(rest) != 1 {
		return private{}, damaged
	}
	blob, rest, ok := next(rest[4:])
	if !ok {
		return private{}, damaged
	}
	kind, _, ok := next(blob)
	if !ok {
		return private{}, damaged
	}
	out := private{encrypted: string(fields[0]) != "none"}
	public, err := sshfile.ParseKey(string(kind) + " " + base64.StdEncoding.EncodeToString(blob))
	if err != nil {
		return private{}, damaged
	}
	out.public = public
	if inner, _, ok := next(rest); ok && !out.encrypted {
		out.public.Comment = comment(inner, string(kind))
	}
	return out, nil
}

// comment passes the fields of a private key that come before its comment.
func comment(inner []byte, kind string) string {
	if len(inner) < 8 {
		return ""
	}
	fields := 1 // the type itself
	switch {
	case kind == "ssh-ed25519":
		fields += 2
	case kind == "ssh-rsa":
		fields += 6
	case strings.HasPrefix(kind, "ecdsa-sha2-"):
		fields += 3
	default:
		return ""
	}
	rest := inner[8:]
	for range fields {
		_, after, ok := next(rest)
		if !ok {
			return ""
		}
		rest = after
	}
	text, _, _ := next(rest)
	return string(text)
}

// next takes one length-prefixed field off.
func next(data []byte) (field, rest []byte, ok bool) {
	if len(data) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(data)
	if uint64(n) > uint64(len(data)-4) {
		return nil, nil, false
	}
	return data[4 : 4+n], data[4+n:], true
}
