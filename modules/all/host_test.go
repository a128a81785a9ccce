package all_test

import (
	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/spec"
)

// ofHost names the functions that change more of a host than its files, which
// no folder can stand for. The tests of their packages run them: on fakes of
// the programs, and with the tag lab on a host that may be changed.
func ofHost(skip, unvaried map[string]string) {
	files := map[string]bool{"systemd.create_service": true, "systemd.remove_service": true}
	for _, m := range all.Modules() {
		switch m.Name {
		case "pkg", "systemd", "user":
		default:
			continue
		}
		for _, f := range m.Funcs {
			if full := m.Name + "." + f.Name; spec.Of(f).Kind == spec.Changer && !files[full] {
				skip[full] = "it changes the host itself"
				unvaried[full] = "it changes the host itself"
			}
		}
	}
}
