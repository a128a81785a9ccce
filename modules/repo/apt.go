package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

const (
	aptList    = "/etc/apt/sources.list"
	aptFolder  = "/etc/apt/sources.list.d"
	keyrings   = "/etc/apt/keyrings"
	present    = modules.Present
	signedBy   = "Signed-By"
	dotSources = ".sources"
	dotList    = ".list"
)

// apt is repo.apt.
type apt struct {
	worker
	Line       string   `lua:"line,primary" alias:"repo" doc:"The repository as one line (\"deb [signed-by=…] URI SUITE COMPONENT\"), instead of uris, suites and components"`
	Name       string   `lua:"name" doc:"Name of its file below /etc/apt/sources.list.d; a line has one of its own, made of the address"`
	URIs       []string `lua:"uris" alias:"uri,url" doc:"Where it is"`
	Suites     []string `lua:"suites" alias:"suite" doc:"Distributions, such as \"bookworm\", or folders that end in /"`
	Components []string `lua:"components" alias:"component" doc:"Parts of the distribution; a suite that is a folder has none"`
	Types      []string `lua:"types" alias:"type" doc:"What is taken from it: deb, deb-src or both"`
	Archs      []string `lua:"architectures" alias:"architecture,arch" doc:"Architectures that are taken from it; without it those of the host"`
	signature
	Enabled bool              `lua:"enabled" doc:"Whether apt looks into it"`
	Options map[string]string `lua:"options" doc:"Further fields, such as { [\"Check-Valid-Until\"] = \"no\" }"`
	State   string            `lua:"state" enum:"present,absent" doc:"Whether it must be there"`
	Update  bool              `lua:"update_cache" doc:"Bring the lists of packages up to date when something changed; when that fails, what was written is taken back"`

	line sourceLine
}

func newApt() any {
	return &apt{Types: []string{"deb"}, Enabled: true, State: present, Update: true}
}

var (
	nameForm  = form(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	fieldForm = form(`^[A-Za-z][A-Za-z0-9-]*$`)
	aptSchema = form(`^(https?|ftp|file|copy|cdrom|mirror(\+[a-z]+)?|tor\+https?|ssh|rsh|s3):`)
)

func checkName(name string) error {
	if !nameForm().MatchString(name) || len(name) > 200 {
		return fmt.Errorf("name = %q is no name of a file of repositories: letters, digits, _, - and . after a letter or digit", name)
	}
	return nil
}

// Validate checks what the tags cannot say.
func (a *apt) Validate() error {
	if a.Line != "" {
		return a.validateLine()
	}
	if a.Name == "" {
		return errors.New("name is missing: name of its file below /etc/apt/sources.list.d")
	}
	if err := checkName(a.Name); err != nil {
		return err
	}
	if a.State != present {
		return nil
	}
	if err := a.checkKey(); err != nil {
		return err
	}
	for what, list := range map[string][]string{"uris": a.URIs, "suites": a.Suites, "components": a.Components, "types": a.Types, "architectures": a.Archs} {
		for _, word := range list {
			if word == "" || strings.ContainsAny(word, " \t\r\n\x00") {
				return fmt.Errorf("%s: %q is no word", what, word)
			}
		}
	}
	switch {
	case len(a.URIs) == 0:
		return errors.New("uris is missing: where it is; or give the repository as one line")
	case len(a.Suites) == 0:
		return errors.New("suites is missing: distributions, such as \"bookworm\", or folders that end in /")
	}
	for _, u := range a.URIs {
		if !aptSchema().MatchString(u) {
			return fmt.Errorf("uris: %q is no address that apt knows, such as \"https://deb.example.com\"", u)
		}
	}
	for _, s := range a.Suites {
		if flat := strings.HasSuffix(s, "/"); flat && len(a.Components) > 0 {
			return fmt.Errorf("the suite %q is a folder, which has no components", s)
		} else if !flat && len(a.Components) == 0 {
			return fmt.Errorf("components is missing: parts of %s, often \"main\"", s)
		}
	}
	for _, t := range a.Types {
		if t != "deb" && t != "deb-src" {
			return fmt.Errorf("types: %q is neither deb nor deb-src", t)
		}
	}
	for field, value := range a.Options {
		if !fieldForm().MatchString(field) || strings.ContainsAny(value, "\r\n\x00") || value == "" {
			return fmt.Errorf("options: %s = %q is no field of a repository", field, value)
		}
	}
	return nil
}

// Result adds the path.
func (a *apt) Result() map[string]any { return map[string]any{"path": a.path()} }

func (a *apt) path() string {
	if a.Line != "" {
		return filepath.Join(aptFolder, a.Name+dotList)
	}
	return filepath.Join(aptFolder, a.Name+dotSources)
}

// Check compares the files.
func (a *apt) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	a.w = work{}
	if _, err := v.Stat(aptFolder); hostfile.Missing(err) {
		return a.w.diff, fmt.Errorf("there is no %s, so this host has no apt; repo.add goes by the package manager that is there", aptFolder)
	}
	var err error
	switch {
	case a.Line != "":
		err = a.checkLine(ctx, v)
	case a.State != present:
		err = a.gone(v)
	default:
		err = a.there(ctx, v)
	}
	a.w.refresh = a.Update && !a.w.diff.Empty()
	return a.w.diff, err
}

func (a *apt) there(ctx context.Context, v facts.Viewer) error {
	by, err := a.signer(ctx, v)
	if err != nil {
		return err
	}
	return a.w.file(ctx, v, a.path(), a.text(by))
}

// signer brings the key about and returns its file.
func (a *apt) signer(ctx context.Context, v facts.Viewer) (string, error) {
	if a.Key == "" {
		return "", nil
	}
	armored, binary := keyFile(a.Name, publicKey{armored: true}), keyFile(a.Name, publicKey{})
	k, err := a.load(ctx, v, armored, binary)
	if a.onHost() && hostfile.Missing(err) && hostfile.Unsure(v) {
		return a.Key, nil
	}
	if err != nil || a.onHost() {
		return a.Key, err
	}
	mine, other := armored, binary
	if !k.armored {
		mine, other = binary, armored
	}
	if err := a.w.bytes(ctx, v, mine, k.data); err != nil {
		return "", err
	}
	return mine, a.w.remove(v, other)
}

func (a *apt) text(signer string) string {
	var out strings.Builder
	add := func(field, value string) {
		if value != "" {
			out.WriteString(field + ": " + value + "\n")
		}
	}
	if !a.Enabled {
		add("Enabled", "no")
	}
	add("Types", strings.Join(a.Types, " "))
	add("URIs", strings.Join(a.URIs, " "))
	add("Suites", strings.Join(a.Suites, " "))
	add("Components", strings.Join(a.Components, " "))
	add("Architectures", strings.Join(a.Archs, " "))
	add(signedBy, signer)
	for _, field := range slices.Sorted(maps.Keys(a.Options)) {
		add(field, a.Options[field])
	}
	return out.String()
}

// gone removes the file, and the key where nothing else is signed with it.
func (a *apt) gone(v facts.Viewer) error {
	mine := []string{filepath.Join(aptFolder, a.Name+dotSources), filepath.Join(aptFolder, a.Name+dotList)}
	for _, path := range mine {
		if err := a.w.remove(v, path); err != nil {
			return err
		}
	}
	for _, key := range []string{keyFile(a.Name, publicKey{armored: true}), keyFile(a.Name, publicKey{})} {
		used, err := mentioned(v, key, mine)
		if err != nil {
			return err
		}
		if used {
			continue
		}
		if err := a.w.remove(v, key); err != nil {
			return err
		}
	}
	return nil
}

// mentioned reports whether a file of apt, other than those, speaks of key.
func mentioned(v facts.Viewer, key string, but []string) (bool, error) {
	files, err := aptFiles(v)
	if err != nil {
		return false, err
	}
	for _, path := range files {
		if slices.Contains(but, path) {
			continue
		}
		data, err := hostfile.Read(v, path)
		if err != nil {
			return false, err
		}
		if strings.Contains(string(data), key) {
			return true, nil
		}
	}
	return false, nil
}

// aptFiles are those that apt reads.
func aptFiles(v facts.Viewer) ([]string, error) {
	var out []string
	if _, err := v.Stat(aptList); err == nil {
		out = append(out, aptList)
	}
	list, err := v.ReadDir(aptFolder)
	if err != nil && !hostfile.Missing(err) {
		return nil, err
	}
	for _, f := range list {
		name, source := strings.CutSuffix(f.Name, dotSources)
		if !source {
			name, source = strings.CutSuffix(f.Name, dotList)
		}
		if source && nameForm().MatchString(name) {
			out = append(out, f.Path)
		}
	}
	return out, nil
}

// nameOf makes a name of an address, the one that Ansible's apt_repository
// makes too.
func nameOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "repository"
	}
	text := strings.Trim(u.Host+u.Path, "/")
	if _, after, ok := strings.Cut(text, "@"); ok {
		text = after
	}
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}), "_")
}

// form compiles a pattern at its first use: a host that has no need of it pays nothing.
func form(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
