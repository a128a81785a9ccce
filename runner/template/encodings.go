package template

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// pythonJSON is json.dumps as Ansible calls it: ", " and ": " between, keys sorted.
func pythonJSON(v any, indent int) (string, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if indent > 0 {
		enc.SetIndent("", strings.Repeat(" ", indent))
	}
	if err := enc.Encode(textKeys(v)); err != nil {
		return "", err
	}
	out := strings.TrimSuffix(buf.String(), "\n")
	if indent > 0 {
		return out, nil
	}
	return spaced(out), nil
}

// spaced puts Python's blanks after the separators of compact JSON.
func spaced(compact string) string {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(compact); i++ {
		c := compact[i]
		b.WriteByte(c)
		switch {
		case quoted && c == '\\':
			i++
			b.WriteByte(compact[i])
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == ':'):
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func toYAML(in any, _ []any, kw map[string]any) (any, error) {
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(number(kw["indent"], 4))
	if err := enc.Encode(in); err != nil {
		return nil, err
	}
	return buf.String(), enc.Close()
}

func fromJSON(in any, _ []any, _ map[string]any) (any, error) {
	dec := json.NewDecoder(strings.NewReader(text(in)))
	dec.UseNumber() // 1 and 1.0 print differently
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return plain(v), nil
}

func fromYAML(in any, _ []any, _ map[string]any) (any, error) {
	var v any
	if err := yaml.Unmarshal([]byte(text(in)), &v); err != nil {
		return nil, err
	}
	return plain(v), nil
}

func decode64(in any, _ []any, _ map[string]any) (any, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text(in)))
	if err != nil {
		return nil, err
	}
	return string(b), nil
}

func sum(f func([]byte) []byte) filter {
	return func(in any, _ []any, _ map[string]any) (any, error) {
		return hex.EncodeToString(f([]byte(text(in)))), nil
	}
}

func hashOf(in any, args []any, _ map[string]any) (any, error) {
	kind := "sha1"
	if len(args) > 0 {
		kind = text(args[0])
	}
	b := []byte(text(in))
	switch kind {
	case "md5":
		s := md5.Sum(b)
		return hex.EncodeToString(s[:]), nil
	case "sha1":
		s := sha1.Sum(b)
		return hex.EncodeToString(s[:]), nil
	case "sha256":
		s := sha256.Sum256(b)
		return hex.EncodeToString(s[:]), nil
	case "sha512":
		s := sha512.Sum512(b)
		return hex.EncodeToString(s[:]), nil
	}
	return nil, fmt.Errorf("no algorithm %q: use md5, sha1, sha256 or sha512", kind)
}
