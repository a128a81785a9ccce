package inventory

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// specFolder is a folder of the collected real cases.
func specFolder(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("SLOTH_SPEC")
	if dir == "" {
		if os.Getenv("SLOTH_MUST_RUN") == "1" {
			t.Fatal("SLOTH_SPEC names no folder")
		}
		t.Skip("SLOTH_SPEC is not set: it names the folder of real cases")
	}
	return filepath.Join(dir, "inventories", name)
}

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestSpecNodeSets(t *testing.T) {
	var cases []struct {
		In     string
		Expand []string
		Fold   string
		Count  int
	}
	readJSON(t, filepath.Join(specFolder(t, "20-clustershell-nodeset"), "nodeset.json"), &cases)
	for _, c := range cases {
		got, err := Expand(c.In)
		if err != nil {
			t.Errorf("Expand(%q): %v", c.In, err)
			continue
		}
		if c.Expand != nil && !slices.Equal(got, c.Expand) {
			t.Errorf("Expand(%q) = %v", c.In, got)
		}
		if c.Count != 0 && len(got) != c.Count {
			t.Errorf("Expand(%q) gives %d names, want %d", c.In, len(got), c.Count)
		}
		if f := Fold(got); f != c.Fold {
			t.Errorf("Fold of %q = %q, want %q", c.In, f, c.Fold)
		}
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "",
		"web":                        "web",
		"web1 web2 web3 web5":        "web[1-3,5]",
		"web-09 web-10 web-11":       "web-[09-11]",
		"web9 web10 web010":          "web[9-10,010]",
		"web1 web01":                 "web[1,01]",
		"web099 web100 web98":        "web[98,099-100]",
		"10.0.0.1 10.0.0.2 10.0.1.1": "10.0.0.[1-2],10.0.1.1",
		"a1b1 a1b2 a2b1":             "a1b[1-2],a2b1",
		"web1 web1":                  "web1",
		"n12345678901234567890":      "n12345678901234567890",
		"1 2 3":                      "[1-3]",
		"příbor1 příbor2":            "příbor[1-2]",
	} {
		if got := Fold(strings.Fields(in)); got != want {
			t.Errorf("Fold(%s) = %q, want %q", in, got, want)
		}
	}
}

func TestExpandRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"web[":             `node set "web[": brackets do not match in "web["`,
		"web]":             `node set "web]": ] without [ in "web]"`,
		"web[3-1]":         `node set "web[3-1]": the range "3-1" ends before it begins`,
		"web[01-100]":      `node set "web[01-100]": begin and end of "01-100" are padded differently`,
		"web[a-b]":         `node set "web[a-b]": "a-b" is no number or range`,
		"web[1-9/0]":       `node set "web[1-9/0]": the step of "1-9/0" is no number above 0`,
		"web[0-999999999]": `node set "web[0-999999999]": more than 1000000 names`,
		"a[0-9999][0-999]": `node set "a[0-9999][0-999]": more than 1000000 names`,
		"a!":               `node set "a!": a name is missing at the end`,
	} {
		_, err := Expand(in)
		if err == nil || err.Error() != want {
			t.Errorf("Expand(%q):\n got %v\nwant %s", in, err, want)
		}
	}
}

// FuzzExpand holds that folding what was expanded names the same nodes.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"web-[01-12],db", "a[1-3]b[0-9/2] -x a1b0", "a!b&c^d", "n[1,01,001]", "[", "x[9-10,010]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		names, err := Expand(in)
		if err != nil || len(names) > 2000 {
			return
		}
		if strings.ContainsAny(strings.Join(names, ""), "[]-") {
			return // such names cannot be told from the notation
		}
		again, err := Expand(Fold(names))
		if err != nil || !slices.Equal(names, again) {
			t.Errorf("%q: %q folds to %q, which is %q (%v)", in, names, Fold(names), again, err)
		}
	})
}
