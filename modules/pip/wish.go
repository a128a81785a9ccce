package pip

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// wish is one requirement: "django[bcrypt]>=4,<5", an address or a file.
type wish struct {
	text    string // as pip is told
	name    string // normalized; empty when it cannot be told
	version string // what must fit: "==1.2"
	marker  string
}

var (
	wishForm = form(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[A-Za-z0-9._, -]*\])?\s*\(?([^;()@]*)\)?$`)
	eggForm  = form(`[#&]egg=([A-Za-z0-9._-]+)`)
	runs     = form(`[-_.]+`)
)

// normalize makes one of all spellings of a name (PEP 503).
func normalize(name string) string { return strings.ToLower(runs().ReplaceAllString(name, "-")) }

func parseWish(text string) (wish, error) {
	w := wish{text: strings.TrimSpace(text)}
	if w.text == "" || strings.HasPrefix(w.text, "-") || strings.ContainsAny(w.text, "\r\n\x00") {
		return w, fmt.Errorf("%q is no package", text)
	}
	head, marker, _ := strings.Cut(w.text, ";")
	w.marker = strings.TrimSpace(marker)
	head = strings.TrimSpace(head)
	if m := eggForm().FindStringSubmatch(head); m != nil {
		w.name = normalize(m[1])
		return w, nil
	}
	if name, _, ok := strings.Cut(head, "@"); ok && strings.Contains(head, "://") && wishForm().MatchString(strings.TrimSpace(name)) {
		w.name = normalize(wishForm().FindStringSubmatch(strings.TrimSpace(name))[1])
		return w, nil
	}
	if strings.HasSuffix(head, ".whl") { // NAME-VERSION-…whl
		parts := strings.Split(filepath.Base(head), "-")
		if len(parts) >= 5 {
			w.name, w.version = normalize(parts[0]), "=="+parts[1]
			return w, nil
		}
	}
	if strings.Contains(head, "://") || strings.ContainsAny(head, "/") {
		return w, fmt.Errorf("%q does not say its name; write \"NAME @ %s\", so that it can be looked for", text, head)
	}
	m := wishForm().FindStringSubmatch(head)
	if m == nil || m[2] != "" && !strings.ContainsAny(m[2][:1], "=<>!~") {
		return w, fmt.Errorf("%q is no package; write \"django\", \"django==4.2\" or \"django>=4,<5\"", text)
	}
	w.name, w.version = normalize(m[1]), strings.Join(strings.Fields(m[2]), "")
	_, err := satisfies("0", w.version)
	return w, err
}

const maxRequirements = 16 // files that include each other

// requirements reads a file of wishes, and those that it includes.
func requirements(v facts.Viewer, path string, depth int) ([]wish, error) {
	if depth > maxRequirements {
		return nil, fmt.Errorf("%s: files of requirements include each other too deeply", path)
	}
	data, err := hostfile.Read(v, path)
	if err != nil {
		return nil, err
	}
	var out []wish
	text := strings.ReplaceAll(strings.ReplaceAll(string(data), "\r\n", "\n"), "\\\n", " ")
	n := 0
	for line := range strings.Lines(text) {
		n++
		if at := strings.Index(" "+line, " #"); at >= 0 {
			line = line[:at]
		}
		line = strings.TrimSpace(line)
		if at := strings.Index(line, " --"); at >= 0 { // --hash and the like
			line = strings.TrimSpace(line[:at])
		}
		option, rest, _ := strings.Cut(strings.Replace(line, "=", " ", 1), " ")
		switch {
		case line == "":
		case option == "-r" || option == "--requirement":
			more, err := requirements(v, filepath.Join(filepath.Dir(path), strings.TrimSpace(rest)), depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		case option == "-e" || option == "--editable":
			w, err := parseWish(rest)
			if err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", path, n, err)
			}
			out = append(out, w)
		case strings.HasPrefix(line, "-"):
		default:
			w, err := parseWish(line)
			if err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", path, n, err)
			}
			out = append(out, w)
		}
	}
	return out, nil
}

var markerForm = form(`^\(?\s*([a-z_.]+)\s*(==|!=|<=|>=|<|>)\s*['"]([^'"]*)['"]\s*\)?$`)

// applies judges the markers that are about system and version of Python; what
// else they ask counts as met.
func (w wish) applies(python string) bool {
	if w.marker == "" {
		return true
	}
	for either := range strings.SplitSeq(w.marker, " or ") {
		all := true
		for clause := range strings.SplitSeq(either, " and ") {
			all = all && clauseMet(strings.TrimSpace(clause), python)
		}
		if all {
			return true
		}
	}
	return false
}

func clauseMet(clause, python string) bool {
	m := markerForm().FindStringSubmatch(clause)
	if m == nil {
		return true
	}
	known := map[string]string{"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
	if m[1] == "python_version" && python != "" {
		ok, err := satisfies(python, m[2]+m[3])
		return ok || err != nil
	}
	is, ok := known[m[1]]
	switch {
	case !ok:
		return true
	case m[2] == "==":
		return is == m[3]
	case m[2] == "!=":
		return is != m[3]
	}
	return true
}
