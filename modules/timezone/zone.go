package timezone

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/spec"
)

const (
	zoneinfo  = "/usr/share/zoneinfo"
	localtime = "/etc/localtime"
	nameFile  = "/etc/timezone"
	debian    = "/etc/debian_version"
)

var zoneName = regexp.MustCompile(`^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$`)

func validate(name string) error {
	if !zoneName.MatchString(name) || len(name) > 100 {
		return fmt.Errorf("name = %q is no time zone; they look like Europe/Berlin or UTC", name)
	}
	return nil
}

// current is the zone that /etc/localtime names; empty when it names none.
func current(v facts.Viewer) (string, error) {
	st, err := v.Lstat(localtime)
	if hostfile.Missing(err) {
		return "UTC", nil // as the C library takes it
	}
	if err != nil {
		return "", err
	}
	_, name, ok := strings.Cut(st.Link, "/zoneinfo/")
	if !ok || validate(name) != nil {
		return "", nil
	}
	return name, nil
}

// exists refuses a zone that the host does not have.
func exists(v facts.Viewer, name string) error {
	st, err := v.Stat(path.Join(zoneinfo, name))
	switch {
	case err == nil && st.Mode.IsRegular():
		return nil
	case err != nil && !hostfile.Missing(err) && !hostfile.NotFolder(err):
		return err
	}
	if _, err := v.Stat(zoneinfo); hostfile.Missing(err) {
		if _, changed := modules.Noted(v, modules.NotedChange); v.Planned() && changed || hostfile.Unsure(v) {
			return nil // a planned package may bring them
		}
		return errors.New("this host has no " + zoneinfo + "; pkg.install(\"tzdata\") brings the time zones")
	}
	known := zones(v, "", 0)
	if near := nearest(name, known); near != "" {
		return fmt.Errorf("this host does not know the time zone %q; did you mean %q?", name, near)
	}
	return fmt.Errorf("this host does not know the time zone %q; `ls -R %s` lists those it does", name, zoneinfo)
}

// nearest also finds Berlin, and Europe/berlin.
func nearest(name string, known []string) string {
	for _, k := range known {
		if strings.EqualFold(k, name) || strings.EqualFold(path.Base(k), name) {
			return k
		}
	}
	return spec.Nearest(name, known)
}

const (
	deepest  = 3
	maxZones = 5000
)

// zones lists the zones below a folder, without the copies in posix and right.
func zones(v facts.Viewer, below string, depth int) []string {
	list, err := v.ReadDir(path.Join(zoneinfo, below))
	if err != nil {
		return nil
	}
	var out []string
	for _, st := range list {
		name := path.Join(below, st.Name)
		switch {
		case slices.Contains([]string{"posix", "right", "posixrules", "localtime", "leapseconds"}, name) || validate(name) != nil || len(out) > maxZones:
		case st.Mode.IsDir() && depth < deepest:
			out = append(out, zones(v, name, depth+1)...)
		case !st.Mode.IsDir() && (below != "" || st.Name[0] < 'a'):
			out = append(out, name)
		}
	}
	return out
}
