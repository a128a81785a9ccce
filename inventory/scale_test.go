package inventory

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// Listing 100,000 hosts must take less than two seconds, however they are
// written down.
func BenchmarkList100k(b *testing.B) {
	var yaml, ini strings.Builder
	yaml.WriteString("all:\n  vars: {dc: east}\n  children:\n    web:\n      hosts:\n")
	ini.WriteString("[web]\n")
	for i := range 100_000 {
		fmt.Fprintf(&yaml, "        web-%06d:\n", i)
		fmt.Fprintf(&ini, "web-%06d ansible_host=10.%d.%d.%d\n", i, i>>16, i>>8&255, i&255)
	}
	dir := b.TempDir()
	for name, file := range map[string]string{
		"flat YAML": put(b, filepath.Join(dir, "flat.yml"), yaml.String()),
		"flat INI":  put(b, filepath.Join(dir, "flat.ini"), ini.String()),
		"ranges":    put(b, filepath.Join(dir, "range.yml"), "web:\n  hosts:\n    web-[000001:100000]: {port: 2222}\n  vars: {dc: east}\n"),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				inv := load(b, Options{}, file)
				hosts, err := inv.Match("web*", "")
				if err != nil || len(hosts) != 100_000 {
					b.Fatal(len(hosts), err)
				}
				if err := inv.WriteList(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
