package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

const (
	dnfFolder    = "/etc/yum.repos.d"
	zypperFolder = "/etc/zypp/repos.d"
	rpmKeys      = "/etc/pki/rpm-gpg"
	zyppKeys     = "/etc/zypp/keys"
	dotRepo      = ".repo"
)

// rpm is repo.dnf and repo.zypper: a section of a .repo file.
type rpm struct {
	worker
	Name        string   `lua:"name,required,primary" alias:"id" doc:"Name of the repository: the section, and its file unless file says another"`
	Description string   `lua:"description" alias:"summary" doc:"What people read of it; the name without it"`
	BaseURL     []string `lua:"baseurl" alias:"url" doc:"Where it is"`
	MirrorList  string   `lua:"mirrorlist" doc:"Address of a list of places instead"`
	Metalink    string   `lua:"metalink" doc:"Address of a metalink instead"`
	Enabled     *bool    `lua:"enabled" doc:"Whether it is looked into; it is without this"`
	GPGCheck    bool     `lua:"gpgcheck" doc:"Whether packages must be signed"`
	RepoCheck   *bool    `lua:"repo_gpgcheck" doc:"Whether the lists must be signed"`
	GPGKey      []string `lua:"gpgkey" doc:"Addresses of the keys, which the package manager fetches itself, instead of key"`
	signature
	Priority int               `lua:"priority" doc:"Its priority; lower numbers come first"`
	Exclude  []string          `lua:"exclude" alias:"excludepkgs" doc:"Packages that are not taken from it"`
	Options  map[string]string `lua:"options" doc:"Further settings, such as { sslverify = \"1\" }"`
	File     string            `lua:"file" doc:"Name of the file without .repo; several repositories may share one"`
	State    string            `lua:"state" enum:"present,absent" doc:"Whether it must be there"`
	Update   bool              `lua:"update_cache" doc:"Bring the lists of packages up to date when something changed; when that fails, what was written is taken back"`

	zypper bool
}

func newRPM(zypper bool) *rpm {
	return &rpm{GPGCheck: true, State: present, Update: true, zypper: zypper}
}

var optionForm = form(`^[A-Za-z][A-Za-z0-9_-]*$`)

// Validate checks what the tags cannot say.
func (r *rpm) Validate() error {
	if err := checkName(r.Name); err != nil {
		return err
	}
	if r.File == "" {
		r.File = r.Name
	}
	r.File = strings.TrimSuffix(r.File, dotRepo)
	if checkName(r.File) != nil {
		return fmt.Errorf("file = %q is no name of a file of repositories", r.File)
	}
	if r.State != present {
		return nil
	}
	places := 0
	for _, given := range []bool{len(r.BaseURL) > 0, r.MirrorList != "", r.Metalink != ""} {
		if given {
			places++
		}
	}
	switch {
	case places == 0:
		return errors.New("baseurl is missing: where it is; mirrorlist or metalink will do as well")
	case places > 1:
		return errors.New("give one of baseurl, mirrorlist and metalink")
	case r.Key != "" && len(r.GPGKey) > 0:
		return errors.New("give one of key and gpgkey")
	case r.Priority < 0:
		return fmt.Errorf("priority = %d is below 0", r.Priority)
	}
	for _, address := range slices.Concat(r.BaseURL, r.GPGKey, []string{r.MirrorList, r.Metalink}) {
		if u, err := url.Parse(strings.NewReplacer("$", "", "{", "", "}", "").Replace(address)); address != "" && (err != nil || u.Scheme == "") {
			return fmt.Errorf("%q is no address, such as \"https://rpm.example.com\"", address)
		}
	}
	for key, value := range r.settings("") {
		if !optionForm().MatchString(key) || strings.ContainsAny(value, "\r\n\x00") {
			return fmt.Errorf("%s = %q cannot be a setting of a repository", key, value)
		}
	}
	return r.checkKey()
}

func (r *rpm) path() string {
	if r.zypper {
		return filepath.Join(zypperFolder, r.File+dotRepo)
	}
	return filepath.Join(dnfFolder, r.File+dotRepo)
}

// Result adds the path.
func (r *rpm) Result() map[string]any { return map[string]any{"path": r.path()} }

func (r *rpm) keyFile() string {
	if r.zypper {
		return filepath.Join(zyppKeys, r.Name+".key")
	}
	return filepath.Join(rpmKeys, "RPM-GPG-KEY-"+r.Name)
}

var order = []string{"name", "baseurl", "mirrorlist", "metalink", "enabled", "gpgcheck", "repo_gpgcheck", "gpgkey", "priority", "exclude"}

// settings are the lines of the section. Several addresses go on several lines.
func (r *rpm) settings(key string) map[string]string {
	out := map[string]string{"gpgcheck": digit(r.GPGCheck), "name": r.Description}
	set := func(name, value string) {
		if value != "" {
			out[name] = value
		}
	}
	if r.Description == "" {
		out["name"] = r.Name
	}
	set("baseurl", strings.Join(r.BaseURL, " "))
	set("mirrorlist", r.MirrorList)
	set("metalink", r.Metalink)
	if r.Enabled != nil {
		out["enabled"] = digit(*r.Enabled)
	}
	if r.RepoCheck != nil {
		out["repo_gpgcheck"] = digit(*r.RepoCheck)
	}
	set("gpgkey", strings.Join(r.GPGKey, " "))
	set("gpgkey", key)
	if r.Priority > 0 {
		out["priority"] = fmt.Sprint(r.Priority)
	}
	set("exclude", strings.Join(r.Exclude, " "))
	for k, v := range r.Options {
		out[k] = v
	}
	return out
}

func digit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// Check compares the section.
func (r *rpm) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	r.w = work{}
	manager := "dnf or yum"
	if r.zypper {
		manager = "zypper"
	}
	if _, err := v.Stat(filepath.Dir(r.path())); hostfile.Missing(err) {
		return r.w.diff, fmt.Errorf("there is no %s, so this host has no %s; repo.add goes by the package manager that is there", filepath.Dir(r.path()), manager)
	}
	err := r.check(ctx, v)
	r.w.refresh = r.Update && !r.w.diff.Empty()
	return r.w.diff, err
}

func (r *rpm) check(ctx context.Context, v facts.Viewer) error {
	data, err := hostfile.Read(v, r.path())
	if err != nil && !hostfile.Missing(err) {
		return err
	}
	ini := parseINI(string(data))
	if r.State != present {
		if hostfile.Missing(err) || !ini.drop(r.Name) {
			return nil
		}
		if err := r.w.remove(v, r.keyFile()); err != nil {
			return err
		}
		if ini.empty() {
			return r.w.remove(v, r.path())
		}
		return r.w.file(ctx, v, r.path(), ini.String())
	}
	key, err := r.signer(ctx, v)
	if err != nil {
		return err
	}
	want := r.settings(key)
	if is := ini.section(r.Name); is != nil && sameSettings(is.settings(), want) {
		return nil
	}
	var keys []string
	for _, k := range order {
		if _, ok := want[k]; ok {
			keys = append(keys, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if !slices.Contains(order, k) {
			keys = append(keys, k)
		}
	}
	lines := []string{}
	for _, k := range keys {
		lines = append(lines, k+" = "+want[k])
	}
	ini.put(r.Name, lines)
	return r.w.file(ctx, v, r.path(), ini.String())
}

// sameSettings compares sections; enabled is 1 where nobody says so.
func sameSettings(a, b map[string]string) bool {
	norm := func(m map[string]string) map[string]string {
		out := map[string]string{"enabled": "1"}
		for k, v := range m {
			switch v = strings.Join(strings.Fields(v), " "); strings.ToLower(v) {
			case "true", "yes", "on":
				v = "1"
			case "false", "no", "off":
				v = "0"
			}
			if k == "excludepkgs" {
				k = "exclude"
			}
			out[k] = v
		}
		return out
	}
	return maps.Equal(norm(a), norm(b))
}

// signer brings the key about, lets rpm know it, and returns its address.
func (r *rpm) signer(ctx context.Context, v facts.Viewer) (string, error) {
	if r.Key == "" {
		return "", nil
	}
	k, err := r.load(ctx, v, r.keyFile())
	if err != nil {
		return "", err
	}
	path := r.Key
	if !r.onHost() {
		path = r.keyFile()
		if err := r.w.bytes(ctx, v, path, k.data); err != nil {
			return "", err
		}
	}
	address := "file://" + path
	if _, planned := modules.Noted(v, "rpm-key:"+path); planned {
		return address, nil
	}
	known, err := knownKeys(ctx, v)
	if err != nil {
		return "", err
	}
	for _, id := range k.ids {
		if id != "" && !slices.Contains(known, id) {
			r.w.imports = path
			r.w.diff.Add(modules.Change{What: "rpm key " + id, Attr: "state", Before: modules.Absent, After: present})
		}
	}
	return address, nil
}

// knownKeys asks rpm which keys it has.
func knownKeys(ctx context.Context, v facts.Viewer) ([]string, error) {
	a, err := v.Query(ctx, "rpm", "-q", "gpg-pubkey", "--qf", `%{VERSION}\n`)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(a.Stdout)), nil // with none, the code is 1 and there are no ids
}
