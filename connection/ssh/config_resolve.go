package ssh

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// configFiles is what has been read of ssh_config, for all hosts.
type configFiles struct {
	lines []configLine // the user's file, then the system's
	local string       // name of the account sloth runs as
}

// values collects the directives of one host: the first value wins, except
// where values add up.
type values map[string][]string

func (v values) first(key string) string {
	if len(v[key]) == 0 {
		return ""
	}
	return v[key][0]
}

// is reports whether a flag says yes.
func (v values) is(key string) bool {
	s := v.first(key)
	return strings.EqualFold(s, "yes") || strings.EqualFold(s, "true")
}

// isnt reports whether a flag says no.
func (v values) isnt(key string) bool {
	s := v.first(key)
	return strings.EqualFold(s, "no") || strings.EqualFold(s, "false")
}

// set records one directive.
func (v values) set(l *configLine) {
	d := directives[l.keyword]
	switch l.keyword {
	case "proxycommand", "proxyjump":
		// One of the two counts, whichever comes first.
		if v["proxycommand"] == nil && v["proxyjump"] == nil {
			v[l.keyword] = []string{strings.TrimLeft(l.rest, blanks+"=")}
		}
		return
	}
	switch {
	case d.kind == kindAny:
	case d.kind == kindRest:
		if v[l.keyword] == nil {
			v[l.keyword] = []string{strings.TrimLeft(l.rest, blanks+"=")}
		}
	case d.many:
		for _, old := range v[l.keyword] {
			if old == l.args[0] {
				return
			}
		}
		v[l.keyword] = append(v[l.keyword], l.args[0])
	case v[l.keyword] == nil:
		v[l.keyword] = l.args
	}
}

// loadConfig reads the files: path alone when it is given ("none": nothing),
// else ~/.ssh/config and /etc/ssh/ssh_config. A file that is missing is empty
// unless it was asked for.
func loadConfig(path, home, local string, warn func(string)) (*configFiles, error) {
	r := &configReader{home: home, warn: warn}
	out := &configFiles{local: local}
	if path != "" {
		if path == "none" {
			return out, nil
		}
		lines, err := r.readFile(path, true, false, 0)
		if err != nil {
			return nil, configTrouble(path, err)
		}
		out.lines = lines
		return out, configTrouble(path, errors.Join(r.errs...))
	}
	for _, f := range []struct {
		path string
		user bool
	}{{filepath.Join(home, ".ssh", "config"), true}, {"/etc/ssh/ssh_config", false}} {
		lines, err := r.readFile(f.path, f.user, f.user, 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, configTrouble(f.path, err)
		}
		out.lines = append(out.lines, lines...)
		// A Host block ends with its file.
		out.lines = append(out.lines, configLine{file: f.path, keyword: "match", rest: "all", args: []string{"all"}})
	}
	return out, configTrouble("ssh_config", errors.Join(r.errs...))
}

func configTrouble(path string, err error) error {
	var ce *ConfigError
	if err == nil || errors.As(err, &ce) {
		return err
	}
	return fmt.Errorf("read ssh configuration %s: %w", path, err)
}

// commandLine turns -o options into lines that come before every file.
func commandLine(options map[string]string, home string, warn func(string)) ([]configLine, error) {
	keys := make([]string, 0, len(options))
	for k := range options {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	r := &configReader{home: home, warn: warn}
	var out []configLine
	for _, k := range keys {
		l := configLine{file: "option -o " + k, user: true}
		_, err := l.parse(k + "=" + options[k])
		if err == nil && (l.keyword == "host" || l.keyword == "match" || l.keyword == "include") {
			err = l.errorf("cannot be given on the command line")
		}
		if err == nil {
			err = r.accept(&l, false, 0)
		}
		if err != nil {
			return nil, err
		}
		if l.keyword != "" {
			out = append(out, l)
		}
	}
	return out, nil
}

// resolve evaluates the files for one host argument on top of what the command
// line set.
func (c *configFiles) resolve(host string, given []configLine) values {
	v := values{}
	for i := range given {
		v.set(&given[i])
	}
	e := &evaluation{values: v, host: host, original: host, local: c.local}
	e.apply(c.lines, true)
	if e.wantFinal {
		// The second pass knows the name that the first one found.
		e.final = true
		e.host = e.hostName()
		e.apply(c.lines, true)
	}
	return v
}

type evaluation struct {
	values
	host, original, local string
	final, wantFinal      bool
}

// hostName is HostName so far, or the host argument.
func (e *evaluation) hostName() string {
	if h := e.first("hostname"); h != "" {
		return strings.NewReplacer("%%", "%", "%h", e.original).Replace(h)
	}
	return e.original
}

// apply runs over lines; Host and Match switch active on and off, and what
// they did in an included file ends with it.
func (e *evaluation) apply(lines []configLine, active bool) {
	enclosing := active
	for i := range lines {
		l := &lines[i]
		switch l.keyword {
		case "host":
			active = enclosing && e.matchHost(l.args)
		case "match":
			active = e.match(l.rest) && enclosing
		case "include":
			for _, f := range l.include {
				e.apply(f, active)
			}
		default:
			if active {
				e.set(l)
			}
		}
	}
}

func (e *evaluation) matchHost(patterns []string) bool {
	found := false
	for _, p := range patterns {
		if n, ok := strings.CutPrefix(p, "!"); ok {
			if matchPattern(e.host, n) {
				return false
			}
		} else if matchPattern(e.host, p) {
			found = true
		}
	}
	return found
}

// match evaluates the criteria of a Match that checkMatch has accepted.
func (e *evaluation) match(rest string) bool {
	result := true
	for word, rest, ok := nextToken(rest); ok && word != "" && word[0] != '#'; word, rest, ok = nextToken(rest) {
		name, negated := strings.CutPrefix(word, "!")
		name = strings.ToLower(name)
		var hit bool
		switch name {
		case "all":
			return result && !negated
		case "canonical", "final":
			e.wantFinal = e.wantFinal || name == "final"
			hit = e.final
		default:
			var arg string
			arg, rest, _ = nextToken(rest)
			switch name {
			case "host":
				host := e.host
				if e.first("hostname") != "" {
					host = e.hostName()
				}
				hit = matchList(host, arg, true)
			case "originalhost":
				hit = matchList(e.original, arg, true)
			case "user":
				u := e.first("user")
				if u == "" {
					u = e.local
				}
				hit = matchList(u, arg, false)
			case "localuser":
				hit = matchList(e.local, arg, false)
			case "tagged":
				hit = matchList(e.first("tag"), arg, false)
			default:
				return false // exec and others: warned about when the file was read
			}
		}
		if hit == negated {
			result = false
		}
	}
	return result
}

// checkMatch refuses what OpenSSH refuses, and warns about criteria that only
// ssh can judge: such a block never applies here.
func (r *configReader) checkMatch(l *configLine) error {
	n := 0
	rest := l.rest
	for {
		word, after, ok := nextToken(rest)
		if !ok || word == "" || word[0] == '#' {
			break
		}
		rest = after
		name := strings.ToLower(strings.TrimPrefix(word, "!"))
		if name == "all" {
			if arg, _, ok := nextToken(rest); n > 1 || ok && arg != "" && arg[0] != '#' {
				return l.errorf("bad Match condition: 'all' cannot be combined with other Match attributes")
			}
			return nil
		}
		n++
		if name == "canonical" || name == "final" {
			continue
		}
		arg, after, ok := nextToken(rest)
		if !ok || arg == "" || arg[0] == '#' {
			return l.errorf("bad Match condition: missing Match criteria for %s", name)
		}
		rest = after
		switch name {
		case "host", "originalhost", "user", "localuser", "tagged":
		default:
			if r.warn != nil {
				r.warn(fmt.Sprintf("%s:%d: a Match block with '%s' is skipped: sloth does not evaluate it", l.file, l.line, name))
			}
		}
	}
	if n == 0 {
		return l.errorf("bad Match condition: one or more attributes required for Match")
	}
	return nil
}
