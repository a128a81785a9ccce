package runlog

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"

	"github.com/vmihailenco/msgpack/v5"
)

// sealer makes what seals results from the run's key.
func sealer(key []byte) (cipher.AEAD, error) {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("record"))
	block, err := aes.NewCipher(h.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal gives text in the form it has in a file, bound to a name.
func seal(with cipher.AEAD, text []byte, name string) ([]byte, error) {
	nonce := make([]byte, with.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return with.Seal(nonce, nonce, text, []byte(name)), nil
}

// unseal gives what was sealed under a name, nil for what cannot be read.
func unseal(with cipher.AEAD, sealed []byte, name string) []byte {
	n := with.NonceSize()
	if len(sealed) < n {
		return nil
	}
	text, err := with.Open(nil, sealed[:n], sealed[n:], []byte(name))
	if err != nil {
		return nil
	}
	return text
}

// What is bound to no step has these names.
const (
	argsName   = "\x00argv"
	secretName = "\x00secret"
)

func (h *Head) sealArgs(with cipher.AEAD) error {
	text, err := msgpack.Marshal(h.Again)
	if err == nil {
		h.Sealed, err = seal(with, text, argsName)
	}
	return err
}

func (h *Head) unsealArgs(with cipher.AEAD) {
	if msgpack.Unmarshal(unseal(with, h.Sealed, argsName), &h.Again) != nil || h.Again == nil {
		h.Again = h.Argv
	}
}
