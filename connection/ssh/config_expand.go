package ssh

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// tokens are what the percent signs of ssh_config stand for, for one host.
type tokens struct {
	home, local, host, original, remote, alias, jump string
	port                                             int
}

func (t tokens) expand(s string, allowed string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) || strings.IndexByte(allowed+"%", s[i]) < 0 {
			return "", fmt.Errorf("unknown %%-token in %q (known here: %%%s)", s, strings.Join(strings.Split(allowed, ""), " %"))
		}
		switch s[i] {
		case '%':
			b.WriteByte('%')
		case 'C':
			b.WriteString(t.hash())
		case 'd':
			b.WriteString(t.home)
		case 'h':
			b.WriteString(t.host)
		case 'i':
			b.WriteString(strconv.Itoa(os.Getuid()))
		case 'j':
			b.WriteString(t.jump)
		case 'k':
			b.WriteString(t.alias)
		case 'L', 'l':
			name, err := os.Hostname()
			if err != nil {
				return "", err
			}
			if s[i] == 'L' {
				name, _, _ = strings.Cut(name, ".")
			}
			b.WriteString(name)
		case 'n':
			b.WriteString(t.original)
		case 'p':
			b.WriteString(strconv.Itoa(t.port))
		case 'r':
			b.WriteString(t.remote)
		case 'u':
			b.WriteString(t.local)
		}
	}
	return b.String(), nil
}

// hash is %C: it names a connection.
func (t tokens) hash() string {
	name, _ := os.Hostname()
	h := sha1.Sum([]byte(name + t.host + strconv.Itoa(t.port) + t.remote + t.jump))
	return hex.EncodeToString(h[:])
}

const (
	fileTokens  = "CdhijkLlnpru"
	proxyTokens = "hnpr"
)

// path expands tokens, ${VARIABLES} and "~" in a file name.
func (t tokens) path(s string) (string, error) {
	s, err := expandTilde(s, t.home)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "${")
		name, rest, closed := strings.Cut(after, "}")
		b.WriteString(before)
		if !found {
			break
		}
		if !closed {
			return "", fmt.Errorf("%q: '${' without '}'", s)
		}
		v, ok := os.LookupEnv(name)
		if !ok {
			return "", fmt.Errorf("%q: the environment variable %s is not set", s, name)
		}
		b.WriteString(strings.ReplaceAll(v, "%", "%%")) // its text is no template
		s = rest
	}
	return t.expand(b.String(), fileTokens)
}

func readCapped(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("larger than %d bytes", limit)
	}
	return data, err
}
