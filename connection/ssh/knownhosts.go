package ssh

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

const maxKnownHosts = 64 << 20 // bytes a file

// marker is what stands before the host names of a known_hosts line.
type marker int

const (
	plain marker = iota
	authority
	revoked
)

// knownLine is one usable line. Its key is decoded when a host first matches:
// files with ten thousand lines are common, and few lines are asked for.
type knownLine struct {
	file    string
	line    int
	marker  marker
	names   string // host patterns, or |1|salt|hash
	salt    []byte // of a hashed name; nil otherwise
	hash    []byte
	keyType string
	blob    string // base64

	once sync.Once
	key  ssh.PublicKey // nil when the blob is no key
}

// publicKey decodes the line's key, or returns nil.
func (l *knownLine) publicKey() ssh.PublicKey {
	l.once.Do(func() {
		raw, err := base64.StdEncoding.DecodeString(l.blob)
		if err != nil {
			return
		}
		key, err := ssh.ParsePublicKey(raw)
		if err == nil && key.Type() == l.keyType {
			l.key = key
		}
	})
	return l.key
}

// knownHosts is the content of one known_hosts file.
type knownHosts struct {
	lines []*knownLine
	// exact finds lines by name where the names are no patterns; the others
	// have to be tried one by one.
	exact    map[string][]*knownLine
	patterns []*knownLine

	// found remembers answers: hashed names cost an HMAC a line and host.
	mu    sync.Mutex
	found map[string][]*knownLine
}

// keyTypes are the names that OpenSSH knows; a line with another is skipped.
var keyTypes = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoRSA, "ssh-dss", ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256, "ssh-xmss@openssh.com",
}

// parseKnownHosts reads a file's text. Lines that OpenSSH can't use are
// skipped, as it does: one bad line must not lock everybody out.
func parseKnownHosts(file string, text []byte) *knownHosts {
	k := &knownHosts{exact: map[string][]*knownLine{}, found: map[string][]*knownLine{}}
	for i := 1; len(text) > 0; i++ {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		if l := parseKnownLine(string(bytes.Trim(line, " \t\r"))); l != nil {
			l.file, l.line = file, i
			k.add(l)
		}
	}
	return k
}

func parseKnownLine(s string) *knownLine {
	if s == "" || s[0] == '#' {
		return nil
	}
	l := &knownLine{}
	word := func() string {
		i := strings.IndexAny(s, " \t")
		if i < 0 {
			i = len(s)
		}
		w := s[:i]
		s = strings.TrimLeft(s[i:], " \t")
		return w
	}
	l.names = word()
	switch l.names {
	case "@cert-authority":
		l.marker, l.names = authority, word()
	case "@revoked":
		l.marker, l.names = revoked, word()
	}
	if strings.HasPrefix(l.names, "|") {
		l.salt, l.hash = hashedName(l.names)
	}
	l.keyType, l.blob = word(), word()
	if l.names == "" || l.names[0] == '@' || l.blob == "" || !slices.Contains(keyTypes, l.keyType) {
		return nil
	}
	return l
}

func (k *knownHosts) add(l *knownLine) {
	k.lines = append(k.lines, l)
	if strings.ContainsAny(l.names, "*?!|") {
		k.patterns = append(k.patterns, l)
		return
	}
	for name := range strings.SplitSeq(strings.ToLower(l.names), ",") {
		if name != "" && !slices.Contains(k.exact[name], l) {
			k.exact[name] = append(k.exact[name], l)
		}
	}
}

// find returns the lines for a name (in lower case) in the file's order.
func (k *knownHosts) find(name string) []*knownLine {
	k.mu.Lock()
	defer k.mu.Unlock()
	if out, ok := k.found[name]; ok {
		return out
	}
	out := slices.Clone(k.exact[name])
	for _, l := range k.patterns {
		if l.matches(name) {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b *knownLine) int { return a.line - b.line })
	k.found[name] = out
	return out
}

func (l *knownLine) matches(name string) bool {
	if !strings.HasPrefix(l.names, "|") {
		return matchList(name, l.names, true)
	}
	return l.salt != nil && hmac.Equal(hashName(name, l.salt), l.hash)
}

// hashedName decodes |1|salt|hash; salt is nil when it is something else.
func hashedName(s string) (salt, hash []byte) {
	f := strings.Split(s, "|") // "", "1", salt, hash
	if len(f) != 4 || f[1] != "1" {
		return nil, nil
	}
	salt, err := base64.StdEncoding.DecodeString(f[2])
	hash, err2 := base64.StdEncoding.DecodeString(f[3])
	if err != nil || err2 != nil {
		return nil, nil
	}
	return salt, hash
}

func hashName(name string, salt []byte) []byte {
	h := hmac.New(sha1.New, salt)
	h.Write([]byte(name))
	return h.Sum(nil)
}

// knownFiles caches what has been read, for all hosts of a Dialer.
type knownFiles struct {
	mu    sync.Mutex
	files map[string]*knownHosts
}

// find collects the lines for a name from several files.
func (k *knownFiles) find(name string, paths ...string) ([]*knownLine, error) {
	var out []*knownLine
	for _, p := range paths {
		f, err := k.load(p)
		if err != nil {
			return nil, err
		}
		out = append(out, f.find(name)...)
	}
	return out, nil
}

func (k *knownFiles) load(path string) (*knownHosts, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.files[path]; f != nil {
		return f, nil
	}
	var text []byte
	f, err := os.Open(path)
	if err == nil {
		text, err = readCapped(f, maxKnownHosts)
		f.Close()
	}
	// What may not be read knows nobody, as with OpenSSH: the verdict is then
	// "unknown", which is safe.
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("read known hosts: %w", err)
	}
	parsed := parseKnownHosts(path, text)
	if k.files == nil {
		k.files = map[string]*knownHosts{}
	}
	k.files[path] = parsed
	return parsed, nil
}

// remember appends a key under a name, creating file (0600) and folder (0700).
func (k *knownFiles) remember(path, name string, key ssh.PublicKey, hashed bool) error {
	shown := name
	if hashed {
		salt := make([]byte, sha1.Size)
		if _, err := rand.Read(salt); err != nil {
			return err
		}
		e := base64.StdEncoding.EncodeToString
		shown = "|1|" + e(salt) + "|" + e(hashName(name, salt))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	line := shown + " " + string(ssh.MarshalAuthorizedKey(key))
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, st.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := f.WriteString(line); err != nil {
		return err
	}
	delete(k.files, path) // read again by the next who asks
	if path == os.DevNull {
		return nil
	}
	return f.Close()
}
