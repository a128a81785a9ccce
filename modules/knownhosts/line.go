package knownhosts

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the format of hashed names is OpenSSH's
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/modules/internal/sshfile"
)

// entry is one line of a known_hosts file that holds a key.
type entry struct {
	marker string   // "@revoked", "@cert-authority" or nothing
	names  []string // as written: "web-01", "[web-01]:2222", "*.example.com", "|1|…"
	key    sshfile.Key
}

const hashMagic = "|1|"

var markers = []string{"@cert-authority", "@revoked"}

// parseLine reads "MARKER NAMES TYPE BASE64 COMMENT". The names may be missing
// where loose is set.
func parseLine(line string, loose bool) (entry, error) {
	var e entry
	rest := strings.TrimSpace(line)
	word, after := cut(rest)
	if strings.HasPrefix(word, "@") {
		if !slices.Contains(markers, word) {
			return e, fmt.Errorf("%q is no marker; there are %s", word, strings.Join(markers, " and "))
		}
		e.marker, rest = word, after
		word, after = cut(rest)
	}
	if !sshfile.IsType(word) && after != "" {
		if next, _ := cut(after); sshfile.IsType(next) || !loose {
			e.names, rest = strings.Split(word, ","), after
		}
	}
	var err error
	if e.key, err = sshfile.ParseKey(rest); err != nil {
		return e, err
	}
	if len(e.names) == 0 && !loose {
		return e, errors.New("there is no name before the key")
	}
	return e, nil
}

func cut(text string) (word, rest string) {
	at := strings.IndexAny(text, " \t")
	if at < 0 {
		return text, ""
	}
	return text[:at], strings.TrimLeft(text[at:], " \t")
}

// String is the line as it is written.
func (e entry) String() string {
	words := []string{strings.Join(e.names, ","), e.key.String()}
	if e.marker != "" {
		words = slices.Insert(words, 0, e.marker)
	}
	return strings.Join(words, " ")
}

// at finds name among the names of the line, hashed ones too. Patterns are
// names of their own: *.example.com is found by itself alone.
func (e entry) at(name string) int {
	return slices.IndexFunc(e.names, func(have string) bool {
		if strings.HasPrefix(have, hashMagic) {
			return hashMatches(have, name)
		}
		return strings.EqualFold(have, name)
	})
}

func (e entry) hashed() bool { return len(e.names) == 1 && strings.HasPrefix(e.names[0], hashMagic) }

// hashMatches compares a name with |1|SALT|HMAC.
func hashMatches(have, name string) bool {
	salt, sum, ok := strings.Cut(strings.TrimPrefix(have, hashMagic), "|")
	if !ok {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(salt)
	want, err2 := base64.StdEncoding.DecodeString(sum)
	return err == nil && err2 == nil && hmac.Equal(want, digest(key, name))
}

func digest(salt []byte, name string) []byte {
	h := hmac.New(sha1.New, salt)
	_, _ = h.Write([]byte(name))
	return h.Sum(nil)
}

// hash hides a name as ssh with HashKnownHosts does.
func hash(name string) string {
	salt := make([]byte, sha1.Size)
	_, _ = rand.Read(salt) // it never fails
	return hashMagic + base64.StdEncoding.EncodeToString(salt) + "|" + base64.StdEncoding.EncodeToString(digest(salt, name))
}

// sshPort is the one that names go without.
const sshPort = 22

// nameOf gives a name the form that ssh looks for: lower case, [host]:port for
// other ports than 22.
func nameOf(name string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("name = %q %s; write one host, such as \"web-01\", \"10.0.0.1\" or \"[web-01]:2222\"", name, why)
	}
	switch {
	case name == "":
		return bad("is empty")
	case strings.Contains(name, ","):
		return bad("has a comma in it")
	case strings.ContainsAny(name, " \t\r\n\x00#@|"):
		return bad("has a character in it that no name has")
	}
	host, port := strings.ToLower(name), ""
	switch {
	case host[0] == '[':
		inner, after, ok := strings.Cut(host[1:], "]")
		if !ok || inner == "" || after != "" && after[0] != ':' {
			return bad("is not [host]:port")
		}
		host, port = inner, strings.TrimPrefix(after, ":")
		if after == ":" {
			return bad("has no port behind the colon")
		}
	case strings.Count(host, ":") == 1: // more are an address of IPv6
		host, port, _ = strings.Cut(host, ":")
	}
	if port == "" {
		return host, nil
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 || host == "" {
		return bad("has no port between 1 and 65535")
	}
	if n == sshPort {
		return host, nil
	}
	return fmt.Sprintf("[%s]:%d", host, n), nil
}

// parseKeys reads what an argument says the keys of name are. A line may begin
// with names, of which name must be one.
func parseKeys(where, text, name string) ([]entry, error) {
	if sshfile.IsPrivate(text) {
		return nil, fmt.Errorf("%s: %w", where, sshfile.ErrPrivate)
	}
	var out []entry
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimRight(line, "\r\n"); sshfile.IsComment(line) {
			continue
		}
		e, err := parseLine(line, true)
		switch {
		case err == nil && strings.ContainsAny(line, "\r\x00"):
			err = errors.New("there is a control character in it")
		case err == nil && len(e.names) > 0 && e.at(name) < 0:
			err = fmt.Errorf("it is a key of %s, not of %s", strings.Join(e.names, ","), name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", where, n, err)
		}
		e.names = []string{name}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no key; ssh-keyscan prints those of a host, which are to be verified", where)
	}
	return out, nil
}
