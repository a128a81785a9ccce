package sshdtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"sync"

	"golang.org/x/crypto/ssh"
)

func generate(kind string) (crypto.PrivateKey, error) {
	switch kind {
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("sshdtest: unknown kind of key %q", kind)
}

type keyPair struct {
	signer ssh.Signer
	pem    []byte
}

var testKey = sync.OnceValue(func() keyPair {
	_, private, err := newKey("ed25519")
	if err != nil {
		panic(err) // only the system's random source can fail here
	}
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		panic(err)
	}
	return keyPair{signer, private}
})

// TestKey is the key pair, made once per process, that every server lets in
// unless Options.Keys says otherwise.
func TestKey() ssh.Signer { return testKey().signer }

func newKey(kind string) (ssh.PublicKey, []byte, error) {
	private, err := generate(kind)
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "sshdtest")
	if err != nil {
		return nil, nil, err
	}
	return signer.PublicKey(), pem.EncodeToMemory(block), nil
}
