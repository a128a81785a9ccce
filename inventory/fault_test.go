package inventory

import (
	"path/filepath"
	"strings"
	"testing"
)

// A source that does not parse is no inventory at all: no pattern finds a host of
// what was read before the mistake.
func TestFault64AllOrNothing(t *testing.T) {
	for name, c := range map[string]struct{ good, bad, want string }{
		"undefined child": {"[web]\nweb-01\n", "[OSEv3:children]\nmaster\n[nodes]\nn1\n", "bad.ini:2"},
		"int host name":   {"[web]\nweb-01\n", "all:\n  hosts:\n    web-02:\n    3:\n", "bad.yaml:4"},
		"wrong shape":     {"[web]\nweb-01\n", "all:\n  hosts: [web-02]\n", "bad.yaml:2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			place, _, _ := strings.Cut(c.want, ":")
			good, bad := put(t, filepath.Join(dir, "good.ini"), c.good), put(t, filepath.Join(dir, place), c.bad)
			for _, sources := range [][]string{{bad}, {good, bad}, {bad, good}} {
				inv, err := Load(t.Context(), sources, Options{})
				if err == nil || inv != nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%q: %v, %v; want an error with %q", sources, inv, err, c.want)
				}
			}
		})
	}
}
