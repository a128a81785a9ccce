package inventory

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// varsFolder is a folder with group_vars/ and host_vars/ in it.
type varsFolder struct {
	dir    string
	groups map[string][]*varsFile
	hosts  map[string][]*varsFile
	listed map[string]map[string]bool // host_vars, group_vars: what is in them
}

// varsFile is one file of variables.
type varsFile struct {
	path string
	vars varset
}

// varsFolders reads what stands beside each source, and beside the script, for
// all hosts and groups: a broken file is found before anything starts.
func (l *loader) varsFolders(sources []string) {
	byDir := map[string]*varsFolder{}
	open := func(dir string) *varsFolder {
		key := dir
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			key = real
		}
		if abs, err := filepath.Abs(key); err == nil {
			key = abs
		}
		f := byDir[key]
		if f == nil {
			f = l.varsFolder(dir)
			byDir[key] = f
		}
		return f
	}
	for _, s := range sources {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		st, err := os.Stat(s)
		switch {
		case err != nil:
		case st.IsDir():
			l.inv.beside = append(l.inv.beside, open(s))
		default:
			l.inv.beside = append(l.inv.beside, open(filepath.Dir(s)))
		}
	}
	if l.opt.ScriptDir != "" {
		l.inv.script = open(l.opt.ScriptDir)
	}
}

func (l *loader) varsFolder(dir string) *varsFolder {
	f := &varsFolder{dir: dir, groups: map[string][]*varsFile{}, hosts: map[string][]*varsFile{}, listed: map[string]map[string]bool{}}
	for _, sub := range []string{"group_vars", "host_vars"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			if st, e := os.Stat(filepath.Join(dir, sub)); e == nil && !st.IsDir() {
				l.opt.Warn(filepath.Join(dir, sub) + " is no folder, it is ignored")
			} else if !os.IsNotExist(err) {
				l.probs.add(&Problem{File: filepath.Join(dir, sub), Message: "read the folder: " + reason(err)})
			}
			continue
		}
		names := make(map[string]bool, len(entries))
		for _, e := range entries {
			names[e.Name()] = true
		}
		f.listed[sub] = names
	}
	if len(f.listed["group_vars"]) > 0 {
		for _, g := range l.inv.groupList {
			if list := l.varsFiles(f, "group_vars", g.name); list != nil {
				f.groups[g.name] = list
			}
		}
	}
	if len(f.listed["host_vars"]) > 0 {
		for _, h := range l.inv.hostList {
			if list := l.varsFiles(f, "host_vars", h.name); list != nil {
				f.hosts[h.name] = list
			}
		}
		for _, name := range localNames {
			if list := l.varsFiles(f, "host_vars", name); list != nil {
				f.hosts[name] = list
			}
		}
	}
	return f
}

// varsExtensions are tried in order; the first that is there counts, and a
// folder only without one.
var varsExtensions = []string{"", ".yml", ".yaml", ".json"}

// varsFiles reads the file or folder of one host or group. Only names that the
// folder itself lists are looked at, so no name leads out of it.
func (l *loader) varsFiles(f *varsFolder, sub, name string) []*varsFile {
	for _, ext := range varsExtensions {
		if !f.listed[sub][name+ext] {
			continue
		}
		full := filepath.Join(f.dir, sub, name+ext)
		st, err := os.Stat(full)
		if err != nil {
			continue // a dangling link
		}
		paths := []string{full}
		if st.IsDir() {
			paths = l.varsTree(full, 0)
		}
		var out []*varsFile
		for _, p := range paths {
			if v := l.varsFile(p); v != nil {
				out = append(out, v)
			}
		}
		return out
	}
	return nil
}

// varsTree lists the files below a folder, in the order in which they count.
func (l *loader) varsTree(dir string, depth int) []string {
	entries, err := os.ReadDir(dir)
	if err != nil || depth > maxFolderDepth {
		message := "folders are nested too deep"
		if err != nil {
			message = "read the folder: " + reason(err)
		}
		l.probs.add(&Problem{File: dir, Message: message})
		return nil
	}
	var out []string
	for _, e := range entries { // sorted by name
		n := e.Name()
		if strings.HasPrefix(n, ".") || strings.HasSuffix(n, "~") {
			continue
		}
		full, ext := filepath.Join(dir, n), filepath.Ext(n)
		st, err := os.Stat(full)
		switch {
		case err != nil:
		case st.IsDir() && ext == "":
			out = append(out, l.varsTree(full, depth+1)...)
		case st.Mode().IsRegular() && slices.Contains(varsExtensions, ext):
			out = append(out, full)
		}
	}
	return out
}

// varsFile reads one file; nil when it is empty or wrong.
func (l *loader) varsFile(path string) *varsFile {
	data, err := readCapped(path)
	if err != nil {
		l.probs.add(&Problem{File: path, Message: "read the variables: " + reason(err)})
		return nil
	}
	f := &file{name: path, data: data, secrets: l.opt.Secrets, late: l.opt.OpenLate}
	l.files = append(l.files, f)
	if p := f.openFile(); p != nil {
		l.probs.add(p)
		return nil
	}
	out := &varsFile{path: path}
	if !l.readVars(f, &out.vars) {
		return nil
	}
	return out
}

// readVars adds the map in f to vars, and says whether there is one.
func (l *loader) readVars(f *file, vars *varset) bool {
	d, err := parseDocument(f, &l.probs)
	if err != nil {
		l.probs.add(err)
		return false
	}
	if d.root == nil {
		return false
	}
	if n := d.resolve(d.root); n.Kind != yaml.MappingNode {
		if falsy(d.value(n)) {
			return false
		}
		d.fail(n, "write each variable as \"name: value\"", "a file of variables must be a map, got %s", kindName(n))
		return false
	}
	for _, p := range d.pairs(d.root) {
		vars.set(d.variable(p))
	}
	return len(vars.list) > 0
}

// falsy is what Python calls false.
func falsy(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case int64:
		return v == 0
	case float64:
		return v == 0
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case *dict:
		return len(v.keys) == 0
	}
	return false
}
