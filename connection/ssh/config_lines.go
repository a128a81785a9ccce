package ssh

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
)

// The reading of ssh_config follows OpenSSH's readconf.c, whose answer
// (`ssh -G`) is what users expect. kevinburke/ssh_config reads simpler files
// the same way (a test compares), but takes '#' in a ProxyCommand for a
// comment, '?' for an optional character, splits only at single blanks and
// refuses a whole file for one Match it does not know.

// configLine is one directive with its place. Files are read once per Dialer
// and evaluated per host.
type configLine struct {
	file    string
	line    int
	keyword string         // in lower case
	rest    string         // what follows it, for directives that take a command
	args    []string       // the same, split
	include [][]configLine // files of an Include, in order
	user    bool           // from the user's own file: "~" allowed, paths below ~/.ssh
}

func (l *configLine) errorf(format string, args ...any) error {
	return &ConfigError{File: l.file, Line: l.line, Message: fmt.Sprintf(format, args...)}
}

// ConfigError is a directive that OpenSSH would refuse, too.
type ConfigError struct {
	File    string
	Line    int
	Message string
}

func (e *ConfigError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message)
}

const (
	maxIncludeDepth = 16        // as OpenSSH
	maxConfigSize   = 4 << 20   // bytes a file
	maxConfigLines  = 1 << 17   // all files together
	blanks          = " \t\r\n" // what separates words
)

// configReader reads a file with everything it includes.
type configReader struct {
	home    string
	lines   int
	unknown []string // patterns of IgnoreUnknown seen so far
	errs    []error
	warn    func(string)
}

// readFile reads one file. Only the user's own default file has its owner and
// mode checked, as OpenSSH does.
func (r *configReader) readFile(path string, isUser, check bool, depth int) ([]configLine, error) {
	if depth > maxIncludeDepth {
		return nil, &ConfigError{File: path, Message: "too many recursive configuration includes"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() && depth > 0 {
		return nil, &ConfigError{File: path, Message: "is no regular file"}
	}
	if check {
		sys, ok := st.Sys().(*syscall.Stat_t)
		if ok && (sys.Uid != 0 && int(sys.Uid) != os.Getuid() || st.Mode()&0o022 != 0) {
			return nil, &ConfigError{File: path, Message: "bad owner or permissions: others may write to it (chmod go-w " + path + ")"}
		}
	}
	if st.Size() > maxConfigSize {
		return nil, &ConfigError{File: path, Message: "is larger than 4 MB"}
	}
	data, err := readCapped(f, maxConfigSize)
	if err != nil {
		return nil, err
	}
	return r.read(path, string(data), isUser, check, depth), nil
}

// read splits a file's text; what is wrong with it is collected in r.errs.
func (r *configReader) read(path, text string, isUser, check bool, depth int) []configLine {
	var out []configLine
	for i, s := range strings.Split(text, "\n") {
		if r.lines++; r.lines > maxConfigLines {
			r.errs = append(r.errs, &ConfigError{File: path, Line: i + 1, Message: "too many lines"})
			break
		}
		l := configLine{file: path, line: i + 1, user: isUser}
		ok, err := l.parse(s)
		if err == nil && ok {
			err = r.accept(&l, check, depth)
		}
		if err != nil {
			r.errs = append(r.errs, err)
			continue
		}
		if ok && l.keyword != "" {
			out = append(out, l)
		}
	}
	return out
}

// accept checks a directive and reads what it includes. It empties the
// keyword of a directive that means nothing.
func (r *configReader) accept(l *configLine, check bool, depth int) error {
	d, known := directives[l.keyword]
	if !known {
		for _, p := range r.unknown {
			if matchPattern(l.keyword, p) {
				l.keyword = ""
				return nil
			}
		}
		return l.errorf("bad configuration option: %s", l.keyword)
	}
	if d.alias != "" {
		l.keyword = d.alias
		d = directives[l.keyword]
	}
	if err := d.check(l); err != nil {
		return err
	}
	switch l.keyword {
	case "ignoreunknown":
		if r.unknown == nil { // first value wins
			r.unknown = strings.Split(strings.ToLower(l.args[0]), ",")
		}
	case "match":
		return r.checkMatch(l)
	case "include":
		return r.include(l, check, depth)
	}
	return nil
}

func (r *configReader) include(l *configLine, check bool, depth int) error {
	for _, arg := range l.args {
		switch {
		case strings.HasPrefix(arg, "~"):
			if !l.user {
				return l.errorf("bad include path %s", arg)
			}
			p, err := expandTilde(arg, r.home)
			if err != nil {
				return l.errorf("%v", err)
			}
			arg = p
		case !filepath.IsAbs(arg) && l.user:
			arg = filepath.Join(r.home, ".ssh", arg)
		case !filepath.IsAbs(arg):
			arg = filepath.Join("/etc/ssh", arg)
		}
		names, err := filepath.Glob(arg)
		if err != nil {
			return l.errorf("include %s: %v", arg, err)
		}
		sort.Strings(names)
		for _, name := range names {
			lines, err := r.readFile(name, l.user, check, depth+1)
			var ce *ConfigError
			switch {
			case errors.Is(err, os.ErrNotExist):
				continue
			case errors.As(err, &ce):
				return ce
			case err != nil:
				return l.errorf("include: %v", err)
			}
			l.include = append(l.include, lines)
		}
	}
	return nil
}

// parse splits a line as OpenSSH does; ok is false for blank lines and comments.
func (l *configLine) parse(s string) (ok bool, err error) {
	s = strings.TrimRight(s, blanks+"\f")
	keyword, rest, found := nextToken(s)
	if found && keyword == "" { // leading blanks
		keyword, rest, found = nextToken(rest)
	}
	if !found || keyword == "" || keyword[0] == '#' {
		return false, nil
	}
	l.keyword = strings.ToLower(keyword)
	l.rest = strings.TrimLeft(rest, blanks)
	if l.rest == "" {
		return false, l.errorf("no argument after keyword %q", l.keyword)
	}
	if l.args, ok = splitArguments(l.rest); !ok {
		return false, l.errorf("invalid quotes")
	}
	return true, nil
}

// nextToken is OpenSSH's strdelim: a word ends at blanks, or at one '=' among
// blanks; a double quote starts a word that ends at the next one.
func nextToken(s string) (word, rest string, ok bool) {
	if s == "" {
		return "", "", false
	}
	i := strings.IndexAny(s, blanks+`"=`)
	if i < 0 {
		return s, "", true
	}
	if s[i] == '"' {
		end := strings.IndexByte(s[i+1:], '"')
		if end < 0 {
			return "", "", false
		}
		word = s[:i] + s[i+1:i+1+end]
		return word, strings.TrimLeft(s[i+end+2:], blanks), true
	}
	equals := s[i] == '='
	rest = strings.TrimLeft(s[i+1:], blanks)
	if !equals && strings.HasPrefix(rest, "=") {
		rest = strings.TrimLeft(rest[1:], blanks)
	}
	return s[:i], rest, true
}

// splitArguments is OpenSSH's argv_split: both kinds of quotes, backslash
// before a quote, a backslash or a blank, and '#' at the start of a word ends
// the line.
func splitArguments(s string) ([]string, bool) {
	var out []string
	for i := 0; i < len(s); {
		if s[i] == ' ' || s[i] == '\t' {
			i++
			continue
		}
		if s[i] == '#' {
			break
		}
		var word strings.Builder
		var quote byte
	word:
		for ; i < len(s); i++ {
			c := s[i]
			switch {
			case c == '\\':
				if i+1 < len(s) && (strings.IndexByte(`'"\`, s[i+1]) >= 0 || quote == 0 && s[i+1] == ' ') {
					i++
				}
				word.WriteByte(s[i])
			case quote == 0 && (c == ' ' || c == '\t'):
				break word
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			case quote != 0 && c == quote:
				quote = 0
			default:
				word.WriteByte(c)
			}
		}
		if quote != 0 {
			return nil, false
		}
		out = append(out, word.String())
	}
	return out, true
}

// matchPattern knows '*' and '?', and nothing else, as OpenSSH. It needs time
// in proportion to len(s)*len(pattern) at worst.
func matchPattern(s, pattern string) bool {
	var i, j int
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '*':
			star, mark = j, i
			j++
		case j < len(pattern) && (pattern[j] == '?' || pattern[j] == s[i]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	for j < len(pattern) && pattern[j] == '*' {
		j++
	}
	return j == len(pattern)
}

// matchList matches a comma-separated list: a negated match beats all others.
func matchList(s, list string, fold bool) bool {
	if fold {
		s, list = strings.ToLower(s), strings.ToLower(list)
	}
	found := false
	for _, p := range strings.Split(list, ",") {
		if n, ok := strings.CutPrefix(p, "!"); ok {
			if matchPattern(s, n) {
				return false
			}
		} else if matchPattern(s, p) {
			found = true
		}
	}
	return found
}

// expandTilde replaces "~" and "~user".
func expandTilde(path, home string) (string, error) {
	if !strings.HasPrefix(path, "~") {
		return path, nil
	}
	name, rest, _ := strings.Cut(path[1:], "/")
	if name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("no such user %s", strconv.Quote(name))
		}
		home = u.HomeDir
	}
	return filepath.Join(home, rest), nil
}
