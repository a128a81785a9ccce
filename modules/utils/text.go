package utils

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/big"
	"net/url"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

type uuid struct{}

// Query makes a UUID of version 4.
func (*uuid) Query(context.Context, facts.Viewer) ([]any, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return []any{fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])}, nil
}

type random struct {
	Length int  `lua:"length,primary" pos:"1" doc:"How many characters"`
	Secret bool `lua:"secret" doc:"Gives a secret, which is never shown"`
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// Query draws each character from the system's source of randomness.
func (r *random) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	if r.Length < 1 || r.Length > 4096 {
		return nil, fmt.Errorf("length = %d: it must be between 1 and 4096", r.Length)
	}
	b := make([]byte, r.Length)
	for i := range b {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return nil, err
		}
		b[i] = alphabet[n.Int64()]
	}
	if r.Secret {
		return []any{modules.MakeSecret(ctx, string(b))}, nil
	}
	return []any{string(b)}, nil
}

func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "md5":
		return md5.New()
	case "sha1":
		return sha1.New()
	case "sha512":
		return sha512.New()
	}
	return sha256.New()
}

type sum struct {
	Text      modules.Text `lua:"text,required,primary" pos:"1" doc:"What to hash; the hash of a secret is a secret"`
	Algorithm string       `lua:"algorithm" alias:"algo" pos:"2" enum:"md5,sha1,sha256,sha512" doc:"How to hash"`
}

// Query hashes the text.
func (s *sum) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	h := newHash(s.Algorithm)
	h.Write([]byte(s.Text.Reveal()))
	return like(ctx, s.Text, hex.EncodeToString(h.Sum(nil))), nil
}

type sumFile struct {
	Path      string `lua:"path,required,primary,path" pos:"1" doc:"File on the host"`
	Algorithm string `lua:"algorithm" alias:"algo" pos:"2" enum:"md5,sha1,sha256,sha512" doc:"How to hash"`
}

// Query hashes the file.
func (s *sumFile) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	f, err := v.Open(s.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := newHash(s.Algorithm)
	if _, err := io.Copy(h, &until{ctx, f}); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.Path, err)
	}
	return []any{hex.EncodeToString(h.Sum(nil))}, nil
}

// until reads no further once its context ends.
type until struct {
	ctx context.Context
	r   io.Reader
}

func (u *until) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}

// like gives text that is as secret as what it was made of.
func like(ctx context.Context, from modules.Text, text string) []any {
	if from.IsSecret() {
		return []any{modules.MakeSecret(ctx, text)}
	}
	return []any{text}
}

type code struct {
	Text modules.Text `lua:"text,required,primary" pos:"1" doc:"The text; what is made of a secret is a secret"`
	turn func(string) (string, error)
}

func coder(name string, aliases []string, summary, example string, turn func(string) (string, error)) modules.Func {
	return modules.Func{
		Name: name, Aliases: aliases, Summary: summary, Example: example, Returns: "text",
		New: func() any { return &code{turn: turn} },
	}
}

// Query turns the text.
func (c *code) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	out, err := c.turn(c.Text.Reveal())
	if err != nil {
		return nil, err
	}
	return like(ctx, c.Text, out), nil
}

func encodeBase64(s string) (string, error) { return base64.StdEncoding.EncodeToString([]byte(s)), nil }

// decodeBase64 takes both alphabets, with and without padding and line ends.
func decodeBase64(s string) (string, error) {
	s = strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "", " ", "").Replace(s)
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return "", errors.New("the text is no Base64")
	}
	return string(b), nil
}

func encodeHex(s string) (string, error) { return hex.EncodeToString([]byte(s)), nil }

func decodeHex(s string) (string, error) {
	b, err := hex.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return "", errors.New("the text is not hexadecimal")
	}
	return string(b), nil
}

func encodeURL(s string) (string, error) { return url.QueryEscape(s), nil }

func decodeURL(s string) (string, error) {
	out, err := url.QueryUnescape(s)
	if err != nil {
		return "", errors.New("an escape in the text is broken")
	}
	return out, nil
}
