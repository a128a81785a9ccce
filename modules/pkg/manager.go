package pkg

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

// manager is one package manager. Commands are given as argument lists, so that
// one place runs them: it waits for locks and reads errors.
type manager interface {
	name() string
	// installed returns the versions of those of the packages that are installed,
	// of all that are installed when there are no names.
	installed(ctx context.Context, v facts.Viewer, names []string) (map[string]string, error)
	// candidates returns the versions that would be installed now; a package
	// that the lists do not know is missing from the answer.
	candidates(ctx context.Context, v facts.Viewer, names []string) (map[string]string, error)
	// upgradable is what a full upgrade would change: name -> new version.
	upgradable(ctx context.Context, v facts.Viewer) (map[string]string, error)
	// orphans are the packages that nothing needs any more.
	orphans(ctx context.Context, v facts.Viewer) ([]string, error)
	// refreshed is when the lists were last brought up to date; zero: never, or
	// nobody can tell.
	refreshed(v facts.Viewer) time.Time
	command(verb verb, o options, pkgs []wish) []string
	environment() []string
	search(ctx context.Context, v facts.Viewer, text string) ([][2]string, error)
	describe(ctx context.Context, v facts.Viewer, name string) (map[string]any, error)
	owner(ctx context.Context, v facts.Viewer, file string) (string, error)
	depends(ctx context.Context, v facts.Viewer, name string) ([]string, error)
	// identify reads name and version out of a package file.
	identify(ctx context.Context, v facts.Viewer, file string) (name, version string, err error)
	// downloads are the folders that hold downloaded package files.
	downloads() []string
}

// lister is a manager that keeps its lists in a folder and leaves their times
// alone when nothing was new. A refresh through this module touches the folder.
type lister interface{ lists() string }

// folderTime is the time of a folder that holds a file with part in its name.
func folderTime(v facts.Viewer, dir, part string) time.Time {
	files, err := v.ReadDir(dir)
	if err != nil {
		return time.Time{}
	}
	for _, f := range files {
		if strings.Contains(f.Name, part) {
			if st, err := v.Stat(dir); err == nil {
				return time.Unix(0, st.MTime)
			}
		}
	}
	return time.Time{}
}

type verb int

const (
	doInstall verb = iota
	doLocal        // install the files named
	doRemove
	doPurge
	doRefresh
	doUpgrade    // the packages named
	doUpgradeAll // everything
	doClean
	doAutoremove
)

// wish is one package and the version wanted; empty: the newest one known.
type wish struct{ name, version string }

var errNone = errors.New("this host has none of the package managers apt, dnf, yum, zypper, pacman, apk and brew")

// detect finds the host's package manager by its programs.
func detect(v facts.Viewer) (manager, error) {
	has := func(names ...string) bool {
		for _, n := range names {
			if _, err := v.LookPath(n); err != nil {
				return false
			}
		}
		return true
	}
	switch {
	case has("apt-get", "dpkg-query"):
		return apt{}, nil
	case has("dnf", "rpm"):
		return rpm{tool: "dnf"}, nil
	case has("yum", "rpm"):
		return rpm{tool: "yum"}, nil
	case has("zypper", "rpm"):
		return rpm{tool: "zypper"}, nil
	case has("pacman"):
		return pacman{}, nil
	case has("apk"):
		return apk{}, nil
	case has("brew"):
		return brew{}, nil
	}
	return nil, errNone
}

// A trailing - or + has a meaning of its own to apt, * and ? to most.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9@][A-Za-z0-9@+._:~/()-]*$`)

func checkName(name string) error {
	if !nameForm.MatchString(name) || strings.HasSuffix(name, "-") || len(name) > 200 {
		hint := ""
		if strings.ContainsAny(name, ", ") {
			hint = "; several are a list of names"
		}
		return fmt.Errorf("%q is no name of a package%s", name, hint)
	}
	return nil
}

// VersionMatches reports whether a version is the one wanted: the very same, one
// that begins with all parts of it, or one that fits a * at its end.
func VersionMatches(version, want string) bool {
	if start, ok := strings.CutSuffix(want, "*"); ok {
		return strings.HasPrefix(version, start)
	}
	rest, ok := strings.CutPrefix(version, want)
	if !ok {
		_, after, epoch := strings.Cut(version, ":") // 2:9.0 is 9.0 to most people
		if !epoch || strings.Contains(want, ":") {
			return false
		}
		if rest, ok = strings.CutPrefix(after, want); !ok {
			return false
		}
	}
	return rest == "" || strings.ContainsRune(".-+~:_", rune(rest[0]))
}

// Installed returns the version of a package, or nothing when it is not
// installed.
func Installed(ctx context.Context, v facts.Viewer, name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	if planned, ok := modules.Noted(v, "package:"+name); ok {
		if planned == modules.Absent {
			planned = ""
		}
		return planned, nil
	}
	m, err := detect(v)
	if err != nil {
		return "", err
	}
	have, err := m.installed(ctx, v, []string{name})
	return have[name], err
}

// anyCode accepts all that a program says with its exit code, for those that
// count in it what they did not find.
var anyCode = []int{-1}

// ask runs a program that only reports. Codes other than those accepted are
// errors. Some managers lock even then: ask waits as long as run does.
func ask(ctx context.Context, v facts.Viewer, accept []int, argv ...string) (string, error) {
	w := waiter{ctx: ctx, patience: patience(ctx)}
	for {
		a, err := v.Query(ctx, aptUnwritten(v, argv)...)
		if err != nil {
			return "", err
		}
		text := string(a.Stderr) + string(a.Stdout)
		locked := a.ExitCode != 0 && busy.MatchString(text)
		for _, code := range append([]int{0}, accept...) {
			if !locked && (a.ExitCode == code || code == anyCode[0] && a.Signal == "") {
				return string(a.Stdout), nil
			}
		}
		if !locked {
			return "", fmt.Errorf("%s %s: %s", argv[0], argv[1], tool.Failure(a, false))
		}
		if err := w.wait(text); err != nil {
			return "", fmt.Errorf("%s: %w", brief(argv), err)
		}
	}
}

// fields splits lines at tabs.
func fields(text string) [][]string {
	var out [][]string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			out = append(out, strings.Split(line, "\t"))
		}
	}
	return out
}
