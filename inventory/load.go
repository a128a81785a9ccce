package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Options says how an inventory is loaded. The zero value works.
type Options struct {
	// ScriptDir is the folder of the .sloth file. Its group_vars/ and host_vars/
	// win over those beside the inventory; empty: there is none.
	ScriptDir string
	// ExtraVars are what -e was given. They win over everything.
	ExtraVars map[string]any
	// AllowEmpty lets a pattern match nothing.
	AllowEmpty bool
	// Secrets opens what is encrypted; nil: it stays so.
	Secrets Secrets
	// OpenLate leaves single encrypted values until a Login needs them.
	OpenLate bool
	// Warn is told what is odd but no error; nil: nobody is. Match calls it too,
	// from the goroutine that it runs in.
	Warn func(string)
	// ScriptTimeout is how long an executable inventory may take; 0: a minute.
	ScriptTimeout time.Duration
}

// maxFile bounds a file of the inventory.
const maxFile = 256 << 20

// Load reads the sources in order: files in YAML, JSON or INI, executables,
// folders of these, and lists such as "web-01,web-02,". Later ones add to and
// win over earlier ones. It is all or nothing: an error holds everything that
// is wrong, as *Problem values in a *multierror.Error.
func Load(ctx context.Context, sources []string, o Options) (*Inventory, error) {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.ScriptTimeout <= 0 {
		o.ScriptTimeout = time.Minute
	}
	l := &loader{ctx: ctx, opt: o, inv: &Inventory{hostData: newHostData(), opt: o}}
	for _, s := range sources {
		if s = strings.TrimSpace(s); s != "" {
			l.source(s)
		}
	}
	l.checkNames()
	l.cycle()
	if l.probs.empty() {
		l.inv.reconcile()
		l.cycle() // all may have got a group that it is in itself
	}
	if l.probs.empty() {
		l.varsFolders(sources)
		for _, k := range sortedKeys(o.ExtraVars) {
			l.inv.extra.set(variable{name: k, val: fromPlain(o.ExtraVars[k]), pos: pos{file: &file{name: "-e"}}})
		}
	}
	if err := l.probs.err(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.forget()
	l.inv.reset()
	return l.inv, nil
}

// cycle reports a loop of groups.
func (l *loader) cycle() {
	e, names, found := l.inv.cycle()
	if !found {
		return
	}
	if names[0] == names[1] {
		l.probs.add(e.pos.problem("take it out", "group %s contains itself", names[0]))
		return
	}
	hint := "take one of them out"
	if slices.Contains(names, "all") {
		hint = "every group is in all, so all can be in none"
	}
	l.probs.add(e.pos.problem(hint, "these groups contain each other: %s", strings.Join(names, " > ")))
}

type loader struct {
	ctx   context.Context
	opt   Options
	inv   *Inventory
	probs problems
	files []*file
}

// source reads one of the sources, or one file of a folder.
func (l *loader) source(path string) {
	st, err := os.Stat(path)
	switch {
	case err != nil && strings.Contains(path, ","):
		l.hostList(path)
	case errors.Is(err, fs.ErrNotExist):
		hint := "check the name"
		if !strings.ContainsAny(path, "/ ") {
			hint += "; to name a host itself write a comma behind it: -i " + path + ","
		}
		l.probs.add(&Problem{File: path, Message: "there is no such inventory", Hint: hint})
	case err != nil:
		l.probs.add(&Problem{File: path, Message: "read the inventory: " + reason(err)})
	case st.IsDir():
		if !l.folder(path, 0) {
			l.probs.add(&Problem{File: path, Message: "the folder holds no inventory", Hint: "hidden files and those ending in .ini, .cfg, .txt, .md and the like are skipped, as Ansible does"})
		}
	default:
		l.file(path, st)
	}
}

// reason is err without the path, which the message shows already.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// hostList reads "a,b:2222,". Names that cannot be split into host and port
// are taken as they are.
func (l *loader) hostList(list string) {
	f := &file{name: "-i " + list}
	ungrouped := l.inv.groups["ungrouped"]
	for _, h := range strings.Split(list, ",") {
		if h = strings.TrimSpace(h); h == "" {
			continue
		}
		name, port, err := parseAddress(h, false)
		if err != nil {
			name, port = h, 0
		}
		if text := checkHostName(name); text != "" {
			l.probs.add(&Problem{File: f.name, Message: text})
			continue
		}
		if l.inv.hosts[name] == nil {
			l.inv.addHost(name, ungrouped, port, pos{file: f})
		}
	}
}

// ignored are the names that a folder of inventories may hold beside them.
var ignored = regexp.MustCompile(`^\.|^(?:host_vars|group_vars|vars_plugins)$|(?:\.pyc|\.pyo|\.swp|\.bak|~|\.rpm|\.md|\.txt|\.rst|\.orig|\.ini|\.cfg|\.retry)$`)

const maxFolderDepth = 32

// folder reads every inventory in a folder, and says whether there was one.
func (l *loader) folder(path string, depth int) bool {
	entries, err := os.ReadDir(path)
	if err != nil || depth > maxFolderDepth {
		message := "folders are nested too deep"
		if err != nil {
			message = "read the folder: " + reason(err)
		}
		l.probs.add(&Problem{File: path, Message: message})
		return true
	}
	found := false
	for _, e := range entries { // sorted by name
		if ignored.MatchString(e.Name()) {
			continue
		}
		full := filepath.Join(path, e.Name())
		if st, err := os.Stat(full); err == nil && st.IsDir() {
			found = l.folder(full, depth+1) || found
			continue
		}
		found = true
		l.source(full)
	}
	return found
}

// file reads one file. As in Ansible a program is run, and what a file is
// depends on its name: .yml, .yaml and .json hold YAML, files without an
// extension may be YAML or INI, all others are INI.
func (l *loader) file(path string, st fs.FileInfo) {
	data, err := readCapped(path)
	if err != nil {
		l.probs.add(&Problem{File: path, Message: "read the inventory: " + reason(err)})
		return
	}
	f := &file{name: path, data: data, secrets: l.opt.Secrets, late: l.opt.OpenLate}
	l.files = append(l.files, f)
	script := bytes.HasPrefix(data, []byte("#!"))
	if st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
		s := &scriptSource{inv: &l.inv.hostData, probs: &l.probs, warn: l.opt.Warn, path: path, timeout: l.opt.ScriptTimeout, secrets: l.opt.Secrets, late: l.opt.OpenLate}
		if s.parse(l.ctx) == nil {
			return
		}
		if script {
			l.probs.add(&Problem{File: path, Line: 1, Message: "the script cannot be run", Hint: "is its first line right?"})
			return
		}
		l.opt.Warn(path + ": it has the x permission but is no program; it is read as a file (chmod -x silences this)")
	}
	before := len(l.probs.list)
	l.static(f)
	if script && len(l.probs.list) > before {
		l.probs.add(&Problem{File: path, Line: 1, Message: "this is a script, but it is not executable", Hint: "chmod +x " + path})
	}
}

// readCapped reads a file that has a sane size.
func readCapped(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	return data, err
}

func (l *loader) static(f *file) {
	if p := f.openFile(); p != nil {
		l.probs.add(p)
		return
	}
	ext := filepath.Ext(f.name)
	switch {
	case ext == ".toml":
		l.probs.add(&Problem{File: f.name, Message: "TOML inventories cannot be read", Hint: "ansible-inventory -i " + f.name + " --list --yaml > hosts.yaml turns it into YAML"})
	case ext == ".yml" || ext == ".yaml" || ext == ".json":
		if looksLikeINI(f.data) {
			l.ini(f)
			return
		}
		l.yaml(f)
	case ext == "" && !looksLikeINI(f.data):
		// Without a name that says what it is, only a map can be YAML.
		var quiet problems
		d, err := parseDocument(f, &quiet)
		if looksLikeYAML(f.data) || err == nil && d.root != nil && d.root.Kind == yaml.MappingNode {
			l.yaml(f)
			return
		}
		l.ini(f)
	default:
		l.ini(f)
	}
}

func (l *loader) ini(f *file) {
	(&iniSource{file: f, inv: &l.inv.hostData, probs: &l.probs}).parse()
}

func (l *loader) yaml(f *file) {
	d, err := parseDocument(f, &l.probs)
	if err != nil {
		l.probs.add(err)
		return
	}
	if d.root == nil || isNull(d.root) {
		return // an empty file is an inventory without hosts
	}
	s := &yamlSource{document: d, inv: &l.inv.hostData, warn: l.opt.Warn}
	if !s.isMap(d.root) {
		d.fail(d.root, "it begins with a group, such as \"all:\"", "an inventory must be a map of groups, got %s", kindName(d.root))
		return
	}
	if name, at := d.pluginName(); at != nil {
		d.fail(at, "write an executable that prints the inventory as JSON, or save what ansible-inventory --list prints", "this configures Ansible's inventory plugin %s, which sloth cannot run", name)
		return
	}
	s.parse()
}

// significant is the first line that is neither empty nor a comment.
func significant(data []byte) string {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for line := range bytes.Lines(data) {
		if t := bytes.TrimSpace(line); len(t) > 0 && t[0] != '#' && t[0] != ';' {
			return string(t)
		}
	}
	return ""
}

// looksLikeINI recognises a section, which is no sensible start of YAML.
func looksLikeINI(data []byte) bool {
	_, _, ok := sectionHeader(significant(data))
	return ok
}

var yamlStart = regexp.MustCompile(`^(?:---|%YAML|[{]|[^\s\[=]+:(?:\s|$))`)

func looksLikeYAML(data []byte) bool { return yamlStart.MatchString(significant(data)) }

// checkNames warns of names that will surprise somebody.
func (l *loader) checkNames() {
	var odd, both []string
	for _, g := range l.inv.groupList {
		if !plainName(g.name) {
			odd = append(odd, g.name)
		}
		if l.inv.hosts[g.name] != nil {
			both = append(both, g.name)
		}
	}
	if len(odd) > 0 {
		l.opt.Warn("names of groups with characters other than letters, digits and _ cannot be used as variables in templates: " + shortList(odd))
	}
	if len(both) > 0 {
		l.opt.Warn("there are both a group and a host of the name, and variables go to the group: " + shortList(both))
	}
}

func plainName(s string) bool {
	for i, r := range s {
		if !isWord(r) || i == 0 && r >= '0' && r <= '9' {
			return false
		}
	}
	return true
}

// forget lets go of the texts, which are only needed for excerpts.
func (l *loader) forget() {
	for _, f := range l.files {
		f.data = nil
	}
}
