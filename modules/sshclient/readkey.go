package sshclient

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/sloth-runner/sloth/modules/internal/sshfile"
)

// private is what can be told of a private key file.
type private struct {
	public    sshfile.Key
	encrypted bool
}

var (
	errNoKey   = errors.New("it holds no private key")
	errDamaged = errors.New("the key in it is damaged")
)

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
	k, err := readPEM(block)
	if err != nil {
		return private{}, err
	}
	return private{public: k.public("")}, nil
}

// readOpenSSH takes the public key, which is there in the clear, and the
// comment, which is not when there is a passphrase.
func readOpenSSH(data []byte) (private, error) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		return private{}, errDamaged
	}
	var fields [3][]byte
	for i := range fields {
		if fields[i], rest, ok = next(rest); !ok {
			return private{}, errDamaged
		}
	}
	if len(rest) < 4 || binary.BigEndian.Uint32(rest) != 1 {
		return private{}, errDamaged
	}
	blob, rest, ok := next(rest[4:])
	if !ok {
		return private{}, errDamaged
	}
	kind, _, ok := next(blob)
	if !ok {
		return private{}, errDamaged
	}
	out := private{encrypted: string(fields[0]) != "none"}
	public, err := sshfile.ParseKey(string(kind) + " " + base64.StdEncoding.EncodeToString(blob))
	if err != nil {
		return private{}, errDamaged
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

// The PEM formats are those of RFC 8017 (RSA), 5915 (EC) and 5958 (any).
type (
	pkcs1 struct {
		Version int
		N       *big.Int
		E       int
	}
	sec1 struct {
		Version int
		Scalar  []byte
		Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	}
	pkcs8 struct {
		Version   int
		Algorithm struct {
			Kind  asn1.ObjectIdentifier
			Curve asn1.RawValue `asn1:"optional"`
		}
		Key []byte
	}
)

// readPEM takes as much of a key as its public half needs.
func readPEM(block *pem.Block) (key, error) {
	switch block.Type {
	case "RSA PRIVATE KEY":
		return readRSA(block.Bytes)
	case "EC PRIVATE KEY":
		return readEC(block.Bytes, nil)
	case "PRIVATE KEY":
	default:
		return key{}, fmt.Errorf("it holds a %s, not a private key", strings.ToLower(block.Type))
	}
	var p pkcs8
	if _, err := asn1.Unmarshal(block.Bytes, &p); err != nil {
		return key{}, errDamaged
	}
	switch p.Algorithm.Kind.String() {
	case "1.2.840.113549.1.1.1":
		return readRSA(p.Key)
	case "1.2.840.10045.2.1":
		var curve asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(p.Algorithm.Curve.FullBytes, &curve); err != nil {
			return key{}, errDamaged
		}
		return readEC(p.Key, curve)
	case "1.3.101.112":
		var seed []byte
		if _, err := asn1.Unmarshal(p.Key, &seed); err != nil || len(seed) != ed25519.SeedSize {
			return key{}, errDamaged
		}
		return key{ed: ed25519.NewKeyFromSeed(seed)}, nil
	}
	return key{}, errors.New("OpenSSH has no keys of the kind in it")
}

func readRSA(data []byte) (key, error) {
	var p pkcs1
	if _, err := asn1.Unmarshal(data, &p); err != nil || p.N.Sign() <= 0 || p.E <= 0 {
		return key{}, errDamaged
	}
	return key{rsa: &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: p.N, E: p.E}}}, nil
}

func readEC(data []byte, curve asn1.ObjectIdentifier) (key, error) {
	var p sec1
	if _, err := asn1.Unmarshal(data, &p); err != nil {
		return key{}, errDamaged
	}
	if curve == nil {
		curve = p.Curve
	}
	bits := map[string]int{"1.2.840.10045.3.1.7": 256, "1.3.132.0.34": 384, "1.3.132.0.35": 521}[curve.String()]
	if bits == 0 {
		return key{}, errors.New("OpenSSH does not know the curve of this key")
	}
	name, c := curveOf(bits)
	k, err := c.NewPrivateKey(p.Scalar)
	if err != nil {
		return key{}, errDamaged
	}
	return key{ec: k, curve: name}, nil
}
