package inventory

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestSpecPatternTables(t *testing.T) {
	var tables map[string][]map[string]any
	readJSON(t, filepath.Join(specFolder(t, "19-host-pattern-tables"), "tables.json"), &tables)
	texts := func(v any) []string {
		out := []string{}
		for _, e := range v.([]any) {
			out = append(out, e.(string))
		}
		return out
	}
	var b strings.Builder
	for c := 'a'; c <= 'z'; c++ {
		fmt.Fprintln(&b, string(c))
	}
	for c := 'A'; c <= 'Z'; c++ {
		fmt.Fprintln(&b, string(c))
	}
	many := load(t, Options{}, put(t, filepath.Join(t.TempDir(), "letters.ini"), "[letters]\n"+b.String()))
	for name, cases := range tables {
		for _, c := range cases {
			in := c["in"].(string)
			want := c["want"]
			switch name {
			case "split_host_pattern":
				if got := append([]string{}, splitPattern(in)...); !reflect.DeepEqual(got, texts(want)) {
					t.Errorf("split %q = %q, want %q", in, got, want)
				}
			case "subscript_over_a..zA..Z":
				got, err := many.Match("letters"+strings.TrimPrefix(in, "a"), "")
				if err != nil || !reflect.DeepEqual(got, texts(want)) {
					t.Errorf("%s of the letters = %q, %v; want %q", in, got, err, want)
				}
			case "expand_range":
				inv, err := Load(t.Context(), []string{put(t, filepath.Join(t.TempDir(), "range.ini"), in+"\n")}, Options{})
				if err != nil || !reflect.DeepEqual(inv.Hosts(), texts(want)) {
					t.Errorf("range %q: %v; want %q", in, err, want)
				}
			case "parse_address", "parse_address_ranges":
				host, port, err := parseAddress(in, name == "parse_address_ranges")
				list, _ := want.([]any)
				if list == nil || list[0] == nil {
					if err == nil {
						t.Errorf("%s %q = %q %d, want an error", name, in, host, port)
					}
					continue
				}
				wantPort := 0
				if p, ok := list[1].(float64); ok {
					wantPort = int(p)
				}
				if err != nil || host != list[0] || port != wantPort {
					t.Errorf("%s %q = %q %d %v, want %v", name, in, host, port, err, list)
				}
			default:
				t.Errorf("a table that nothing checks: %s", name)
			}
		}
	}
}
