package modulestest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
)

var backupName = regexp.MustCompile(`\.\d{8}-\d{6}\.\d+~`)

var sections = []string{"task", "diff", "modes", "links", "state", "error", "vary.lua"}

// archive is a txtar file taken apart.
type archive struct {
	name     string
	repeats  bool
	rooted   bool
	sections map[string]string
	before   map[string]string
	after    map[string]string
	src      map[string]string
}

func open(t *testing.T, file string) archive {
	t.Helper()
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a := archive{
		name: filepath.Base(file), repeats: strings.HasPrefix(string(ar.Comment), "repeats"), rooted: strings.HasPrefix(string(ar.Comment), "rooted"),
		sections: map[string]string{}, before: map[string]string{}, after: map[string]string{}, src: map[string]string{},
	}
	for _, f := range ar.Files {
		text := bytesOf(string(f.Data))
		kind, path, below := strings.Cut(f.Name, "/")
		switch {
		case below && kind == "before":
			a.before[path] = text
		case below && kind == "after":
			a.after[path] = text
		case below && kind == "src":
			a.src[path] = text
		case slices.Contains(sections, f.Name):
			a.sections[f.Name] = text
		default:
			t.Fatalf("%s: there is no section %q", file, f.Name)
		}
	}
	a.before, a.src = withArchives(t, a.before), withArchives(t, a.src)
	return a
}

// bytesOf writes the bytes that a text file cannot show.
func bytesOf(text string) string {
	text = strings.TrimSuffix(strings.ReplaceAll(text, "␃\n", "␃"), "␃")
	return strings.NewReplacer("␍", "\r", "␀", "\x00").Replace(text)
}

// lines are the lines of a section that are not empty.
func (a archive) lines(section string) []string {
	return strings.FieldsFunc(a.sections[section], func(r rune) bool { return r == '\n' })
}

// build makes the folder that the case begins with.
func (a archive) build(t *testing.T) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range a.before {
		to := filepath.Join(root, path)
		if strings.HasSuffix(path, "/") {
			must(os.MkdirAll(to, 0o755))
			continue
		}
		must(os.MkdirAll(filepath.Dir(to), 0o755))
		must(os.WriteFile(to, []byte(text), 0o644))
	}
	for _, line := range a.lines("links") {
		if path, to, ok := strings.Cut(line, " => "); ok {
			must(os.Link(filepath.Join(root, to), filepath.Join(root, path)))
			continue
		}
		path, to, ok := strings.Cut(line, " -> ")
		if !ok {
			t.Fatalf("%s: %q is no link", a.name, line)
		}
		must(os.Symlink(to, filepath.Join(root, path)))
	}
	for _, line := range a.lines("modes") {
		mode, path := modeLine(t, line)
		must(os.Chmod(filepath.Join(root, path), mode))
	}
	// Two hosts of one case are alike in their times too: archives hold those.
	must(filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Type()&os.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(path, built, built)
	}))
	return root
}

// built is when every file of a case was made.
var built = time.Unix(1_700_000_000, 0)

func modeLine(t *testing.T, line string) (os.FileMode, string) {
	t.Helper()
	digits, path, _ := strings.Cut(line, " ")
	n, err := strconv.ParseUint(digits, 8, 32)
	if err != nil || path == "" {
		t.Fatalf("%q is neither \"0600 PATH\" nor another known line", line)
	}
	return modules.FileMode(uint32(n)), path
}

// run is the plan of the case in the folder root, or where there are programs on
// a host that has root in place of /.
func (a archive) run(mods []modules.Module, programs *Programs, root string) run {
	r := run{mods: mods, machine: machine.New(), controller: &Controller{Files: a.src}, root: root, plan: true}
	if programs != nil {
		r.machine, r.root = programs.On(r.machine, root), "/"
	}
	return r
}

// Cases runs every case below dir, one folder for each module.
func Cases(t *testing.T, dir string, mods []modules.Module) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no cases in %s", dir)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) { oneCase(t, open(t, file), mods) })
	}
}

func oneCase(t *testing.T, a archive, mods []modules.Module) {
	root := a.build(t)
	var programs *Programs
	if a.rooted {
		programs = NewPrograms(t)
	}
	r := a.run(mods, programs, root)
	before := look(t, root)

	planned := r.do(t, "task.sloth", a.sections["task"])
	if d := before.same(look(t, root)); d != "" {
		t.Errorf("the plan changed something:\n%s", d)
	}
	wantErr := strings.TrimSpace(a.sections["error"])
	if planned.err != wantErr {
		t.Errorf("the plan ended with\n%s\nwanted\n%s", planned.err, wantErr)
	}
	want, said := a.sections["diff"]
	if got := r.diff(planned); said && got != want {
		t.Errorf("the plan shows\n%s\nwanted\n%s", got, want)
	}

	r.plan = false
	applied := r.do(t, "task.sloth", a.sections["task"])
	if applied.err != wantErr {
		t.Errorf("it ended with\n%s\nwanted\n%s", applied.err, wantErr)
	}
	if p, d := r.diff(planned), r.diff(applied); p != d {
		t.Errorf("planned was\n%s\ndone was\n%s", p, d)
	}
	now := look(t, root)
	if wantErr != "" {
		if d := before.alike(now); d != "" {
			t.Errorf("it failed, but changed\n%s", d)
		}
		return
	}
	a.check(t, before, now)

	again := r.do(t, "task.sloth", a.sections["task"])
	if again.changed() != a.repeats {
		t.Errorf("another run: changed %t, %s\n%s", again.changed(), again.err, r.diff(again))
	}
	if !a.repeats {
		if d := now.alike(look(t, root)); d != "" {
			t.Errorf("another run said it changed nothing, but\n%s", d)
		}
	}
}

// check compares what is there with after and state.
func (a archive) check(t *testing.T, before, now tree) {
	t.Helper()
	said := map[string]bool{".": true}
	for path, text := range a.after {
		path = strings.TrimSuffix(path, "/")
		said[path] = true
		if n, ok := now[path]; !ok || n.content != text {
			t.Errorf("%s is %s\nwanted %q", path, n, text)
		}
		for d := filepath.Dir(path); d != "."; d = filepath.Dir(d) {
			said[d] = true
		}
	}
	for _, line := range a.lines("state") {
		if path, ok := strings.CutPrefix(line, "no "); ok {
			said[path] = true
			if _, there := now[path]; there {
				t.Errorf("%s is still there", path)
			}
			continue
		}
		if path, to, ok := strings.Cut(line, " -> "); ok {
			said[path] = true
			if n := now[path]; n.kind != "link" || n.content != to {
				t.Errorf("%s is %s, wanted a link to %s", path, n, to)
			}
			continue
		}
		mode, path := modeLine(t, line)
		said[path] = true
		if n, ok := now[path]; !ok || modules.PermBits(n.mode) != mode {
			t.Errorf("%s has mode %s, wanted %s", path, modules.ModeText(n.mode), modules.ModeText(mode))
		}
		if _, told := a.after[path]; !told {
			if b, was := before[path]; was && b.content != now[path].content {
				t.Errorf("%s has other content: %q", path, now[path].content)
			}
		}
	}
	rest := func(all tree) tree {
		out := tree{}
		for p, n := range all {
			if !said[p] {
				out[p] = n
			}
		}
		return out
	}
	if d := rest(before).alike(rest(now)); d != "" {
		t.Errorf("what nothing was said about changed:\n%s", d)
	}
}
