package sysctl

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/spec"
)

const procSys = "/proc/sys"

// key is a parameter in both of its forms.
type key struct {
	name  string   // as it was given, without blanks
	parts []string // of the path below /proc/sys
}

// parseKey takes net.ipv4.ip_forward and net/ipv4/ip_forward. Whichever of dot
// and slash comes first parts the names, as in sysctl(8); the other one then
// stands for it in a name: net/ipv4/conf/eth0.1/forwarding.
func parseKey(name string) (key, error) {
	name = strings.TrimSpace(name)
	wrong := func(why string) (key, error) {
		return key{}, fmt.Errorf("name = %q is no parameter: %s; it looks like net.ipv4.ip_forward", name, why)
	}
	if name == "" || name[0] == '-' || strings.ContainsAny(name, " \t\r\n\x00=#;*?[]") {
		return wrong("it is empty, or has -, blanks, = or the like in it")
	}
	text := name
	if at := strings.IndexAny(name, "./"); at >= 0 && name[at] == '.' {
		text = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, name)
	}
	parts := strings.Split(text, "/")
	if slices.ContainsFunc(parts, func(p string) bool { return strings.Trim(p, ".") == "" }) {
		return wrong("a part of it is empty")
	}
	return key{name: name, parts: parts}, nil
}

func (k key) path() string { return path.Join(append([]string{procSys}, k.parts...)...) }

// is reports whether a name in a file is that of the same parameter.
func (k key) is(name string) bool {
	other, err := parseKey(name)
	return err == nil && slices.Equal(other.parts, k.parts)
}

// value reads the running kernel. known is false when it has no such parameter.
func (k key) value(v facts.Viewer) (text string, known bool, err error) {
	st, err := v.Stat(k.path())
	if hostfile.Missing(err) || hostfile.NotFolder(err) || err == nil && st.Mode.IsDir() {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	if st.Mode.Perm()&0o444 == 0 {
		return "", true, fmt.Errorf("%s can only be written, so nobody can tell whether it has a value; use exec.run", k.name)
	}
	b, err := hostfile.Read(v, k.path())
	if err != nil {
		return "", true, fmt.Errorf("%s: %w", k.name, err)
	}
	return strings.TrimSpace(string(b)), true, nil
}

// unknown is the error about a parameter that the kernel does not have. It
// names the nearest one beside the place where the name leaves what there is.
func (k key) unknown(v facts.Viewer) error {
	at := procSys
	for i, part := range k.parts {
		next := path.Join(at, part)
		if st, err := v.Stat(next); err == nil && st.Mode.IsDir() && i+1 < len(k.parts) {
			at = next
			continue
		}
		var known []string
		list, err := v.ReadDir(at)
		if err != nil {
			break
		}
		for _, st := range list {
			known = append(known, st.Name)
		}
		if near := spec.Nearest(part, known); near != "" && near != part {
			parts := slices.Clone(k.parts)
			parts[i] = near
			sep := "."
			if strings.Contains(strings.Join(parts, ""), ".") {
				sep = "/"
			}
			return fmt.Errorf("the kernel has no parameter %q; did you mean %q?", k.name, strings.Join(parts, sep))
		}
		break
	}
	return fmt.Errorf("the kernel has no parameter %q; the module that brings it may not be loaded, and ignoreerrors = true sets it in the file alone", k.name)
}

// same compares values by their words: the kernel puts tabs between them.
func same(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }
